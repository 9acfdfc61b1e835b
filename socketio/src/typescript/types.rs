//! Converts Rust types to TypeScript declarations and parameters.

use std::{
    any::TypeId,
    collections::{BTreeMap, HashSet, btree_map::Entry},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ts_rs::{Config, TS, TypeVisitor};

/// The named TypeScript types of all events.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct Types {
    seen: HashSet<TypeId>,
    /// The declarations by name. They are sorted so that the output is deterministic.
    pub(super) declarations: BTreeMap<String, String>,
}

impl Types {
    /// Returns the parameters of a type, according to the rule of [`ToArgs`](crate::ToArgs) and
    /// [`FromArgs`](crate::FromArgs), and declares the types that the parameters refer to.
    #[track_caller]
    pub(super) fn parameters<T: TS + ?Sized + 'static>(&mut self) -> Vec<String> {
        self.declare::<T>();
        let name = T::name(&config());
        // Only the unit type has this name. A unit struct, which serde treats as an argument, has a name of
        // its own.
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
        // Only types that derive `TS` have an output path, and only they have a name to declare.
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

/// Returns the `ts_rs` configuration. Integers of every size are mapped to `number`, because `JSON.parse`
/// returns numbers.
fn config() -> Config {
    Config::new().with_large_int("number")
}

/// Returns the element types of a tuple, which is sent as several arguments. Returns `None` for any other
/// type.
fn elements(name: &str) -> Option<Vec<String>> {
    let inner = name.strip_prefix('[')?.strip_suffix(']')?;
    let mut elements = vec![String::new()];
    let mut depth = 0_usize;
    for char in inner.chars() {
        match char {
            '[' | '{' | '(' | '<' => depth += 1,
            // The outer bracket is closed before the end of the text, so the type is not a tuple but, for
            // example, a union of two tuples.
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

/// Bytes that are described as `ArrayBuffer | Uint8Array` in TypeScript.
///
/// The official client receives an `ArrayBuffer` in a browser and a `Buffer`, which is a `Uint8Array`, in
/// Node.js. It may send both types. Annotate a field of another type that serde serializes as bytes, such as
/// `bytes::Bytes`, with `#[ts(as = "socketio::typescript::Binary")]`. Serde serializes a `Vec<u8>` as an
/// array of numbers, so it is not sent as binary data.
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

/// The acknowledgement of a failed event, `{ error: string }` in TypeScript.
pub(super) struct ErrorAnswer;

/// Implements [`TS`] for a type with a handwritten declaration.
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
