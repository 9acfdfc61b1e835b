//! Requests to servers that the broker names, but whose sockets it only counts, as those of Node.js with
//! heartbeats.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use parking_lot::Mutex;
use socketio::{
    AckError, BoxFuture, Server, ServerConfig,
    cluster::{
        AckArgs, Backend, Broker, ClusterFull, Inbound, Inbox, Message, Receivers, Reply, ReplyBody,
        RequestId, ServerId, Unavailable,
    },
};

use super::namespace;
use crate::support::{Host, serve, within};

/// A broker whose other servers, `x` and `y`, are played by the test.
#[derive(Clone, Default)]
struct Scripted {
    inbox: Arc<Mutex<Option<Inbox>>>,
    requests: Arc<Mutex<Vec<RequestId>>>,
}

impl Broker for Scripted {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        *self.inbox.lock() = Some(inbox);
        Arc::new(self)
    }
}

impl Backend for Scripted {
    fn publish(&self, _: Arc<Message>) -> Result<(), ClusterFull> {
        Ok(())
    }

    fn request(&self, message: Arc<Message>) -> Receivers {
        self.requests.lock().extend(message.operation.request().cloned());
        Receivers::Known { waiting: vec!["x".into(), "y".into()], unreachable: vec![] }
    }

    fn reply(&self, _: &ServerId, _: Reply) -> Result<(), ClusterFull> {
        Ok(())
    }

    fn servers(&self) -> Vec<ServerId> {
        vec!["x".into(), "y".into()]
    }

    fn server_count(&self, _: Arc<str>) -> BoxFuture<Result<usize, Unavailable>> {
        Box::pin(async { Ok(3) })
    }

    fn leave(&self) -> BoxFuture<()> {
        Box::pin(async {})
    }
}

impl Scripted {
    async fn host(&self) -> Host {
        // No test waits for a timeout.
        let config = ServerConfig::default()
            .requests_timeout(Duration::from_hours(1))
            .ack_timeout(Duration::from_hours(1));
        serve(Server::with_cluster(config, self.clone()).namespace(namespace())).await
    }

    fn send(&self, inbound: Inbound) {
        self.inbox.lock().as_ref().unwrap().try_send(inbound).unwrap();
    }

    /// Responds to the last request.
    fn reply(&self, from: &str, body: ReplyBody) {
        let request = self.requests.lock().last().unwrap().clone();
        self.send(Inbound::Reply(Reply { from: from.into(), namespace: "/".into(), request, body }));
    }

    fn gone(&self, namespace: &str, server: &str, is_lost: bool) {
        let (namespace, server) = (namespace.into(), server.into());
        self.send(Inbound::ServerGone { namespace, server, is_lost });
    }

    /// The last request could not be sent.
    fn not_sent(&self) {
        let request = self.requests.lock().last().unwrap().clone();
        self.send(Inbound::ReceiverCount(request, None));
    }
}

fn args(json: &str) -> AckArgs {
    AckArgs::new(json, vec![])
}

#[tokio::test]
async fn a_request_reports_a_lost_server_and_does_not_wait_for_it() {
    let broker = Scripted::default();
    let host = broker.host().await;
    let script = async {
        broker.reply("x", ReplyBody::Sockets(vec![]));
        // In another namespace, the server is not waited for.
        broker.gone("/other", "y", true);
        broker.gone("/", "y", true);
    };
    let (fetched, ()) = within(futures::future::join(host.io.of("/").fetch_sockets(), script)).await;
    assert_eq!(fetched.unwrap_err().missing, [ServerId::from("y")]);

    let script = async {
        broker.gone("/", "x", false);
        broker.gone("/", "y", false);
    };
    let (fetched, ()) = within(futures::future::join(host.io.of("/").fetch_sockets(), script)).await;
    assert_eq!(fetched.unwrap().len(), 0, "servers that have said that they leave have no sockets");

    let asking = host.io.server_side_emit_with_ack::<u32, _>("sum", &(1, 2));
    let script = async {
        broker.reply("y", ReplyBody::Answer(Some(args("[3]"))));
        broker.gone("/", "x", true);
    };
    let (all, ()) = within(futures::future::join(asking, script)).await;
    let all = all.unwrap();
    assert_eq!(all.answers, [("y".into(), 3)]);
    assert!(matches!(&all.missing[..], [(id, AckError::Timeout)] if id.as_str() == "x"), "{all:?}");
}

#[tokio::test]
async fn acknowledgements_are_counted_for_each_server() {
    let broker = Scripted::default();
    let host = broker.host().await;
    let request = host.io.of("/").emit_with_ack::<u32, _>("question", &()).unwrap();
    let script = async {
        // An acknowledgement may overtake the number of recipients. Those of `z`, and more than reported, are
        // ignored.
        broker.reply("x", ReplyBody::Ack(args("[1]")));
        broker.reply("z", ReplyBody::Ack(args("[9]")));
        broker.reply("x", ReplyBody::RecipientCount(2));
        broker.reply("x", ReplyBody::RecipientCount(7));
        broker.reply("y", ReplyBody::RecipientCount(1));
        broker.reply("y", ReplyBody::Ack(args("[2]")));
        broker.reply("y", ReplyBody::Ack(args("[9]")));
        broker.reply("x", ReplyBody::Ack(args("[3]")));
    };
    let (all, ()) = within(futures::future::join(request.into_future(), script)).await;
    let answers: Vec<u32> = all.answers.iter().map(|(_, answer)| *answer).collect();
    assert_eq!(answers, [1, 2, 3]);
    assert!(all.missing.is_empty() && all.missing_servers.is_empty());
}

#[tokio::test]
async fn acknowledgements_of_a_server_that_is_gone_are_not_waited_for() {
    let broker = Scripted::default();
    let host = broker.host().await;
    let request = host.io.of("/").emit_with_ack::<u32, _>("question", &()).unwrap();
    let script = async {
        broker.reply("x", ReplyBody::RecipientCount(2));
        broker.reply("x", ReplyBody::Ack(args("[1]")));
        broker.gone("/", "x", true);
        broker.gone("/", "y", true);
    };
    let (all, ()) = within(futures::future::join(request.into_future(), script)).await;
    assert_eq!((all.answers.len(), all.missing.len()), (1, 1), "{all:?}");
    assert!(matches!(&all.missing[..], [(_, AckError::Disconnected)]), "{all:?}");
    // `y` has not reported its recipients.
    assert_eq!(all.missing_servers, [ServerId::from("y")]);
}

#[tokio::test]
async fn a_request_that_could_not_be_sent_ends_at_once() {
    let broker = Scripted::default();
    let host = broker.host().await;
    let request = host.io.of("/").emit_with_ack::<u32, _>("question", &()).unwrap();
    let (all, ()) = within(futures::future::join(request.into_future(), async { broker.not_sent() })).await;
    assert_eq!((all.answers.len(), all.missing_servers.len()), (0, 2));
    let fetching = host.io.of("/").fetch_sockets();
    let (fetched, ()) = within(futures::future::join(fetching, async { broker.not_sent() })).await;
    assert_eq!(fetched.unwrap_err().missing.len(), 1);
}
