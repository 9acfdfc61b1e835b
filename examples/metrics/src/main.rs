//! Exports Prometheus metrics next to Socket.IO. `docs/observability.md` describes the metrics.
//!
//! ```sh
//! cargo run -p metrics-example
//! curl 127.0.0.1:3000/metrics
//! ```
//!
//! The folder `prometheus` has a configuration that scrapes this program (`prometheus --config.file=prometheus.yml`),
//! alert rules with their tests, and a dashboard for Grafana.

use std::{env, error::Error, time::Duration};

use axum::{Router, routing::get, serve::ListenerExt};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use socketio::{Ack, EventError, MemoryBus, Namespace, Server, ServerConfig, Socket, middleware::RateLimit};
use tokio::net::TcpListener;

/// Histogram buckets: handler durations in `SECONDS`, queued bytes per client in `BYTES`.
const SECONDS: [f64; 6] = [0.001, 0.01, 0.1, 1.0, 10.0, 60.0];
const BYTES: [f64; 5] = [256.0, 4096.0, 65_536.0, 262_144.0, 1_048_576.0];

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".into()), &BYTES)?;
    Ok(builder.build_recorder())
}

async fn say(socket: Socket, text: String) -> Result<Ack<usize>, EventError> {
    if text.is_empty() {
        return Err(EventError::public("say something"));
    }
    socket.broadcast().emit("said", &text)?;
    Ok(Ack(text.len()))
}

/// Builds the application. Install the metrics recorder first, because the server registers its metrics when
/// it is created.
fn app(metrics: PrometheusHandle) -> (Router, Server) {
    let chat =
        Namespace::new("/").wrap(RateLimit::new(100, Duration::from_secs(1)).per_socket()).on("say", say);
    // A cluster of one server, for the metrics of clusters. A broker such as `socketio-redis` takes the place of the bus.
    let io = Server::with_cluster(ServerConfig::default(), MemoryBus::new()).namespace(chat);
    let router = Router::new()
        .route("/metrics", get(async move || metrics.render()))
        .nest_service("/health", io.health())
        .route_service("/socket.io/", io.clone());
    (router, io)
}

/// Moves recorded histogram values into their buckets periodically, even if `/metrics` is never requested.
async fn upkeep(metrics: PrometheusHandle) {
    let mut interval = tokio::time::interval(Duration::from_secs(5));
    loop {
        interval.tick().await;
        metrics.run_upkeep();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    tokio::spawn(upkeep(handle.clone()));
    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    // Disables Nagle's algorithm, so that small packets are sent without delay.
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    Ok(axum::serve(listener, app(handle).0).await?)
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use socketio::testing::TestServer;
    use tower::ServiceExt;

    use super::*;

    async fn page(router: &Router) -> String {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), 1_000_000).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[track_caller]
    fn assert_lines(page: &str, lines: &[&str]) {
        for line in lines {
            assert!(page.lines().any(|other| other == *line), "no `{line}` in\n{page}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_page_shows_what_clients_do() {
        let recorder = recorder().unwrap();
        let (router, io) = metrics::with_local_recorder(&recorder, || app(recorder.handle()));
        let server = TestServer::new(io);
        let ann = server.connect("/").await;
        let bob = server.connect("/").await;
        let length: usize = ann.emit_with_ack("say", "hello").await.unwrap();
        assert_eq!(length, 5);
        let _: socketio::Args = ann.emit_with_ack("say", "").await.unwrap();
        let text = page(&router).await;
        assert_lines(
            &text,
            &[
                "# TYPE engineio_sessions gauge",
                r#"engineio_sessions{transport="polling"} 2"#,
                r#"socketio_sockets{namespace="/"} 2"#,
                r#"socketio_broadcasts_total{namespace="/"} 1"#,
                r#"socketio_events_received_total{namespace="/",event="say"} 2"#,
                r#"socketio_handler_failures_total{namespace="/",event="say",kind="refused"} 1"#,
                r#"socketio_handler_seconds_count{namespace="/",event="say"} 2"#,
                r#"socketio_handler_seconds_bucket{namespace="/",event="say",le="0.001"} 2"#,
            ],
        );

        bob.disconnect().await;
        let text = page(&router).await;
        assert_lines(&text, &[r#"socketio_sockets{namespace="/"} 1"#]);
    }
}
