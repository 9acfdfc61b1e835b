//! From Rust types to TypeScript: the declarations that an interface needs, and the argument rule.

use std::{
    any::TypeId,
    collections::{BTreeMap, HashSet, btree_map::Entry},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ts_rs::{Config, TS, TypeVisitor};

/// The types that have a name in TypeScript, collected from all that is sent.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct Types {
    seen: HashSet<TypeId>,
    /// By name, so that the order is always the same.
    pub(super) declarations: BTreeMap<String, String>,
}

impl Types {
    /// The parameters that a type stands for, by the rule of [`ToArgs`](crate::ToArgs) and
    /// [`FromArgs`](crate::FromArgs), and what they refer to is declared.
    #[track_caller]
    pub(super) fn parameters<T: TS + ?Sized + 'static>(&mut self) -> Vec<String> {
        self.declare::<T>();
        let name = T::name(&config());
        // Only the unit type itself is called so: a unit struct, which is an argument to serde, has a name.
        if name == "null" {
            return Vec::new();
        }
        elements(&name).unwrap_or_else(|| vec![name])
    }

    #[track_caller]
    pub(super) fn declare<T: TS + ?Sized + 'static>(&mut self) {
        if !self.seen.insert(TypeId::of::<T>()) {
            return;
        }
        // What has a file is what has a name: the types that derive `TS`.
        if T::output_path().is_some() {
            let config = config();
            let name = T::ident(&config);
            let text = format!("{}export {}\n", T::docs().unwrap_or_default(), T::decl(&config));
            match self.declarations.entry(name) {
                Entry::Vacant(slot) => _ = slot.insert(text),
                Entry::Occupied(known) if *known.get() == text => {}
                Entry::Occupied(known) => {
                    panic!(
                        "two types are called `{}` in TypeScript: rename one with `#[ts(rename)]`",
                        known.key()
                    )
                }
            }
        }
        T::visit_generics(self);
        T::visit_dependencies(self);
    }
}

impl TypeVisitor for Types {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        self.declare::<T>();
    }
}

/// `JSON.parse` makes a number of every integer, however large.
fn config() -> Config {
    Config::new().with_large_int("number")
}

/// The types in a tuple, which is several arguments; `None` if it is anything else.
fn elements(name: &str) -> Option<Vec<String>> {
    let inner = name.strip_prefix('[')?.strip_suffix(']')?;
    let mut elements = vec![String::new()];
    let mut depth = 0_usize;
    for char in inner.chars() {
        match char {
            '[' | '{' | '(' | '<' => depth += 1,
            // A bracket that was opened by `name` itself: this is no tuple but, say, a union of two.
            ']' | '}' | ')' | '>' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                elements.push(String::new());
                continue;
            }
            _ => {}
        }
        elements.last_mut()?.push(char);
    }
    let elements = elements.into_iter().map(|element| element.trim().to_owned());
    Some(elements.filter(|element| !element.is_empty()).collect())
}

/// Bytes, in a type that the frontend knows: `ArrayBuffer | Uint8Array` in TypeScript.
///
/// The official client gets an `ArrayBuffer` in a browser and a `Buffer`, which is a `Uint8Array`, in Node; it may
/// send both. A field of another type that serde writes as bytes, such as `bytes::Bytes`, is described by
/// `#[ts(as = "socketio::typescript::Binary")]`. (A `Vec<u8>` is an array of numbers to serde, and arrives as one.)
///
/// # Examples
///
/// ```
/// use socketio::{TypedEvent, typescript::Binary};
///
/// const PICTURE: TypedEvent<(String, Binary)> = TypedEvent::new("picture");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Binary(pub Bytes);

impl From<Bytes> for Binary {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

/// What a failed event is answered with.
pub(super) struct ErrorAnswer;

/// A type with a declaration that is not derived.
macro_rules! declared {
    ($type:ident, $docs:literal, $definition:literal) => {
        impl TS for $type {
            type WithoutGenerics = Self;
            type OptionInnerType = Self;

            fn docs() -> Option<String> {
                Some(concat!("/** ", $docs, " */\n").to_owned())
            }

            fn name(_: &Config) -> String {
                stringify!($type).to_owned()
            }

            fn inline(_: &Config) -> String {
                $definition.to_owned()
            }

            fn decl(_: &Config) -> String {
                concat!("type ", stringify!($type), " = ", $definition, ";").to_owned()
            }

            fn output_path() -> Option<std::path::PathBuf> {
                Some(concat!(stringify!($type), ".ts").into())
            }
        }
    };
}

declared!(Binary, "An `ArrayBuffer` in a browser, a `Buffer` in Node.", "ArrayBuffer | Uint8Array");
declared!(ErrorAnswer, "How the server answers an event that failed.", "{ error: string }");

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn only_a_tuple_has_elements() {
        let split = |name| elements(name).map(|elements| elements.join(" ; "));
        assert_eq!(split("[string, Array<[number, number]>]").unwrap(), "string ; Array<[number, number]>");
        assert_eq!(
            split("[{ [key in string]: number }, { start: number, end: number, }]")
                .unwrap()
                .matches(';')
                .count(),
            1
        );
        assert_eq!(split("[]").unwrap(), "");
        assert_eq!(split("[number] | null"), None);
        assert_eq!(split("[number] | [string]"), None);
        assert_eq!(split("Array<string>"), None);
    }
}
