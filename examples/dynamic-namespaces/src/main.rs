//! A namespace per game, created for the first player and removed after the last one has left.
//!
//! ```js
//! const game = io("http://127.0.0.1:3000/game-7", { auth: { name: "Ann" } });
//! game.on("moves", (moves) => console.log("so far", moves));
//! game.on("moved", (name, to) => console.log(name, to));
//! const count = await game.emitWithAck("move", "e4");
//! ```

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use serde::Deserialize;
use socketio::{Ack, ConnectError, DisconnectReason, EmitError, Handshake, Namespace, Server, Socket};

const GAME: &str = "/game-{id}";

/// The moves of one game, shared by its players.
#[derive(Default)]
struct Game {
    moves: Mutex<Vec<(String, String)>>,
}

/// The current games. Each is owned by its players and dropped with the last one.
#[derive(Default)]
struct Games(Mutex<HashMap<u64, Weak<Game>>>);

impl Games {
    /// Returns the game with this number, or starts a new one.
    fn find_or_begin(&self, number: u64) -> Arc<Game> {
        let mut games = self.0.lock();
        if let Some(game) = games.get(&number).and_then(Weak::upgrade) {
            return game;
        }
        games.retain(|_, game| game.strong_count() > 0);
        let game = Arc::new(Game::default());
        games.insert(number, Arc::downgrade(&game));
        game
    }
}

struct Player {
    name: String,
    game: Arc<Game>,
}

/// Admits a player. The `id` in the path is parsed like any other client data; a value that is not a number
/// is rejected.
fn sit_down(handshake: &Handshake, games: &Games) -> Result<Player, ConnectError> {
    #[derive(Deserialize)]
    struct Auth {
        name: String,
    }
    let Auth { name } = handshake.auth()?;
    Ok(Player { name, game: games.find_or_begin(handshake.param("id")?) })
}

/// Broadcasts a move to all players of the game. The lock keeps the order of the moves, and emitting never
/// blocks.
async fn play(socket: Socket<Player>, to: String) -> Result<Ack<usize>, EmitError> {
    let Player { name, game } = socket.data();
    let mut moves = game.moves.lock();
    moves.push((name.clone(), to));
    socket.namespace().emit("moved", &moves[moves.len() - 1])?;
    Ok(Ack(moves.len()))
}

fn server() -> Server {
    let games = Arc::new(Games::default());
    let game = Namespace::with_auth(GAME, async move |handshake| sit_down(&handshake, &games))
        .on_connect(async |socket| {
            // Fails only if the player has already disconnected.
            let _ = socket.emit("moves", &*socket.data().game.moves.lock());
        })
        .on("move", play)
        .on_disconnect(async |socket, _: DisconnectReason| {
            let _ = socket.namespace().emit("left", &socket.data().name);
        });
    Server::new().dynamic(game)
}

/// Broadcasts to all games.
fn announce(io: &Server, text: &str) -> Result<(), EmitError> {
    io.children(GAME).try_for_each(|game| game.emit("news", text))
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let io = server();
    let serving = tokio::spawn(io.clone().listen("127.0.0.1:3000"));
    tokio::signal::ctrl_c().await?;
    announce(&io, "The server restarts.").map_err(io::Error::other)?;
    io.close().await;
    serving.await?
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use socketio::testing::{TestClient, TestServer};

    use super::*;

    type Moves = Vec<(String, String)>;

    async fn join(server: &TestServer, namespace: &str, name: &str) -> (TestClient, Moves) {
        let mut player = server.client(namespace).auth(&json!({ "name": name })).connect().await.unwrap();
        let moves = player.expect("moves").await;
        (player, moves)
    }

    fn made(name: &str, to: &str) -> (String, String) {
        (name.to_owned(), to.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn each_game_has_its_own_players_and_moves() {
        let server = TestServer::new(server());
        let (mut ann, _) = join(&server, "/game-7", "Ann").await;
        let (mut cid, _) = join(&server, "/game-8", "Cid").await;
        let count: usize = ann.emit_with_ack("move", "e4").await.unwrap();
        assert_eq!(count, 1);
        assert_eq!(ann.expect::<(String, String)>("moved").await, made("Ann", "e4"));
        let (_bob, moves) = join(&server, "/game-7", "Bob").await;
        assert_eq!(moves, [made("Ann", "e4")]);
        announce(server.server(), "Tea is ready.").unwrap();
        assert_eq!(ann.expect::<String>("news").await, "Tea is ready.");
        // This is the first event that the other game receives.
        assert_eq!(cid.expect::<String>("news").await, "Tea is ready.");
    }

    #[tokio::test(start_paused = true)]
    async fn a_game_ends_with_its_last_player() {
        let server = TestServer::new(server());
        let (mut ann, _) = join(&server, "/game-7", "Ann").await;
        let (bob, _) = join(&server, "/game-7", "Bob").await;
        let _: usize = bob.emit_with_ack("move", "e4").await.unwrap();
        assert_eq!(ann.expect::<(String, String)>("moved").await, made("Bob", "e4"));
        bob.disconnect().await;
        assert_eq!(ann.expect::<String>("left").await, "Bob");
        assert_eq!(server.server().children(GAME).count(), 1);
        ann.disconnect().await;
        while server.server().children(GAME).count() > 0 {
            tokio::task::yield_now().await;
        }
        let (_cid, moves) = join(&server, "/game-7", "Cid").await;
        assert_eq!(moves, []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_game_is_refused() {
        let server = TestServer::new(server());
        for namespace in ["/game-x", "/game-", "/other", "/"] {
            let refused = server.client(namespace).auth(&json!({ "name": "Ann" })).connect().await;
            assert_eq!(refused.unwrap_err(), ConnectError::new("Invalid namespace"), "{namespace}");
        }
        assert_eq!(server.server().children(GAME).count(), 0);
    }
}
