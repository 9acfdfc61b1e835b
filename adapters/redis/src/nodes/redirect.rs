//! Executes commands at the nodes that have their slots, also while slots are moved.

use std::future::Future;

use redis::{Cmd, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use socketio_broker::Backoff;

use super::{Failure, Node};

/// The number of servers that a command is sent to, if each of them says that another one has the slot.
const MAX_ATTEMPTS: usize = 5;

/// Connections to nodes.
pub(crate) trait Connections {
    /// Returns the connection to the node that has a slot, or to another one that has asked for the command.
    fn connection(
        &self,
        slot: Option<u16>,
        asked: Option<Node>,
    ) -> impl Future<Output = RedisResult<(Node, MultiplexedConnection)>> + Send;

    /// Takes note of an error of a command that a node has returned. Returns what follows from it.
    fn failed(
        &self,
        node: &Node,
        slot: Option<u16>,
        error: &RedisError,
    ) -> impl Future<Output = Failure> + Send;
}

/// Executes a command at the node that has the slot. Does nothing twice: an error after which the command may
/// have been executed is returned.
pub(crate) async fn query(
    connections: &impl Connections,
    slot: Option<u16>,
    command: &Cmd,
) -> RedisResult<Value> {
    let mut asked = None;
    let mut backoff = Backoff::default();
    let mut attempt = 1;
    loop {
        let is_asking = asked.is_some();
        let (node, mut connection) = connections.connection(slot, asked.take()).await?;
        let error = match execute(&mut connection, command, is_asking).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let failure = connections.failed(&node, slot, &error).await;
        if attempt == MAX_ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
        match failure {
            Failure::Ask(target) => asked = Some(target),
            Failure::Moved(_) => {}
            Failure::Refused => tokio::time::sleep(backoff.next_delay()).await,
            Failure::Final | Failure::Unknown => return Err(error),
        }
    }
}

/// Executes a command. `is_asking` is `true` if the node is not the owner of the slot, but has asked for the command.
pub(crate) async fn execute(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
    is_asking: bool,
) -> RedisResult<Value> {
    if !is_asking {
        return command.query_async(connection).await;
    }
    let mut pipeline = redis::pipe();
    // Without this, the errors of a pipeline are wrapped.
    pipeline.ignore_errors().cmd("ASKING").ignore().add_command(command.clone());
    let (result,): (RedisResult<Value>,) = pipeline.query_async(connection).await?;
    result
}
