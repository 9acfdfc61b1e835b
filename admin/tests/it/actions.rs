//! What administrators do to sockets.

use serde_json::{Value, json};
use socketio::testing::TestClient;

use crate::support::{admin, log_in, server};

async fn act(administrator: &TestClient, action: &str, args: Value) -> Value {
    let args = socketio::Args::from_values(args.as_array().unwrap()).unwrap();
    administrator.emit_with_ack::<Option<Value>, _>(action, &args).await.unwrap().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn sockets_join_and_leave_rooms_and_get_events() {
    let server = server(admin());
    let (mut ann, mut bob) = (server.connect("/").await, server.connect("/").await);
    let administrator = log_in(&server).await;
    let members = |room: &str| server.server().to(room).socket_count();

    act(&administrator, "join", json!(["/", "lobby", ann.id()])).await;
    assert_eq!(members("lobby"), 1);
    act(&administrator, "join", json!(["/", "all"])).await;
    assert_eq!(members("all"), 2);
    act(&administrator, "emit", json!(["/", "lobby", "hello", 1, { "a": [2] }])).await;
    assert_eq!(ann.expect::<(u8, Value)>("hello").await, (1, json!({ "a": [2] })));
    act(&administrator, "emit", json!(["/", null, "everyone"])).await;
    ann.expect::<()>("everyone").await;
    bob.expect::<()>("everyone").await;
    act(&administrator, "leave", json!(["/", "all", ann.id()])).await;
    assert_eq!(members("all"), 1);
    act(&administrator, "leave", json!(["/", "all"])).await;
    assert_eq!(members("all"), 0);
}

#[tokio::test(start_paused = true)]
async fn sockets_are_disconnected() {
    let server = server(admin());
    let (mut ann, mut bob) = (server.connect("/").await, server.connect("/").await);
    let administrator = log_in(&server).await;
    act(&administrator, "_disconnect", json!(["/", false, ann.id()])).await;
    ann.disconnected().await;
    assert_eq!(server.server().socket_count("/"), 1);
    act(&administrator, "_disconnect", json!(["/", true, ""])).await;
    bob.disconnected().await;
    assert_eq!(server.server().socket_count("/"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_refused() {
    let server = server(admin());
    let administrator = log_in(&server).await;
    let refused = json!({ "error": "unknown namespace" });
    for (action, args) in [
        ("join", json!(["/nowhere", "room"])),
        ("leave", json!(["/nowhere", "room"])),
        ("_disconnect", json!(["/nowhere", true])),
        ("emit", json!(["/nowhere", null, "hello"])),
    ] {
        assert_eq!(act(&administrator, action, args).await, refused, "{action}");
    }
    assert_eq!(server.server().namespaces(), ["/", "/admin"]);
    for (action, args) in [
        ("join", json!([])),
        ("join", json!(["/"])),
        ("leave", json!([1, 2, 3])),
        ("_disconnect", json!(["/", "yes"])),
        ("emit", json!(["/", null])),
        ("emit", json!(["/", {}, "hello"])),
        ("emit", json!(["/", null, "disconnect"])),
    ] {
        let answer = act(&administrator, action, args).await;
        assert!(answer["error"].is_string(), "{action}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_read_only_does_nothing() {
    let server = server(admin().read_only(true));
    let client = server.connect("/").await;
    let administrator = log_in(&server).await;
    for (action, args) in [
        ("join", json!(["/", "lobby"])),
        ("leave", json!(["/", client.id()])),
        ("_disconnect", json!(["/", true])),
        ("emit", json!(["/", null, "hello"])),
    ] {
        let args = socketio::Args::from_values(args.as_array().unwrap()).unwrap();
        administrator.emit(action, &args).await.unwrap();
    }
    let io = server.server();
    assert_eq!((io.socket_count("/"), io.to("lobby").socket_count()), (1, 0));
    assert_eq!(io.to(client.id()).socket_count(), 1);
}
