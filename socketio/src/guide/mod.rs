#![doc = include_str!("links.md")]
#![doc = ""]
#![doc = include_str!("../../docs/guide.md")]

// The pages are the files of `docs/`, so that they are the same here and in the repository. Each link in them has a
// reference, which `links.md` defines before the page does: the first definition counts. `socketio/tests/it/guide.rs`
// checks the links.

/// Defines a module for each page, named after its file.
macro_rules! pages {
    ($($(#[$attribute:meta])* $page:ident = $file:literal,)*) => { $(
        $(#[$attribute])*
        #[doc = include_str!("links.md")]
        #[doc = ""]
        #[doc = include_str!($file)]
        pub mod $page {}
    )* };
}

pages! {
    // Its code needs the crate `socketio-admin`, where it is compiled.
    #[cfg(not(doctest))]
    admin_ui = "../../docs/admin-ui.md",
    authentication = "../../docs/authentication.md",
    // Its code needs the crates of the brokers, so it is compiled in `interop-tests`.
    #[cfg(not(doctest))]
    cluster = "../../docs/cluster.md",
    cluster_scale = "../../docs/cluster-scale.md",
    cors_and_csrf = "../../docs/cors-and-csrf.md",
    delivery = "../../docs/delivery.md",
    deployment = "../../docs/deployment.md",
    emitting = "../../docs/emitting.md",
    engine = "../../docs/engine.md",
    files_and_binary = "../../docs/files-and-binary.md",
    frameworks = "../../docs/frameworks.md",
    getting_started = "../../docs/getting-started.md",
    limits = "../../docs/limits.md",
    load_testing = "../../docs/load-testing.md",
    migrating_from_node = "../../docs/migrating-from-node.md",
    migrating_from_socketioxide = "../../docs/migrating-from-socketioxide.md",
    observability = "../../docs/observability.md",
    performance = "../../docs/performance.md",
    presence = "../../docs/presence.md",
    promises = "../../docs/promises.md",
    security = "../../docs/security.md",
    socketio = "../../docs/socketio.md",
    testing = "../../docs/testing.md",
    troubleshooting = "../../docs/troubleshooting.md",
}
