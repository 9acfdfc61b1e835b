//! The listener for the requests that other servers of the cluster forward.

use std::{
    convert::Infallible,
    fmt,
    future::ready,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode, header};
use tower_service::Service;

use super::{
    connections::Connections,
    listener::Listener,
    request_body::RequestBody,
    serve::{Serve, serve},
};
use crate::{Application, BoxFuture, Engine, ListenConfig, ResponseBody, http::reply::status};

impl<A: Application> Engine<A> {
    /// Serves the requests that other servers of the cluster forward to this server. The listener must be reachable at
    /// the address of the [`Forwarding`](crate::Forwarding) option. Requests of others are rejected with status 401.
    ///
    /// # Panics
    ///
    /// Panics if [`forwarding`](crate::EngineConfig::forwarding) is not set.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::{Application, Engine, EngineConfig, Forwarding};
    /// use tokio::net::TcpListener;
    ///
    /// async fn listen<A: Application>(application: A, secret: &str) -> std::io::Result<()> {
    ///     let private = TcpListener::bind("127.0.0.1:0").await?;
    ///     let forwarding = Forwarding::new(secret, private.local_addr()?);
    ///     let engine = Engine::new(application, EngineConfig::default().forwarding(forwarding));
    ///     tokio::spawn(engine.serve_forwarded(private).into_future());
    ///     let public = TcpListener::bind("127.0.0.1:3000").await?;
    ///     engineio::serve(public, engine.clone()).with_short_path(&engine, "/engine.io/").await
    /// }
    /// ```
    #[track_caller]
    pub fn serve_forwarded<L: Listener>(&self, listener: L) -> Serve<L, Forwarded<A>> {
        assert!(self.config().forwarding.is_some(), "the option `forwarding` must be set");
        let config = self.config();
        let listen = ListenConfig::default()
            .drain_timeout(config.shutdown_spread.saturating_add(config.shutdown_timeout));
        serve(listener, Forwarded { engine: self.clone() }).with_connections(Connections::new(listen))
    }
}

/// The service for forwarded requests, see [`Engine::serve_forwarded`].
pub struct Forwarded<A: Application> {
    engine: Engine<A>,
}

impl<A: Application> Service<Request<RequestBody>> for Forwarded<A> {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<ResponseBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let authorization = request.headers().get(header::AUTHORIZATION);
        let forwarding = self.engine.config().forwarding.as_ref();
        if !forwarding.is_some_and(|forwarding| forwarding.is_authorized(authorization)) {
            return Box::pin(ready(Ok(status(StatusCode::UNAUTHORIZED))));
        }
        let response = self.engine.handle_forwarded(request);
        Box::pin(async move { Ok(response.await) })
    }
}

impl<A: Application> Clone for Forwarded<A> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone() }
    }
}

impl<A: Application> fmt::Debug for Forwarded<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarded").finish_non_exhaustive()
    }
}
