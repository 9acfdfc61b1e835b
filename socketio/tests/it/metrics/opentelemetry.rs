//! A slow handler is found in the traces of OpenTelemetry by the name of its event.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry::trace::{SpanId, TracerProvider as _};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use socketio::{Namespace, Server, testing::TestServer};
use tracing::{Instrument, info_span};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    prelude::*,
};

const SLOW: Duration = Duration::from_millis(20);

/// Keeps the spans that have ended.
#[derive(Debug, Clone, Default)]
struct Exported(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Exported {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        Ok(())
    }
}

impl Exported {
    #[track_caller]
    fn only(&self, name: &str) -> SpanData {
        let spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        let [span] = named[..] else { panic!("{} spans `{name}` in {spans:?}", named.len()) };
        span.clone()
    }
}

fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.unwrap_or_else(|| panic!("no {key}: {:?}", span.attributes)).value.to_string()
}

#[tokio::test]
async fn the_span_of_a_slow_handler_has_the_name_of_its_event() {
    let exported = Exported::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exported.clone()).build();
    // As in docs/observability.md.
    let spans = Targets::new().with_default(LevelFilter::INFO).with_target("socketio", LevelFilter::DEBUG);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("chat")).with_filter(spans);
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

    let namespace = Namespace::new("/app").on("slow", async |_, ()| {
        tokio::time::sleep(SLOW).instrument(info_span!("query")).await;
    });
    let server = TestServer::new(Server::new().namespace(namespace));
    let client = server.connect("/app").await;
    let () = client.emit_with_ack("slow", &()).await.unwrap();

    let (event, query) = (exported.only("event"), exported.only("query"));
    assert_eq!((attribute(&event, "namespace"), attribute(&event, "event")), ("/app".into(), "slow".into()));
    assert!(event.end_time.duration_since(event.start_time).unwrap() >= SLOW);
    // Each event is a trace of its own, because that of a session would have no end while the client is connected.
    assert_eq!(event.parent_span_id, SpanId::INVALID);
    assert_eq!(query.parent_span_id, event.span_context.span_id());
}
