//! The events between servers.

use std::{sync::Arc, time::Duration};

use interop_tests::value::{Value, values};
use serde::Serialize;
use socketio::{Ack, AckError, Args, BroadcastOperator, EventError, Namespace, Socket};
use tokio::time::sleep;

use crate::{
    commands::sent,
    state::{App, State},
};

pub(crate) fn server_events(namespace: Namespace<State>, app: &Arc<App>) -> Namespace<State> {
    let notes = app.notes.clone();
    let [name, later, only] = [(); 3].map(|()| app.name.clone());
    namespace
        .on_server("note", async move |sockets: BroadcastOperator, args: Args| {
            let mut note = vec![Value::Text("note".to_owned())];
            note.extend(values(&args)?);
            let path = sockets.path().unwrap_or_default().to_owned();
            notes.lock().entry(path).or_default().push(note);
            Ok::<_, EventError>(())
        })
        .on_server("ask-name", async move |_, ()| Ack(name))
        .on_server("ask-echo", async |_, args: Args| {
            Ok::<_, EventError>(Ack(values(&args)?.into_iter().next().unwrap_or_default()))
        })
        .on_server("ask-later", async move |_, ms: u64| {
            sleep(Duration::from_millis(ms)).await;
            Ack(later)
        })
        .on_server("ask-only", async move |_, name: String| (name == only).then_some(Ack(only)))
}

/// `event, arguments...`: sends an event to the other servers.
pub(crate) async fn sse(socket: Socket<State>, args: Args) -> Result<(), EventError> {
    Ok(sent(socket.namespace().server_side_emit(args.get::<String>(0)?, &args.skip(1)))?)
}

#[derive(Serialize)]
pub(crate) struct Responses {
    error: Option<String>,
    responses: Vec<Value>,
}

/// `event, arguments...`: sends an event to the other servers, and acknowledges with their responses.
pub(crate) async fn sse_ack(socket: Socket<State>, args: Args) -> Result<Ack<Responses>, EventError> {
    let (event, args) = (args.get::<String>(0)?, args.skip(1));
    let all = socket.namespace().server_side_emit_with_ack::<Args, _>(event, &args).await?;
    let responses = all.answers.iter().map(|(_, answer)| answer.get(0)).collect::<Result<_, _>>()?;
    let missing = all.missing.iter().filter(|(_, error)| !matches!(error, AckError::Decode(_))).count();
    let error = (missing > 0).then(|| format!("{missing} servers did not respond"));
    Ok(Ack(Responses { error, responses }))
}

pub(crate) fn sse_log(socket: &Socket<State>) -> Ack<(Vec<Vec<Value>>,)> {
    let notes = socket.data().app.notes.lock();
    Ack((notes.get(socket.path()).cloned().unwrap_or_default(),))
}
