//! Sends events into a cluster without being a server: each line of the input is a command in JSON. A line
//! `ok` is printed when the broker has confirmed it, or the error if it has not.
#![expect(clippy::print_stdout, reason = "the lines tell the test that the command was sent")]

use std::{env, error::Error};

use serde::Deserialize;
use socketio::Args;
use socketio_postgres::Postgres;
use socketio_redis::{Classic, Sharded, Streams};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Command {
    op: String,
    nsp: String,
    to: Vec<String>,
    except: Vec<String>,
    volatile: bool,
    event: String,
    args: Vec<serde_json::Value>,
    /// A binary argument, which follows the others.
    bytes: Option<Vec<u8>>,
    rooms: Vec<String>,
    close: bool,
}

impl Default for Command {
    fn default() -> Self {
        Self {
            op: "emit".to_owned(),
            nsp: "/".to_owned(),
            to: Vec::new(),
            except: Vec::new(),
            volatile: false,
            event: String::new(),
            args: Vec::new(),
            bytes: None,
            rooms: Vec::new(),
            close: false,
        }
    }
}

impl Command {
    fn args(&self) -> Result<Args, Box<dyn Error>> {
        let values = self.args.iter().map(|value| interop_tests::value::Value::from(value.clone()));
        let bytes = self.bytes.iter().map(|bytes| interop_tests::value::Value::Binary(bytes.clone().into()));
        Ok(Args::from_values(values.chain(bytes))?)
    }
}

/// An emitter of either crate.
enum Emitter {
    Redis(socketio_redis::Emitter),
    Postgres(socketio_postgres::Emitter),
}

/// Executes a command with an emitter. Both types have the same methods.
macro_rules! run {
    ($emitter:expr, $command:expr) => {{
        let command: Command = $command;
        let args = command.args()?;
        let mut selected = $emitter.of(&command.nsp);
        for room in command.to {
            selected = selected.to(room);
        }
        for room in command.except {
            selected = selected.except(room);
        }
        if command.volatile {
            selected = selected.volatile();
        }
        match &*command.op {
            "emit" => selected.emit(command.event, &args).await?,
            "join" => selected.sockets_join(command.rooms).await?,
            "leave" => selected.sockets_leave(command.rooms).await?,
            "disconnect" if command.close => selected.close_sockets().await?,
            "disconnect" => selected.disconnect_sockets().await?,
            "sse" => selected.server_side_emit(command.event, &args).await?,
            other => return Err(format!("unknown operation `{other}`").into()),
        }
    }};
}

impl Emitter {
    fn new() -> Result<Self, Box<dyn Error>> {
        let adapter = env::var("ADAPTER")?;
        if adapter == "postgres" {
            return Ok(Self::Postgres(socketio_postgres::Emitter::new(postgres()?)));
        }
        let (url, key) = (env::var("REDIS_URL")?, env::var("KEY").ok());
        // The defaults of all adapters.
        let key = key.as_deref().unwrap_or("socket.io");
        Ok(Self::Redis(match &*adapter {
            "redis" => socketio_redis::Emitter::classic(Classic::new(&url)?.key(key)),
            "redis-sharded" => socketio_redis::Emitter::sharded(Sharded::new(&url)?.channel_prefix(key)),
            "redis-streams" => {
                let fleet = Streams::new(&url)?.stream_name(key).channel_prefix(key);
                socketio_redis::Emitter::streams(fleet)
            }
            other => return Err(format!("unknown ADAPTER `{other}`").into()),
        }))
    }

    async fn run(&self, command: Command) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Redis(emitter) => run!(emitter, command),
            Self::Postgres(emitter) => run!(emitter, command),
        }
        Ok(())
    }
}

fn postgres() -> Result<Postgres, Box<dyn Error>> {
    let postgres = Postgres::new(&env::var("POSTGRES_URL")?)?;
    Ok(match env::var("KEY") {
        Ok(key) => postgres.channel_prefix(&key).table_name(format!("{key}_attachments")),
        Err(_) => postgres,
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let emitter = Emitter::new()?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match emitter.run(serde_json::from_str(&line)?).await {
            Ok(()) => println!("ok"),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}
