//! ERROR: ToArgs::write` has 4
//! ERROR: conflicting implementations of trait `HookResult`

use socketio::{EventError, HookResult, ToArgs, bytes::Bytes, serde_json};

struct Own;

impl ToArgs for Own {
    fn write(&self, _: &mut Vec<u8>, _: &mut Vec<Bytes>) -> Result<(), serde_json::Error> {
        Ok(())
    }
}

impl HookResult for Own {
    fn into_result(self) -> Result<(), EventError> {
        Ok(())
    }
}

fn main() {}
