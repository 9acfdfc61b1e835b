//! Fuzzes the decoding of messages of other servers.

use std::sync::Arc;

use crate::cluster::{
    Message, Operation, ServerId,
    node::{decode, decode_broadcast, encode_broadcast},
};

/// Asserts that messages of brokers are decoded or rejected, and that a broadcast does not change when it is encoded and
/// decoded again.
pub fn cluster(input: &[u8]) {
    let _ = decode(input);
    let namespace: Arc<str> = "/".into();
    let read = |bytes: &[u8]| decode_broadcast(&ServerId::unknown(), &namespace, bytes, |_| true);
    let Ok(Some(message)) = read(input) else { return };
    let written = write(&message);
    let again = read(&written).expect("what was written is read").expect("a broadcast");
    assert_eq!(write(&again), written);
}

fn write(message: &Message) -> Vec<u8> {
    let Message { from, namespace, operation } = message;
    let Operation::Broadcast { target, packet, flags } = operation else { panic!("not a broadcast") };
    encode_broadcast(from, namespace, target, packet, *flags).expect("what was read is written")
}
