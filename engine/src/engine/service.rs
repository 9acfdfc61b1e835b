//! The implementation of the tower service for [`Engine`].

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    Application, Engine, ResponseBody,
    http::{reply::Reply, view::RequestView},
};

/// A boxed future, such as the future of a response.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<A, B> Service<Request<B>> for Engine<A>
where
    A: Application,
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ResponseFuture(self.handle(request))
    }
}

/// The response future of the tower service of [`Engine`]. It never returns an error.
pub struct ResponseFuture(BoxFuture<Response<ResponseBody>>);

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Responds to some requests directly, without constructing a [`Request`]. Returns `None` if the service must
/// handle the request.
pub(crate) type Shortcut = Box<dyn Fn(&RequestView<'_>) -> Option<BoxFuture<Reply>> + Send + Sync>;
