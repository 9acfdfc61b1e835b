//! Finds violations in the history of a run.

use std::{collections::HashMap, time::Duration};

use super::{
    client::answer_delay,
    history::{Emit, Kind, Log, Selection, SocketLog, Stamp},
    requests::{Outcome, Request},
};

/// The maximum time from an emit or a response to its arrival, if no fault is near. Also the time within which
/// the channel of a new room is subscribed.
const MAX_LATENCY: Duration = Duration::from_secs(1);
/// The time after which servers that reach each other know each other.
pub(crate) const ACQUAINTANCE: Duration = Duration::from_secs(17);
/// The maximum time until a request no longer waits for a server that was killed: the timeout of heartbeats, and the
/// interval of the checks.
const MOURNING: Duration = Duration::from_millis(12_200);
/// The clock of tokio has this resolution.
const TICK: Duration = Duration::from_millis(2);

/// Returns all violations. `is_strict` means that no queue was too small for what was sent.
pub(crate) fn violations(log: &Log, is_strict: bool) -> Vec<String> {
    let mut found = log.violations.clone();
    for (id, socket) in &log.sockets {
        found.extend(of_socket(log, id, socket, is_strict));
    }
    for number in 0..log.servers.len() {
        found.extend(of_server(log, number, is_strict));
    }
    for request in &log.requests {
        found.extend(of_request(log, request, is_strict).map(|what| {
            let (Request { server, since, until, .. }, kind) = (request, request.outcome.name());
            format!("{kind} of server {server} from {:?} to {:?}: {what}", since.0, until.0)
        }));
    }
    found
}

fn before(at: Duration, time: Duration) -> Stamp {
    (at.saturating_sub(time), 0)
}

fn after(at: Duration, time: Duration) -> Stamp {
    (at + time, u64::MAX)
}

