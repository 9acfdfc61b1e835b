//! Authenticates clients with a JSON web token. One layer checks the token for both the HTTP API and
//! Socket.IO.
//!
//! ```js
//! // In Node.js; browsers send the header by long-polling only, so there it is `auth: { token }`, see below.
//! const socket = io("http://127.0.0.1:3000", { extraHeaders: { authorization: `Bearer ${token}` } });
//! const socket = io("http://127.0.0.1:3000", { auth: { token } });
//! ```

use std::io;

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{self, Next},
    response::Response,
    routing::get,
    serve::ListenerExt,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::{Deserialize, Serialize};
use socketio::{Ack, ConnectError, EngineConfig, Handshake, Namespace, Server, ServerConfig, Socket};
use tokio::net::TcpListener;

/// The claims of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims {
    /// The name of the user.
    sub: String,
    /// The expiry time of the token, in seconds since the Unix epoch.
    exp: u64,
}

type Key = std::sync::Arc<DecodingKey>;

fn check(token: &str, key: &DecodingKey) -> Result<Claims, ConnectError> {
    let claims = decode(token, key, &Validation::new(Algorithm::HS256));
    claims.map(|token| token.claims).map_err(|_| ConnectError::new("invalid token"))
}

/// Stores the claims of a valid token in the extensions of the request.
async fn authenticate(State(key): State<Key>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let token = header.and_then(|header| header.strip_prefix("Bearer "));
    if let Some(Ok(claims)) = token.map(|token| check(token, &key)) {
        request.extensions_mut().insert(claims);
    }
    next.run(request).await
}

#[derive(Deserialize)]
struct Auth {
    token: String,
}

/// Returns the claims that the layer stored, or those of the token in the CONNECT payload.
fn admit(handshake: &Handshake, key: &DecodingKey) -> Result<Claims, ConnectError> {
    match handshake.extension::<Claims>() {
        Some(claims) => Ok(claims.clone()),
        None => check(&handshake.auth::<Auth>()?.token, key),
    }
}

async fn me(claims: Option<Extension<Claims>>) -> Result<String, StatusCode> {
    let Extension(claims) = claims.ok_or(StatusCode::UNAUTHORIZED)?;
    Ok(claims.sub)
}

fn app(key: DecodingKey) -> (Router, Server) {
    let key = Key::new(key);
    let users = {
        let key = key.clone();
        Namespace::with_auth("/", async move |handshake| admit(&handshake, &key))
            .on_unit("who am I", async |socket: Socket<Claims>| Ack(socket.data().sub.clone()))
    };
    // Makes extensions of this type available in the handshake.
    let engine = EngineConfig::default().keep_extension::<Claims>();
    let io = Server::with_config(ServerConfig::default().engine(engine)).namespace(users);
    let router = Router::new()
        .route("/me", get(me))
        .route_service("/socket.io/", io.clone())
        .layer(middleware::from_fn_with_state(key, authenticate));
    (router, io)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let secret = std::env::var("JWT_SECRET").map_err(io::Error::other)?;
    let key = DecodingKey::from_secret(secret.as_bytes()).map_err(io::Error::other)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    axum::serve(listener, app(key).0).await
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use socketio::testing::TestServer;
    use tower::ServiceExt;

    use super::*;

    const SECRET: &[u8] = b"only for tests";

    fn token(secret: &[u8], exp: u64) -> String {
        let claims = Claims { sub: "Ann".into(), exp };
        encode(&Header::default(), &claims, &EncodingKey::from_secret(secret).unwrap()).unwrap()
    }

    fn key() -> DecodingKey {
        DecodingKey::from_secret(SECRET).unwrap()
    }

    #[tokio::test]
    async fn a_token_lets_in() {
        let (router, io) = app(key());
        let server = TestServer::new(io);
        let valid = token(SECRET, u64::from(u32::MAX));
        let auth = |token: &str| serde_json::json!({ "token": token });
        let client = server.client("/").auth(&auth(&valid)).connect().await.unwrap();
        let name: String = client.emit_with_ack("who am I", &()).await.unwrap();
        assert_eq!(name, "Ann");
        // The layer stores the claims as an extension.
        let claims = check(&valid, &key()).unwrap();
        assert!(server.client("/").extension(claims).connect().await.is_ok());

        for bad in [token(b"another", u64::from(u32::MAX)), token(SECRET, 1), "made up".into()] {
            let refuse = server.client("/").auth(&auth(&bad)).connect().await.unwrap_err();
            assert_eq!(refuse.message(), "invalid token");
        }
        for (token, status) in [(valid, StatusCode::OK), ("made up".into(), StatusCode::UNAUTHORIZED)] {
            let request = Request::get("/me").header(AUTHORIZATION, format!("Bearer {token}"));
            let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), status);
        }
    }
}
