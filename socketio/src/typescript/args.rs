//! Arguments as parameters.

use ts_rs::TS;

use super::types::Types;
use crate::event::args::{Args, WithAckFlag};

/// What stands in front of a parameter that takes any number of arguments.
pub(super) const REST: &str = "...";

/// What a handler takes or an event carries, as parameters: every type that implements [`TS`], [`Args`], and
/// [`WithAckFlag`] of one of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no type in TypeScript as the arguments of an event",
    label = "these arguments are not known to `ts_rs`",
    note = "implement `ts_rs::TS` for them"
)]
pub trait DescribeArgs {
    /// Whether the handler hears if the client waits for an answer, so that the client may leave the callback out.
    #[doc(hidden)]
    const KNOWS_IF_ASKED: bool = false;

    /// Describes them, and declares the types they need.
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
    const KNOWS_IF_ASKED: bool = true;

    fn parameters(types: &mut Types) -> Vec<String> {
        T::parameters(types)
    }
}
