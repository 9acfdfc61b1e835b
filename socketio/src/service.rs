//! The server as a tower service, and as a layer around another.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use bytes::Bytes;
use engineio::{Answered, BoxFuture};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Full};
use tower_layer::Layer;
use tower_service::Service;

use crate::server::{Server, status};

impl<B> Service<Request<B>> for Server
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answered {
        if self.matches(&request) {
            return self.respond(request).into();
        }
        let not_found: BoxFuture<_> = Box::pin(std::future::ready(status(StatusCode::NOT_FOUND)));
        not_found.into()
    }
}

impl<S> Layer<S> for Server {
    type Service = WithServer<S>;

    fn layer(&self, inner: S) -> WithServer<S> {
        WithServer { server: self.clone(), inner }
    }
}

/// A service behind a [`Server`]: it gets the requests for all other paths. Made by [`Server`] as a tower layer.
#[derive(Debug, Clone)]
pub struct WithServer<S> {
    server: Server,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for WithServer<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Either<Full<Bytes>, R>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.server.matches(&request) {
            let response = self.server.respond(request);
            return Box::pin(async move { Ok(response.await.map(Either::Left)) });
        }
        let response = self.inner.call(request);
        Box::pin(async move { Ok(response.await?.map(Either::Right)) })
    }
}
