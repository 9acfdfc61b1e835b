//! Log lines of handlers contain the session and the event.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use socketio::{Event, Namespace, Server, Socket, testing::TestServer};
use tokio::task::yield_now;

/// The captured log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Handles one event and returns what is logged at `level`.
async fn logged(level: tracing::Level) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let handle = async |_: Socket, _: Event| {
        yield_now().await;
        tracing::info!("handled");
    };
    let server = TestServer::new(Server::new().namespace(Namespace::new("/app").fallback(handle)));
    let client = server.connect("/app").await;
    let () = client.emit_with_ack("na\nme", &()).await.unwrap();
    lines.text()
}

#[tokio::test]
async fn a_handler_runs_in_the_span_of_its_event_and_session() {
    let text = logged(tracing::Level::DEBUG).await;
    let line = text.lines().find(|line| line.contains("handled")).unwrap();
    assert!(line.contains("session{id=Sid("), "{line}");
    assert!(line.contains(r#"transport="polling"}:event{namespace="/app" event="na\nme"}"#), "{line}");
    // Session ids are secret, so only four characters are logged.
    let id = line.split_once("Sid(").and_then(|(_, rest)| rest.split_once(')')).unwrap().0;
    assert_eq!(id.len(), "abcd..".len(), "{line}");

    let text = logged(tracing::Level::INFO).await;
    let line = text.lines().find(|line| line.contains("handled")).unwrap();
    assert!(!line.contains("session"), "{line}");
}
