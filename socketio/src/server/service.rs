//! Implements the tower service and the tower layer of a [`Server`].

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Empty};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::server::{Server, status};

pin_project! {
    /// The response body of a [`Server`], or of the inner service of a [layer](ServerService).
    #[derive(Debug)]
    pub struct ResponseBody<B = Empty<Bytes>> {
        #[pin]
        body: Either<engineio::ResponseBody, B>,
    }
}

impl<B> ResponseBody<B> {
    /// Creates a body of these bytes, for a service that responds in front of or behind a [`Server`].
    ///
    /// # Examples
    ///
    /// ```
    /// use http_body::Body;
    /// use socketio::ResponseBody;
    ///
    /// let body: ResponseBody = ResponseBody::full("ok");
    /// assert_eq!(body.size_hint().exact(), Some(2));
    /// ```
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::own(engineio::ResponseBody::from(bytes))
    }

    /// Wraps the body of an inner service.
    ///
    /// # Examples
    ///
    /// ```
    /// use http_body::Body;
    /// use socketio::ResponseBody;
    ///
    /// let body = ResponseBody::inner(String::from("of the inner service"));
    /// assert_eq!(body.size_hint().exact(), Some(20));
    /// ```
    pub fn inner(body: B) -> Self {
        Self { body: Either::Right(body) }
    }

    pub(super) fn own(body: engineio::ResponseBody) -> Self {
        Self { body: Either::Left(body) }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.project().body.poll_frame(cx).map_err(BodyError)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The error of a response body of the inner service in a [`Server`] layer. Response bodies of the server
/// itself never fail.
#[derive(Debug)]
pub struct BodyError(Box<dyn Error + Send + Sync>);

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of the service behind the server failed")
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// The response future of a [`Server`]. It never resolves to an error.
pub struct ResponseFuture(engineio::BoxFuture<Response<engineio::ResponseBody>>);

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.0.as_mut().poll(cx));
        Poll::Ready(Ok(response.map(ResponseBody::own)))
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Server
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        if self.matches(&request) {
            return ResponseFuture(self.respond(request));
        }
        ResponseFuture(Box::pin(std::future::ready(status(StatusCode::NOT_FOUND))))
    }
}

impl<S> Layer<S> for Server {
    type Service = ServerService<S>;

    fn layer(&self, inner: S) -> ServerService<S> {
        ServerService { server: self.clone(), inner }
    }
}

/// A service wrapped by a [`Server`] layer. The server handles the requests for its paths; the inner service
/// handles all other requests.
#[derive(Debug, Clone)]
pub struct ServerService<S> {
    server: Server,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for ServerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.server.matches(&request) {
            let response = self.server.respond(request);
            return Box::pin(async move { Ok(response.await.map(ResponseBody::own)) });
        }
        let response = self.inner.call(request);
        Box::pin(async move { Ok(response.await?.map(ResponseBody::inner)) })
    }
}
