//! One session for HTTP and Socket.IO: the cookie of `tower-sessions` identifies the user.
//!
//! ```sh
//! cargo run -p session-cookie
//! curl -c jar -X POST 127.0.0.1:3000/sign-in/Ann
//! ```
//!
//! A page of the same origin sends the cookie automatically:
//!
//! ```js
//! const socket = io();
//! await socket.emitWithAck("who am I"); // "Ann"
//! ```

use std::io;

use axum::{Router, extract::Path, http::StatusCode, routing::post, serve::ListenerExt};
use socketio::{Ack, ConnectError, EngineConfig, Handshake, Namespace, Server, ServerConfig, Socket};
use tokio::net::TcpListener;
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

const NAME: &str = "name";

/// Stores the name in the session. The layer then sets the session cookie.
async fn sign_in(session: Session, Path(name): Path<String>) -> Result<(), StatusCode> {
    session.insert(NAME, name).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

struct User {
    name: String,
}

/// Reads the session that the layer stored in the request that opened the connection.
async fn admit(handshake: Handshake) -> Result<User, ConnectError> {
    let session = handshake.extension::<Session>().ok_or("no session")?;
    let name = session.get(NAME).await?.ok_or("not signed in")?;
    Ok(User { name })
}

fn app() -> (Router, Server) {
    let users = Namespace::with_auth("/", admit)
        .on_unit("who am I", async |socket: Socket<User>| Ack(socket.data().name.clone()));
    // Makes extensions of this type available in the handshake.
    let engine = EngineConfig::default().keep_extension::<Session>();
    let io = Server::with_config(ServerConfig::default().engine(engine)).namespace(users);
    let router = Router::new()
        .route("/sign-in/{name}", post(sign_in))
        .route_service("/socket.io/", io.clone())
        // Behind TLS, keep the default of `with_secure`.
        .layer(SessionManagerLayer::new(MemoryStore::default()).with_secure(false));
    (router, io)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    axum::serve(listener, app().0).await
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        http::{Request, Response, header},
    };
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    /// Sends a request with a cookie through all layers.
    async fn send(
        router: &Router,
        method: &str,
        uri: &str,
        cookie: &str,
        body: &'static str,
    ) -> Response<Body> {
        let request = Request::builder().method(method).uri(uri).header(header::COOKIE, cookie);
        router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()
    }

    async fn text(response: Response<Body>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    /// Connects over long-polling, and returns the namespace's response.
    async fn connect(router: &Router, cookie: &str) -> String {
        let opened = "/socket.io/?EIO=4&transport=polling";
        let open = text(send(router, "GET", opened, cookie, "").await).await;
        let sid = &open.strip_prefix(r#"0{"sid":""#).unwrap()[..20];
        let session = format!("{opened}&sid={sid}");
        // The session was authenticated by the first request, so later requests need no cookie.
        assert_eq!(text(send(router, "POST", &session, "", "40").await).await, "ok");
        text(send(router, "GET", &session, "", "").await).await
    }

    #[tokio::test]
    async fn the_cookie_says_who_connects() {
        let (router, io) = app();
        let signed_in = send(&router, "POST", "/sign-in/Ann", "", "").await;
        let cookie = signed_in.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
        assert!(connect(&router, cookie).await.starts_with(r#"40{"sid":"#));
        let names: Vec<_> = io.sockets::<User>("/").unwrap().all();
        assert_eq!(names.iter().map(|socket| &*socket.data().name).collect::<Vec<_>>(), ["Ann"]);
        assert_eq!(connect(&router, "").await, r#"44{"message":"not signed in"}"#);
        assert_eq!(connect(&router, "id=made-up").await, r#"44{"message":"not signed in"}"#);
    }
}