/// Returns the numbers that were received more than once, or after a later one of the same server.
fn disorder(log: &Log, received: &[(Stamp, usize)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut last: HashMap<usize, usize> = HashMap::new();
    let mut said: HashMap<&str, u32> = HashMap::new();
    for (at, number) in received {
        let Some(emit) = log.emits.get(*number) else {
            found.push(format!("received {number}, which nobody has emitted"));
            continue;
        };
        if let Some(last) = last.insert(emit.server, *number)
            && last >= *number
        {
            found.push(format!("at {:?}: {number} of server {} after {last}", at.0, emit.server));
        }
        if let Some((client, number)) = &emit.said
            && let Some(last) = said.insert(client, *number)
            && last >= *number
        {
            found.push(format!("at {:?}: {number} of client {client} after {last}", at.0));
        }
    }
    found
}

fn of_socket(log: &Log, id: &str, socket: &SocketLog, is_strict: bool) -> Vec<String> {
    let mut found = disorder(log, &socket.received);
    let received: HashMap<usize, Stamp> = socket.received.iter().map(|(at, number)| (*number, *at)).collect();
    for (number, emit) in log.emits.iter().enumerate().filter(|(_, emit)| emit.kind != Kind::ServerEvent) {
        match received.get(&number) {
            Some(at) if !socket.ever_matches(id, &emit.selection, emit.at, *at) => {
                found.push(format!("received {number} at {:?}, but is not addressed by {emit:?}", at.0));
            }
            None if is_due(log, id, socket, emit, is_strict) => {
                found.push(format!("misses {number}: {emit:?}"));
            }
            _ => {}
        }
    }
    found.into_iter().map(|what| format!("socket {id} of server {}: {what}", socket.server)).collect()
}

/// Returns `true` if a socket must have received an event.
fn is_due(log: &Log, id: &str, socket: &SocketLog, emit: &Emit, is_strict: bool) -> bool {
    let at = emit.at.0;
    if emit.server == socket.server {
        return socket.always_matches(id, &emit.selection, emit.at, emit.at)
            && socket.ended.is_none_or(|ended| ended > at + MAX_LATENCY);
    }
    let (from, to) = (before(at, MAX_LATENCY), after(at, MAX_LATENCY));
    let selection = emit.joined.as_ref().unwrap_or(&emit.selection);
    is_strict
        && !emit.is_refused
        && log.are_connected(emit.server, socket.server, from.0, to.0)
        && socket.always_matches(id, selection, from, to)
}

fn of_server(log: &Log, number: usize, is_strict: bool) -> Vec<String> {
    let received = &log.servers[number].received;
    let mut found = disorder(log, received);
    for (event, emit) in log.emits.iter().enumerate().filter(|(_, emit)| emit.kind == Kind::ServerEvent) {
        let has_received = received.iter().any(|(_, received)| *received == event);
        let at = emit.at.0;
        if emit.server == number {
            if has_received {
                found.push(format!("received {event}, its own event"));
            }
        } else if !has_received
            && is_strict
            && !emit.is_refused
            && log.are_connected(emit.server, number, at.saturating_sub(MAX_LATENCY), at + MAX_LATENCY)
        {
            found.push(format!("misses {event}: {emit:?}"));
        }
    }
    found.into_iter().map(|what| format!("server {number}: {what}")).collect()
}

/// The other servers, as seen by the server that sends a request.
#[derive(Default)]
struct Others {
    /// Known to the requesting server, and reached by it until the end of the request.
    reached: Vec<usize>,
    /// Some were killed shortly before the request or during it.
    are_some_killed: bool,
    /// Some were known, and have closed during the request.
    have_some_left: bool,
}

/// Returns `None` if faults were near, so that the request may fail in any way.
fn others(log: &Log, Request { server, since, until, .. }: &Request) -> Option<Others> {
    let from = since.0.saturating_sub(ACQUAINTANCE);
    let mut others = Others::default();
    if !log.is_connected(*server, from, until.0) {
        return None;
    }
    for other in (0..log.servers.len()).filter(|other| other != server) {
        let at = log.servers[other].gone.unwrap_or(Duration::MAX);
        if at < from {
            continue;
        }
        if log.are_connected(*server, other, from, until.0) {
            others.reached.push(other);
        } else if log.servers[other].troubles.first().is_some_and(|(since, _)| *since >= until.0) {
            // The server has started later.
        } else if at <= until.0
            && log.are_connected(*server, other, from.min(at.saturating_sub(TICK)), at.saturating_sub(TICK))
        {
            others.are_some_killed |= log.servers[other].is_killed;
            others.have_some_left = true;
        } else {
            return None;
        }
    }
    Some(others)
}

fn of_request(log: &Log, request: &Request, is_strict: bool) -> Option<String> {
    let took = request.until.0.saturating_sub(request.since.0);
    if took > request.timeout + TICK {
        return Some(format!("ended {took:?} after its start"));
    }
    let others = others(log, request).filter(|_| is_strict);
    match &request.outcome {
        Outcome::Fetched { selection, sockets, missing } => of_fetch(log, request, selection, sockets)
            .or_else(|| {
                let others = others?;
                is_complete(log, request, selection, sockets, &others)
                    .or_else(|| is_timely(&others, *missing, took, Duration::ZERO))
            }),
        Outcome::Acknowledged { question, answers, unanswered, missing } => {
            of_question(log, *question, answers, *unanswered).or_else(|| {
                let others = others?;
                are_answered(log, request, *question, answers, &others)
                    .or_else(|| is_timely(&others, *missing, Duration::ZERO, Duration::ZERO))
            })
        }
        Outcome::ServerSideEmitted { delay, answers, missing } => {
            let of = |number: usize| &log.servers[number].id;
            if let Some(twice) = repeated(answers) {
                return Some(format!("server {twice} has answered twice"));
            }
            if answers.contains(of(request.server)) {
                return Some("the server has answered itself".to_owned());
            }
            let others = others?;
            if *delay + MAX_LATENCY * 2 > request.timeout {
                return None;
            }
            let silent = others.reached.iter().find(|other| !answers.contains(of(**other)));
            silent
                .map(|silent| format!("server {silent} has not answered"))
                .or_else(|| is_timely(&others, missing.len(), took, *delay))
        }
        Outcome::Counted(count) => {
            let others = others?;
            let expected = others.reached.len() + 1;
            (!others.are_some_killed && !others.have_some_left && *count != Some(expected))
                .then(|| format!("{count:?} servers instead of {expected}"))
        }
    }
}

fn repeated(ids: &[String]) -> Option<&String> {
    ids.iter().enumerate().find(|(at, id)| ids[..*at].contains(id)).map(|(_, id)| id)
}

/// Finds servers that a request has waited for too long, or that it reports as missing although they are not.
fn is_timely(others: &Others, missing: usize, took: Duration, handlers: Duration) -> Option<String> {
    let Others { are_some_killed, .. } = others;
    if *are_some_killed {
        return (took > handlers + MOURNING).then(|| format!("waited {took:?} for a server that was killed"));
    }
    if missing > 0 {
        return Some(format!("{missing} servers are missing, but all are there"));
    }
    (took > handlers + MAX_LATENCY * 2).then(|| format!("took {took:?}"))
}

fn of_fetch(log: &Log, request: &Request, selection: &Selection, sockets: &[String]) -> Option<String> {
    if let Some(twice) = repeated(sockets) {
        return Some(format!("socket {twice} twice"));
    }
    sockets.iter().find_map(|id| match log.sockets.get(id) {
        None => Some(format!("socket {id}, which does not exist")),
        Some(socket) if !socket.ever_matches(id, selection, request.since, request.until) => {
            Some(format!("socket {id}, which is not selected by {selection:?}"))
        }
        Some(_) => None,
    })
}

fn is_complete(
    log: &Log,
    request: &Request,
    selection: &Selection,
    sockets: &[String],
    others: &Others,
) -> Option<String> {
    let (from, to) = (before(request.since.0, MAX_LATENCY), after(request.until.0, MAX_LATENCY));
    log.sockets.iter().find_map(|(id, socket)| {
        let is_reached = socket.server == request.server || others.reached.contains(&socket.server);
        (is_reached && socket.always_matches(id, selection, from, to) && !sockets.contains(id))
            .then(|| format!("socket {id} of server {} is not found", socket.server))
    })
}

fn of_question(log: &Log, question: usize, answers: &[String], unanswered: usize) -> Option<String> {
    if let Some(twice) = repeated(answers) {
        return Some(format!("two answers of socket {twice}"));
    }
    let received =
        log.sockets.values().filter(|socket| socket.received.iter().any(|(_, number)| *number == question));
    let received = received.count();
    // The others are disconnected before they read the question.
    let all = log.sockets.len();
    (answers.len() > received || answers.len() + unanswered > all)
        .then(|| format!("{} answers and {unanswered} without, of {received} clients", answers.len()))
}

fn are_answered(
    log: &Log,
    request: &Request,
    question: usize,
    answers: &[String],
    others: &Others,
) -> Option<String> {
    let selection = &log.emits[question].selection;
    let (from, to) = (before(request.since.0, MAX_LATENCY), after(request.until.0, MAX_LATENCY));
    log.sockets.iter().find_map(|(id, socket)| {
        let is_reached = socket.server == request.server || others.reached.contains(&socket.server);
        let delay = answer_delay(id, question)?;
        let is_due = is_reached
            && delay + MAX_LATENCY * 2 < request.timeout
            && socket.always_matches(id, selection, from, to)
            && !answers.contains(id);
        is_due.then(|| format!("socket {id} of server {} has answered in vain", socket.server))
    })
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Self::Fetched { .. } => "fetch_sockets",
            Self::Acknowledged { .. } => "a question",
            Self::ServerSideEmitted { .. } => "server_side_emit_with_ack",
            Self::Counted(_) => "server_count",
        }
    }
}
