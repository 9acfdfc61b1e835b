//! Tests that invalid configuration panics while building, and that the panic names the line of the
//! application.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
    time::Duration,
};

use socketio::{
    Ack, AckRequest, Args, BroadcastOperator, ConnectError, DisconnectReason, EngineConfig, Handshake,
    Namespace, Room, Server, ServerConfig, ServerService, Session, Socket, TransportKind, TypedEvent,
};

thread_local! {
    static PANIC: RefCell<Option<(String, u32)>> = const { RefCell::new(None) };
}

/// Runs a function that must panic, checks that the panic is located in this file, and returns its message.
fn panics<T>(build: impl FnOnce() -> T) -> String {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let location = info.location().map(|location| (location.file().to_owned(), location.line()));
            PANIC.set(location);
            before(info);
        }));
    });
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(build()))) else { panic!("nothing is wrong") };
    let (file, _) = PANIC.take().unwrap();
    assert!(file.ends_with(file!()) || file!().ends_with(&file), "{file}");
    let literal = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap()
}

const SECOND: TypedEvent<u8> = TypedEvent::new("e");

#[test]
fn events_and_hooks_are_wired_once() {
    let twice = || Namespace::new("/chat").on("e", async |_, ()| ()).on(SECOND, async |_, _| ());
    assert_eq!(panics(twice), "event `e` of namespace `/chat` has a handler already");
    let hooks = || Namespace::new("/chat").on_connect(async |_| ()).on_connect(async |_| ());
    assert_eq!(panics(hooks), "namespace `/chat` has a connect hook already");
    let hooks = || Namespace::new("/").on_disconnect(async |_, _| ()).on_disconnect(async |_, _| ());
    assert_eq!(panics(hooks), "namespace `/` has a disconnect hook already");
    let same_path = || Server::new().namespace(Namespace::new("/chat")).namespace(Namespace::new("/chat"));
    assert_eq!(panics(same_path), "there is a namespace `/chat` already");
}

#[test]
fn names_are_checked() {
    for name in ["connect_error", "newListener", "removeListener"] {
        let message = panics(|| Namespace::new("/").on(name, async |_, ()| ()));
        assert_eq!(message, format!("the name `{name}` is reserved: no client can emit it"));
    }
    for path in ["", "chat", "chat/"] {
        let message = panics(|| Namespace::new(path));
        assert_eq!(message, format!("the path of a namespace begins with a slash: `{path}`"));
        assert_eq!(panics(|| Namespace::with_auth(path, async |_| Ok::<_, ConnectError>(()))), message);
        let message = panics(|| Server::with_config(ServerConfig::default().path(path)));
        assert_eq!(message, format!("the path of a server begins with a slash: `{path}`"));
    }
    assert_eq!(panics(|| Namespace::new("/a,b")), "a comma ends the path of a namespace on the wire: `/a,b`");
    let longest = format!("/{}", "n".repeat(255));
    drop(Server::new().namespace(Namespace::new(longest.as_str())));
    assert!(
        panics(move || Server::new().namespace(Namespace::new(longest + "n")))
            .starts_with("the path of a namespace has at most 256 bytes")
    );
    let named = |path| {
        Server::with_config(ServerConfig::default().max_namespace_length(4)).namespace(Namespace::new(path))
    };
    drop(named("/abc"));
    assert_eq!(panics(|| named("/abcd")), "the path of a namespace has at most 4 bytes: `/abcd`");
}

#[test]
fn limits_and_times_that_cannot_work_are_refused() {
    const ZERO: Duration = Duration::ZERO;
    let server = |config: ServerConfig| panics(move || Server::with_config(config));
    assert_eq!(server(ServerConfig::default().connect_timeout(ZERO)), "connect_timeout must not be zero");
    let engine = |config: EngineConfig| server(ServerConfig::default().engine(config));
    assert_eq!(engine(EngineConfig::default().ping_interval(ZERO)), "ping_interval must not be zero");
    assert_eq!(engine(EngineConfig::default().ping_timeout(ZERO)), "ping_timeout must not be zero");
    assert_eq!(engine(EngineConfig::default().upgrade_timeout(ZERO)), "upgrade_timeout must not be zero");
    let none: [TransportKind; 0] = [];
    assert_eq!(
        engine(EngineConfig::default().transports(none)),
        "transports must name at least one transport"
    );
    assert_eq!(
        server(ServerConfig::default().max_waiting_bytes(0_usize)),
        "max_waiting_bytes must not be zero"
    );
    for depth in [0, 129] {
        let message = server(ServerConfig::default().max_json_depth(depth));
        assert_eq!(message, "max_json_depth must be from 1 to 128");
    }
    assert_eq!(panics(|| Namespace::new("/").max_in_flight(0)), "max_in_flight must not be zero");
}

#[test]
fn a_panic_names_the_line_that_is_wrong() {
    let line = line!() + 1;
    let message = catch_unwind(|| drop(Namespace::new("/").on("connect", async |_, ()| ())));
    assert!(message.is_err());
    // The hook is installed by the first test that calls `panics`, which may not have run yet.
    if let Some((_, found)) = PANIC.take() {
        assert_eq!(found, line);
    }
    panics(|| Namespace::new("no slash"));
}

/// Types that applications store or move into tasks implement the necessary auto traits.
const _: () = {
    const fn shared<T: Send + Sync + Clone + 'static>() {}
    const fn sent<T: Send + 'static>() {}
    shared::<Server>();
    shared::<Socket>();
    shared::<Socket<String>>();
    shared::<BroadcastOperator>();
    shared::<Session<'_>>();
    shared::<Handshake>();
    shared::<ServerConfig>();
    shared::<Args>();
    shared::<Room>();
    shared::<ConnectError>();
    shared::<DisconnectReason>();
    shared::<TypedEvent<str>>();
    shared::<ServerService<()>>();
    sent::<Namespace<String>>();
    sent::<AckRequest<String>>();
    sent::<<AckRequest<String> as IntoFuture>::IntoFuture>();
    sent::<Ack<String>>();
};
