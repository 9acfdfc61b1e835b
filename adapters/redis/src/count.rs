//! Counts the servers of a namespace.

use std::sync::Arc;

use futures::future::{join, join_all, try_join_all};
use redis::{RedisResult, Value};

use crate::{dialect::Count, nodes::Nodes};

/// Returns the number of subscribers of a channel, or `None` if a node does not respond.
pub(crate) async fn count(nodes: &Arc<Nodes>, count: &Count) -> Option<usize> {
    if count.slot.is_some() || !nodes.is_cluster() {
        return subscriber_count(&nodes.query(count.slot, &count.command).await.ok()?);
    }
    // A subscription is known only to the node that has it, which is a replica for some clients of Node.js.
    let ask = async |mut connection| {
        let counted: RedisResult<Value> = count.command.query_async(&mut connection).await;
        counted.map(|counted| subscriber_count(&counted).unwrap_or(0))
    };
    let masters = try_join_all(nodes.connections()?.into_iter().map(ask));
    // A replica that does not respond has no subscribers to which messages arrive.
    let replicas = join_all(nodes.replicas().into_iter().map(ask));
    let (masters, replicas) = join(masters, replicas).await;
    Some(masters.ok()?.into_iter().chain(replicas.into_iter().flatten()).sum())
}

/// Reads the result of `PUBSUB NUMSUB` for one channel.
pub(crate) fn subscriber_count(value: &Value) -> Option<usize> {
    match value {
        Value::Array(entries) => match entries.get(1)? {
            Value::Int(count) => usize::try_from(*count).ok(),
            _ => None,
        },
        Value::Map(entries) => match entries.first()? {
            (_, Value::Int(count)) => usize::try_from(*count).ok(),
            _ => None,
        },
        _ => None,
    }
}
