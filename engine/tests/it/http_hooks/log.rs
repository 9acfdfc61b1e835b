//! Log messages about rejected origins.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use engineio::{Cors, EngineConfig};
use parking_lot::Mutex;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::rig::{POLLING, ask, engine};

/// Collects warnings as text.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }
    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.lock().push(text.0);
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_origin_is_logged_with_the_setting_that_would_allow_it() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let engine = engine(EngineConfig::default());
    let long = format!("http://evil.example/\"{}", "x".repeat(1000));
    for _ in 0..100 {
        ask(&engine, "GET", POLLING, &[("origin", &long)]).await;
    }
    let warnings = warnings.0.lock();
    assert_eq!(warnings.len(), 10);
    assert!(warnings[0].contains("EngineConfig::cors"), "{}", warnings[0]);
    assert!(warnings[0].contains(r#"origin=http://evil.example/\"xxx"#), "{}", warnings[0]);
    assert!(warnings[0].contains("host=server.example "), "{}", warnings[0]);
    assert!(warnings[0].len() < 500, "{}", warnings[0]);
}

/// The setting suggested by the log can be pasted and then allows the client.
#[tokio::test]
async fn the_setting_that_is_advised_works() {
    for (origin, advice) in [
        ("https://app.example:8443", r#"Cors::origins(["https://app.example:8443"])"#),
        ("null", r#"Cors::origins(["null"])"#),
        ("file://", r#"Cors::origins(["file://"])"#),
        ("qrc://", r#"Cors::origins(["qrc://"])"#),
        ("content://", r#"Cors::origins(["content://"])"#),
        ("resource://", r#"Cors::origins(["resource://"])"#),
        ("http://192.168.4.1/", r#"Cors::predicate(|origin| origin == "http://192.168.4.1/")"#),
        ("esp \"32\"", r#"Cors::predicate(|origin| origin == "esp \"32\"")"#),
        ("", r#"Cors::predicate(|origin| origin == "")"#),
    ] {
        let warnings = Warnings::default();
        let guard = tracing::subscriber::set_default(warnings.clone());
        let by_default = engine(EngineConfig::default());
        assert_eq!(ask(&by_default, "GET", POLLING, &[("origin", origin)]).await.status, 403);
        drop(guard);
        let warning = warnings.0.lock()[0].clone();
        assert!(warning.contains(&format!("cors={advice} ")), "{warning}");
        let pasted = if advice.starts_with("Cors::origins") {
            Cors::origins([origin])
        } else {
            Cors::predicate(move |sent| sent == origin)
        };
        let allowing = engine(EngineConfig::default().cors(pasted));
        let answer = ask(&allowing, "GET", POLLING, &[("origin", origin)]).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(origin)));
    }
}

#[tokio::test]
async fn a_page_that_loads_the_server_is_logged_too() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    ask(&engine(EngineConfig::default()), "GET", POLLING, &[("sec-fetch-site", "cross-site")]).await;
    let warnings = warnings.0.lock();
    assert!(warnings[0].contains("site=cross-site "), "{}", warnings[0]);
    assert!(!warnings[0].contains("Cors::origins"), "{}", warnings[0]);
}
