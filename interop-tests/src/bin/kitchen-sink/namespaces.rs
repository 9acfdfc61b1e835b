//! The namespaces with their admissions and connect handlers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use interop_tests::value::Value;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use socketio::{
    Ack, ConnectError, Event, Handshake, Namespace, Server, ServerConfig, Socket, middleware::Deduplicate,
};
use tokio::time::sleep;

use crate::{
    commands::commands,
    records::{Records, kept},
    state::{App, State},
};

pub(crate) fn server(config: ServerConfig) -> Server {
    let server = Server::with_config(config);
    let app = Arc::new(App { server: server.clone(), records: Records::default() });
    server
        .namespace(commanded("/", &app, anyone))
        .namespace(commanded("/custom", &app, anyone))
        .namespace(kept(Namespace::new("/silent"), &app))
        .namespace(once())
        .namespace(commanded("/early", &app, anyone).on_connect(greet))
        .namespace(commanded("/slow", &app, after_a_while))
        .dynamic_if(commanded("/dyn-{digits}", &app, anyone).on_connect(tell_path), is_numbered)
        .namespace(Namespace::with_auth("/no", no_one))
        .namespace(commanded("/auth", &app, with_token).on_connect(welcome))
        .namespace(kept(Namespace::with_auth("/order", in_two_steps), &app).on_connect(in_order))
}

/// Returns a namespace with all the commands, with `admit` as its admission.
fn commanded<F, Fut>(path: &str, app: &Arc<App>, admit: F) -> Namespace<State>
where
    F: FnOnce(Handshake) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), ConnectError>> + Send + 'static,
{
    let shared = Arc::clone(app);
    let namespace = Namespace::with_auth(path, async move |handshake| {
        admit(handshake).await?;
        Ok::<_, ConnectError>(State::new(shared))
    });
    commands(kept(namespace, app))
}

/// Returns a namespace that handles `once` only once for each user and key, and `count` each time. Both acknowledge
/// with the number of calls for the key.
fn once() -> Namespace<String> {
    let calls = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
    let count = async move |_: Socket<String>, key: String| {
        let mut calls = calls.lock();
        let calls = calls.entry(key).or_default();
        *calls += 1;
        Ack(*calls)
    };
    let user = async |handshake: Handshake| Ok::<_, ConnectError>(handshake.auth::<User>()?.user);
    Namespace::with_auth("/once", user)
        .wrap(Deduplicate::new().by_key(|socket: &Socket<String>, event: &Event| {
            let key: String = event.args.get(0).ok()?;
            (event.name == "once").then(|| (socket.data().clone(), key))
        }))
        .on("once", count.clone())
        .on("count", count)
}

#[derive(Deserialize)]
struct User {
    user: String,
}

async fn anyone(_: Handshake) -> Result<(), ConnectError> {
    Ok(())
}

async fn no_one(_: Handshake) -> Result<(), ConnectError> {
    Err(ConnectError::new("no entry"))
}

async fn after_a_while(_: Handshake) -> Result<(), ConnectError> {
    sleep(Duration::from_millis(150)).await;
    Ok(())
}

async fn with_token(handshake: Handshake) -> Result<(), ConnectError> {
    let auth: Value = handshake.auth()?;
    match auth.get("token") {
        Some(Value::Text(token)) if token == "secret" => Ok(()),
        given => Err(ConnectError::new("unauthorized").data(json!({ "code": 401, "given": given }))),
    }
}

async fn is_numbered(_: String, handshake: Handshake) -> bool {
    handshake.param("digits").is_ok_and(|digits: String| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

async fn tell_path(socket: Socket<State>) {
    let _ = socket.emit("nsp", socket.path());
}

async fn greet(socket: Socket<State>) {
    for i in 1..=3 {
        let _ = socket.emit("early", &i);
    }
}

async fn welcome(socket: Socket<State>) {
    if let Ok(auth) = socket.handshake().auth::<Value>() {
        let _ = socket.emit("welcome", &auth);
    }
}

/// The steps that a socket has passed: two of the admission, then the connect handler.
type Steps = Vec<&'static str>;

async fn first() -> Steps {
    sleep(Duration::from_millis(20)).await;
    vec!["a"]
}

fn second(mut steps: Steps) -> Steps {
    steps.push("b");
    steps
}

async fn in_two_steps(_: Handshake) -> Result<Mutex<Steps>, ConnectError> {
    Ok(Mutex::new(second(first().await)))
}

async fn in_order(socket: Socket<Mutex<Steps>>) {
    let mut steps = socket.data().lock();
    steps.push("c");
    let _ = socket.emit("order", &*steps);
}
