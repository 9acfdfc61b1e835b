//! Converts the return types of handlers to TypeScript callbacks.

use super::{
    args::{DescribeArgs, REST},
    types::{ErrorAnswer, Types},
};
use crate::event::{Ack, IntoAck, NoAck};

/// Return types of handlers that can be described as a TypeScript callback. This trait is implemented for
/// each type that implements [`IntoAck`] and whose content implements [`DescribeArgs`]. It is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no type in TypeScript as an acknowledgement",
    label = "what this handler answers is not known to `ts_rs`",
    note = "implement `ts_rs::TS` for what is in the `Ack`"
)]
pub trait DescribeAck: IntoAck {
    /// Returns the callback, and declares the types that the callback refers to. Returns `None` if the
    /// handler never sends an acknowledgement.
    #[doc(hidden)]
    #[track_caller]
    fn callback(types: &mut Types) -> Option<Callback>;
}

/// The acknowledgement callback of an event.
#[derive(Debug)]
#[doc(hidden)]
pub struct Callback {
    parameters: Vec<String>,
    /// `true` if the callback may be called with an error instead of the parameters.
    fails: bool,
    /// `true` if the client must pass the callback.
    required: bool,
}

impl Callback {
    /// Creates a callback. The callback is required if it has parameters.
    pub(super) fn new(parameters: Vec<String>) -> Self {
        Self { required: !parameters.is_empty(), parameters, fails: false }
    }

    pub(super) fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) fn optional(self) -> Self {
        Self { required: false, ..self }
    }

    fn signature(&self) -> String {
        let parameters = match (self.fails, &self.parameters[..]) {
            (false, parameters) => labelled(parameters).join(", "),
            (true, []) => "error?: ErrorAnswer".to_owned(),
            // The type `any[]` includes the error.
            (true, [one]) if is_rest(one) => labelled(&self.parameters).join(", "),
            (true, [one]) => format!("arg0: {one} | ErrorAnswer"),
            (true, several) => {
                format!("...args: [{}] | [error: ErrorAnswer]", labelled(several).join(", "))
            }
        };
        format!("callback: ({parameters}) => void")
    }
}

/// Returns the type of a listener for an event with these parameters.
pub(super) fn listener(parameters: &[String], callback: Option<Callback>) -> String {
    let mut parameters = labelled(parameters);
    let without = parameters.join(", ");
    let Some(callback) = callback else { return format!("({without}) => void") };
    parameters.push(callback.signature());
    let with = parameters.join(", ");
    if callback.required && !is_rest(&without) {
        format!("({with}) => void")
    } else if callback.required {
        // A rest parameter must be the last parameter of a list, so use a tuple.
        format!("(...args: [{with}]) => void")
    } else {
        // Do not use `callback?`, because the types of the official client then omit the other parameters.
        format!("(...args: [{without}] | [{with}]) => void")
    }
}

/// Adds the labels that TypeScript requires to the parameters. The names of the Rust parameters are unknown.
fn labelled(types: &[String]) -> Vec<String> {
    let label = |(at, name): (usize, &String)| match name.strip_prefix(REST) {
        Some(rest) => format!("{REST}args: {rest}"),
        None => format!("arg{at}: {name}"),
    };
    types.iter().enumerate().map(label).collect()
}

fn is_rest(name: &str) -> bool {
    name.starts_with(REST)
}

impl DescribeAck for () {
    fn callback(_: &mut Types) -> Option<Callback> {
        Some(Callback::new(Vec::new()))
    }
}

impl DescribeAck for NoAck {
    fn callback(_: &mut Types) -> Option<Callback> {
        None
    }
}

impl<T> DescribeAck for Ack<T>
where
    T: DescribeArgs,
    Self: IntoAck,
{
    fn callback(types: &mut Types) -> Option<Callback> {
        Some(Callback::new(T::parameters(types)))
    }
}

impl<A: DescribeAck> DescribeAck for Option<A> {
    fn callback(types: &mut Types) -> Option<Callback> {
        A::callback(types)
    }
}

impl<A: DescribeAck, E> DescribeAck for Result<A, E>
where
    Self: IntoAck,
{
    fn callback(types: &mut Types) -> Option<Callback> {
        // If success is not acknowledged, the callback is called only with an error.
        let callback = A::callback(types).unwrap_or_else(|| Callback::new(Vec::new()));
        types.declare::<ErrorAnswer>();
        Some(Callback { fails: true, ..callback })
    }
}
