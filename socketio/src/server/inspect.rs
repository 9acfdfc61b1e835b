//! Methods that show what a server does to tools for operators, such as the Admin UI.

use std::sync::Arc;

use engineio::{MessageCounter, Traffic};
use serde::Serialize;

use crate::{
    handles::local_socket::LocalSocket,
    hub::observation::{ObservedEvent, Observer},
    server::Server,
};

impl Server {
    /// Returns the paths of all namespaces of this server, sorted, with the existing children of
    /// [dynamic](Self::dynamic) namespaces.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Namespace, Server};
    ///
    /// let io = Server::new().namespace(Namespace::new("/chat")).namespace(Namespace::new("/"));
    /// assert_eq!(io.namespaces(), ["/", "/chat"]);
    /// ```
    pub fn namespaces(&self) -> Vec<String> {
        let adapters = self.shared.namespaces.adapters();
        let mut paths: Vec<String> = adapters.iter().map(|adapter| adapter.path().to_owned()).collect();
        paths.sort_unstable();
        paths
    }

    /// Returns up to `max` sockets of a namespace on this server, in no particular order, regardless of the type of
    /// their data. Empty if the namespace does not exist. Node.js has `io.of(path).sockets`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(socketio::Server::new().local_sockets("/", 10).is_empty());
    /// ```
    pub fn local_sockets(&self, path: &str, max: usize) -> Vec<LocalSocket> {
        let adapter = self.shared.namespaces.adapter(path);
        let sockets = adapter.map(|adapter| adapter.first_sockets(max)).unwrap_or_default();
        sockets.into_iter().map(LocalSocket::new).collect()
    }

    /// Returns the numbers of sessions and messages since the server was created. Messages are counted only while there
    /// is a [`MessageCounter`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(socketio::Server::new().traffic().opened, 0);
    /// ```
    pub fn traffic(&self) -> Traffic {
        self.engine.traffic()
    }

    /// Counts messages for [`traffic`](Self::traffic), until all returned values are dropped. By default, they are not
    /// counted, because all threads share the counters.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn measure(io: &socketio::Server) -> u64 {
    /// let before = io.traffic();
    /// let _counter = io.count_messages();
    /// tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    /// io.traffic().messages_sent - before.messages_sent
    /// # }
    /// ```
    pub fn count_messages(&self) -> MessageCounter {
        self.engine.count_messages()
    }

    /// Calls a function for each event from or to a client of this server, in all namespaces, until the returned
    /// value is dropped. A broadcast is one event. Acknowledgements are not observed.
    ///
    /// The function runs on the thread that receives or sends the event, so it must not block. It is called without
    /// a lock, and also for events that it emits itself. A panic is logged. To observe one namespace with the data
    /// of its sockets, use [`Namespace::on_any`](crate::Namespace::on_any) and
    /// [`Namespace::on_any_outgoing`](crate::Namespace::on_any_outgoing). Node.js has these only for each socket.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn observe(io: &socketio::Server) {
    /// let observer = io.observe(|event| {
    ///     if let Some((name, args)) = event.read() {
    ///         println!("{} {name} {}", event.namespace(), args.json());
    ///     }
    /// });
    /// # }
    /// ```
    pub fn observe(&self, observer: impl Fn(&ObservedEvent<'_>) + Send + Sync + 'static) -> Observer {
        self.shared.namespaces.observation.add(Arc::new(observer))
    }

    /// Shares data of all sockets for the Admin UI: [`RemoteSocket::admin_data`] then returns what the function returns
    /// for a socket. It is called for each socket that another server fetches. Another call replaces the function.
    ///
    /// `instrument` in Node.js keeps this data in the entry `_admin` of the data of each socket. Servers of Node.js get it
    /// there, unless the namespace [shares](crate::Namespace::share_data) data that is not an object.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn share(io: &socketio::Server) {
    /// io.share_admin_data(|socket| socket.session().transport().as_str());
    /// # }
    /// ```
    ///
    /// [`RemoteSocket::admin_data`]: crate::RemoteSocket::admin_data
    pub fn share_admin_data<T: Serialize>(
        &self,
        describe: impl Fn(&LocalSocket) -> T + Send + Sync + 'static,
    ) {
        self.shared.namespaces.observation.share_admin_data(Arc::new(move |socket| {
            serde_json::to_string(&describe(&LocalSocket::new(socket))).ok().map(String::into_boxed_str)
        }));
    }
}
