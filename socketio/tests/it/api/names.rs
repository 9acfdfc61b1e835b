//! Every type in the public API can be named through this crate.

use std::convert::Infallible;

use http_body::Body;
use http_body_util::Empty;
use socketio::{
    BodyError, ChannelListener, EmitError, EngineConfig, Listener, Namespace, RequestBody, ResponseBody,
    ResponseFuture, SendError, Serve, Server, ServerService, Session, Sid, Socket, bytes::Bytes, http,
};
use tokio::io::DuplexStream;
use tower_layer::Layer;
use tower_service::Service;

/// Signatures that user code could contain.
const _: () = {
    fn id(session: Session<'_>) -> &Sid {
        session.id()
    }
    fn error(error: SendError) -> EmitError {
        error.into()
    }
    fn serve<L: Listener>(server: Server, listener: L) -> Serve<L> {
        server.serve(listener)
    }
    fn config() -> EngineConfig {
        EngineConfig::default().generate_id(|_: &http::request::Parts| Sid::random())
    }
    fn call(server: &mut Server, request: http::Request<RequestBody>) -> ResponseFuture {
        server.call(request)
    }
    let _ = (id, error, serve::<ChannelListener<DuplexStream>>, config, call);
};

fn is_body<B: Body<Data = Bytes, Error = BodyError>>(_: &B) {}

fn is_error<E: std::error::Error + Send + Sync + 'static>() {}

#[derive(Clone)]
struct Failing;

impl Service<http::Request<RequestBody>> for Failing {
    type Response = http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<RequestBody>) -> Self::Future {
        unreachable!("nobody calls it")
    }
}

#[test]
fn services_compose_with_bodies_of_our_own() {
    is_error::<BodyError>();
    let io = Server::new().namespace(Namespace::new("/").on_unit("x", async |_: Socket| ()));
    let twice: ServerService<ServerService<Failing>> = io.layer(io.layer(Failing));
    drop(twice);
}

#[tokio::test]
async fn the_body_of_an_answer_is_one_of_ours() {
    let request = http::Request::get("/elsewhere").body(Empty::<Bytes>::new()).unwrap();
    let Ok(response) = Server::new().call(request).await;
    is_body(response.body());
    assert_eq!(response.status(), http::StatusCode::NOT_FOUND);
}
