//! Converts the arguments of events to TypeScript parameters.

use ts_rs::TS;

use super::types::Types;
use crate::event::args::{Args, WithAckFlag};

/// The prefix of a rest parameter.
pub(super) const REST: &str = "...";

/// Types of event arguments that can be described as TypeScript parameters. This trait is implemented for
/// every type that implements [`TS`], for [`Args`], and for [`WithAckFlag<T>`](WithAckFlag) if `T` implements
/// this trait. It is sealed: implement [`TS`] for types of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no type in TypeScript as the arguments of an event",
    label = "these arguments are not known to `ts_rs`",
    note = "implement `ts_rs::TS` for them"
)]
pub trait DescribeArgs {
    /// `true` if the handler is told whether the client expects an acknowledgement. The callback is then
    /// optional.
    #[doc(hidden)]
    const HAS_ACK_FLAG: bool = false;

    /// Returns the parameters, and declares the types that the parameters refer to.
    #[doc(hidden)]
    #[track_caller]
    fn parameters(types: &mut Types) -> Vec<String>;
}

impl<T: TS + ?Sized + 'static> DescribeArgs for T {
    fn parameters(types: &mut Types) -> Vec<String> {
        types.parameters::<T>()
    }
}

impl DescribeArgs for Args {
    fn parameters(_: &mut Types) -> Vec<String> {
        vec![format!("{REST}any[]")]
    }
}

impl<T: DescribeArgs> DescribeArgs for WithAckFlag<T> {
    const HAS_ACK_FLAG: bool = true;

    fn parameters(types: &mut Types) -> Vec<String> {
        T::parameters(types)
    }
}
