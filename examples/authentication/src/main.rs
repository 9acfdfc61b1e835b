//! Authentication and authorization. Instead of a chain of middleware, a namespace has one admission function
//! that calls others.
//!
//! ```js
//! const socket = io("http://127.0.0.1:3000", { auth: { token: "ann-secret" } });
//! socket.on("connect_error", (error) => console.log(error.message, error.data));
//! ```

use std::{io, time::Duration};

use serde::Deserialize;
use serde_json::json;
use socketio::{Ack, ConnectError, EventError, Handshake, Namespace, Server, Socket};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    Guest,
    Admin,
}

/// The data of each socket.
#[derive(Debug, Clone)]
struct User {
    name: String,
    role: Role,
}

/// Step 1: extracts the token from the CONNECT payload.
fn token(handshake: &Handshake) -> Result<String, ConnectError> {
    #[derive(Deserialize)]
    struct Auth {
        token: String,
    }
    let auth: Option<Auth> = handshake.auth().ok();
    auth.map(|auth| auth.token).ok_or_else(|| ConnectError::new("no token").data(json!({ "code": 401 })))
}

/// Step 2: looks up the user of the token. A real application would query a database.
async fn user(token: &str) -> Result<User, ConnectError> {
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (name, role) = match token {
        "ann-secret" => ("Ann", Role::Admin),
        "bob-secret" => ("Bob", Role::Guest),
        _ => return Err(ConnectError::new("unknown token").data(json!({ "code": 401 }))),
    };
    Ok(User { name: name.to_owned(), role })
}

/// Step 3: admits only users with the given role.
fn only(role: Role, user: User) -> Result<User, ConnectError> {
    if user.role == role {
        Ok(user)
    } else {
        Err(ConnectError::new("not for you").data(json!({ "code": 403 })))
    }
}

/// Runs the steps in order. The first error is sent to the client.
async fn sign_in(handshake: Handshake) -> Result<User, ConnectError> {
    user(&token(&handshake)?).await
}

async fn sign_in_admin(handshake: Handshake) -> Result<User, ConnectError> {
    only(Role::Admin, sign_in(handshake).await?)
}

/// Checks the role in the data of the socket. The error is sent as the acknowledgement.
async fn delete(socket: Socket<User>, room: String) -> Result<Ack<String>, EventError> {
    if socket.data().role != Role::Admin {
        return Err(EventError::public("only admins delete rooms"));
    }
    Ok(Ack(format!("{} deleted {room}", socket.data().name)))
}

fn server() -> Server {
    let lobby = Namespace::with_auth("/", sign_in)
        .on("whoami", async |socket, ()| Ack(socket.data().name.clone()))
        .on("delete", delete);
    let admin = Namespace::with_auth("/admin", sign_in_admin);
    Server::new().namespace(lobby).namespace(admin)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    server().listen("127.0.0.1:3000").await
}

#[cfg(test)]
mod tests {
    use socketio::testing::TestServer;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_step_may_refuse() {
        let server = TestServer::new(server());
        let refusal = async |namespace: &str, auth: serde_json::Value| {
            server.client(namespace).auth(&auth).connect().await.map(drop).unwrap_err()
        };
        let unauthorized = |message: &str| ConnectError::new(message).data(json!({ "code": 401 }));
        assert_eq!(server.client("/").connect().await.unwrap_err(), unauthorized("no token"));
        assert_eq!(refusal("/", json!({ "token": 1 })).await, unauthorized("no token"));
        assert_eq!(refusal("/", json!({ "token": "guess" })).await, unauthorized("unknown token"));
        let forbidden = refusal("/admin", json!({ "token": "bob-secret" })).await;
        assert_eq!(forbidden, ConnectError::new("not for you").data(json!({ "code": 403 })));
    }

    #[tokio::test(start_paused = true)]
    async fn data_decides_what_a_user_may_do() {
        let server = TestServer::new(server());
        let ann = server.client("/").auth(&json!({ "token": "ann-secret" })).connect().await.unwrap();
        let bob = server.client("/").auth(&json!({ "token": "bob-secret" })).connect().await.unwrap();
        let answer: String = ann.emit_with_ack("delete", "lobby").await.unwrap();
        assert_eq!(answer, "Ann deleted lobby");
        let answer: serde_json::Value = bob.emit_with_ack("delete", "lobby").await.unwrap();
        assert_eq!(answer, json!({ "error": "only admins delete rooms" }));
        let name: String = bob.emit_with_ack("whoami", &()).await.unwrap();
        assert_eq!(name, "Bob");
    }
}
