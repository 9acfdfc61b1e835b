//! Requests to the other servers, and what they resolve to.

use std::{sync::Arc, time::Duration};

use socketio::RemoteSocket;
use tokio::task::JoinHandle;

use super::{
    history::{History, Kind, Selection, Stamp},
    server::{Running, select},
};

/// A request that has ended.
pub(crate) struct Request {
    pub(crate) server: usize,
    pub(crate) since: Stamp,
    pub(crate) until: Stamp,
    /// The timeout of the request.
    pub(crate) timeout: Duration,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    /// The ids of the sockets that were fetched, and the number of servers that are reported as missing.
    Fetched {
        selection: Selection,
        sockets: Vec<String>,
        missing: usize,
    },
    /// The ids of the sockets whose clients have answered a question, the number of those that have not, and that of
    /// missing servers.
    Acknowledged {
        question: usize,
        answers: Vec<String>,
        unanswered: usize,
        missing: usize,
    },
    /// The ids of the servers that have answered, and of those that have not.
    ServerSideEmitted {
        delay: Duration,
        answers: Vec<String>,
        missing: Vec<String>,
    },
    Counted(Option<usize>),
}

/// Runs a request in the background.
fn spawn(
    running: &Running,
    history: &Arc<History>,
    timeout: Duration,
    outcome: impl Future<Output = Outcome> + Send + 'static,
) -> JoinHandle<()> {
    let (server, since, history) = (running.number, history.stamp(), history.clone());
    tokio::spawn(async move {
        let outcome = outcome.await;
        let until = history.stamp();
        history.0.lock().requests.push(Request { server, since, until, timeout, outcome });
    })
}

pub(crate) fn fetch(
    running: &Running,
    history: &Arc<History>,
    selection: Selection,
    timeout: Duration,
) -> JoinHandle<()> {
    let sockets = select(running.io.of("/"), &selection).timeout(timeout);
    spawn(running, history, timeout, async move {
        let ids = |sockets: Vec<RemoteSocket>| sockets.iter().map(|socket| socket.id().to_owned()).collect();
        match sockets.fetch_sockets().await {
            Ok(sockets) => Outcome::Fetched { selection, sockets: ids(sockets), missing: 0 },
            Err(error) => {
                Outcome::Fetched { selection, sockets: ids(error.sockets), missing: error.missing.len() }
            }
        }
    })
}

pub(crate) fn question(
    running: &Running,
    history: &Arc<History>,
    selection: &Selection,
    timeout: Duration,
) -> Option<JoinHandle<()>> {
    let number = history.emit(running.number, Kind::Question, selection, None, None);
    let asked = select(running.io.of("/"), selection).emit_with_ack::<String, _>("question", &number);
    let Ok(asked) = asked else {
        history.refused(number);
        return None;
    };
    let outcome = async move {
        let all = asked.timeout(timeout).await;
        let answers = all.answers.into_iter().map(|(_, id)| id).collect();
        Outcome::Acknowledged {
            question: number,
            answers,
            unanswered: all.missing.len(),
            missing: all.missing_servers.len(),
        }
    };
    Some(spawn(running, history, timeout, outcome))
}

/// Asks a question, and drops the request.
pub(crate) fn abandoned(running: &Running, history: &History) {
    let number = history.emit(running.number, Kind::Question, &Selection::default(), None, None);
    if running.io.of("/").emit_with_ack::<String, _>("question", &number).is_err() {
        history.refused(number);
    }
}

/// Asks all other servers, whose handlers take some time.
pub(crate) fn ask(
    running: &Running,
    history: &Arc<History>,
    delay: Duration,
    timeout: Duration,
) -> JoinHandle<()> {
    let sockets = running.io.of("/").timeout(timeout);
    spawn(running, history, timeout, async move {
        let asked = sockets.server_side_emit_with_ack::<u64, _>("ask", &(delay.as_millis() as u64)).await;
        let (answers, missing) = match asked {
            Ok(all) => (all.answers, all.missing),
            Err(error) => panic!("the event cannot be emitted: {error}"),
        };
        Outcome::ServerSideEmitted {
            delay,
            answers: answers.into_iter().map(|(server, _)| server.to_string()).collect(),
            missing: missing.into_iter().map(|(server, _)| server.to_string()).collect(),
        }
    })
}

pub(crate) fn count(running: &Running, history: &Arc<History>) -> JoinHandle<()> {
    let io = running.io.clone();
    spawn(running, history, Duration::ZERO, async move { Outcome::Counted(io.server_count().await.ok()) })
}
