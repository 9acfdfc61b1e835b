//! Tests that observers see every event and change none.

use bytes::Bytes;
use socketio::{Ack, Args, Namespace, Server, Socket};

use crate::support::{Client, Heard, Host, binary, log, serve, serve_namespace, text};

/// Starts a server that records all events of a namespace, with `<` for received and `>` for sent events.
async fn noted(namespace: Namespace) -> (Host, Heard<String>) {
    let (notes, heard) = log();
    let sent = notes.clone();
    let handled = notes.clone();
    let namespace = namespace
        .on("echo", async move |socket: Socket, args: Args| {
            handled.note("handled".into());
            socket.emit("echo", &args).unwrap();
            Ack(args)
        })
        .on_any(move |_, event, args| {
            notes.note(format!("<{event}{} {}", args.json(), args.attachments().len()));
        })
        .on_any_outgoing(move |socket, event, args| {
            assert!(socket.connected());
            sent.note(format!(">{event}{} {}", args.json(), args.attachments().len()));
        });
    (serve_namespace(namespace).await, heard)
}

#[tokio::test]
async fn events_are_seen_in_both_directions() {
    for path in ["/", "/[1"] {
        let (host, mut heard) = noted(Namespace::new(path)).await;
        let mut client = Client::open(&host).await;
        client.enter(path).await;
        let prefix = if path == "/" { "" } else { "/[1," };
        assert_eq!(
            client.ask(format!(r#"42{prefix}7["echo","é",[1]]"#)).await,
            format!(r#"42{prefix}["echo","é",[1]]"#)
        );
        assert_eq!(client.text().await, format!(r#"43{prefix}7["é",[1]]"#));
        assert_eq!(heard.take(3).await, [r#"<echo["é",[1]] 0"#, "handled", r#">echo["é",[1]] 0"#]);

        client.send(format!(r#"42{prefix}["no handler"]"#)).await;
        assert_eq!(heard.next().await, "<no handler[] 0");
        // Has an id, although no handler sends an acknowledgement.
        client.send(format!(r#"42{prefix}8["\u0065cho"]"#)).await;
        assert_eq!(heard.take(3).await, ["<echo[] 0", "handled", ">echo[] 0"]);

        let header = format!(r#"451-{prefix}["echo",{{"_placeholder":true,"num":0}},2]"#);
        client.write([text(&header), binary("abc")].concat()).await;
        let seen = r#"echo[{"_placeholder":true,"num":0},2] 1"#;
        assert_eq!(heard.take(3).await, [format!("<{seen}"), "handled".into(), format!(">{seen}")]);
        assert!(heard.is_silent(), "acknowledgements are no events");
    }
}

#[tokio::test]
async fn a_broadcast_is_seen_once_for_each_recipient() {
    let (host, mut heard) = noted(Namespace::new("/n")).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::open(&host).await;
        client.enter("/n").await;
        clients.push(client);
    }
    host.io.of("/n").emit("news", &(1, Bytes::from_static(b"x"))).unwrap();
    assert_eq!(heard.take(3).await, vec![r#">news[1,{"_placeholder":true,"num":0}] 1"#; 3]);
    host.io.of("/n").volatile().to("nobody").emit("news", &1).unwrap();
    assert!(heard.is_silent());
}

#[tokio::test]
async fn what_was_not_sent_is_not_seen() {
    let (notes, mut heard) = log();
    let (sockets, mut connected) = log();
    let namespace = Namespace::new("/")
        .on_connect(async move |socket| sockets.note(socket))
        .on_any_outgoing(move |_, event: &str, _| notes.note(event.to_owned()));
    let host = serve_namespace(namespace).await;
    let _client = Client::join(&host).await;
    let socket: Socket = connected.next().await;
    let request = socket.emit_with_ack::<(), _>("question", &());
    assert_eq!(heard.next().await, "question");
    drop(request);
    socket.disconnect();
    assert!(socket.emit("late", &()).is_err());
    assert!(socket.emit_with_ack::<(), _>("late", &()).await.is_err());
    assert!(heard.is_silent());
}

#[tokio::test]
async fn observers_run_in_order_and_may_panic_and_emit() {
    let (notes, mut heard) = log();
    let (first, second) = (notes.clone(), notes);
    let namespace = Namespace::new("/")
        .on("event", async |_, ()| ())
        .on_any(move |_, _, _| {
            first.note(1);
            panic!("nobody else is harmed");
        })
        .on_any(move |_, _, _| second.note(2))
        .on_any_outgoing(|socket: &Socket, event, args| {
            let n: u8 = args.get(0).unwrap();
            if n > 0 {
                // Observers run without a lock, so they may broadcast.
                socket.namespace().emit(event, &(n - 1)).unwrap();
            }
            panic!("nobody else is harmed");
        });
    let host = serve(Server::new().namespace(namespace)).await;
    let mut client = Client::join(&host).await;
    assert_eq!(client.ask(r#"421["event"]"#).await, "431[]");
    assert_eq!(heard.take(2).await, [1, 2]);
    host.io.emit("n", &2).unwrap();
    for n in [2, 1, 0] {
        assert_eq!(client.text().await, format!(r#"42["n",{n}]"#));
    }
}

#[tokio::test]
async fn what_is_no_json_is_refused_and_not_seen() {
    let (notes, heard) = log();
    let namespace = Namespace::new("/").on_any(move |_, _, _| notes.note(()));
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    client.send(r#"42["x",nonsense]"#).await;
    assert_eq!(client.ended().await, (1002, "forced close".into()));
    assert!(heard.is_silent());
}
