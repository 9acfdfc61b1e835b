//! Sends events into a cluster without being a server: each line of the input is a command in JSON. A line
//! `ok` is printed when Redis has confirmed it.
#![expect(clippy::print_stdout, reason = "the lines tell the test that the command was sent")]

use std::{env, error::Error};

use serde::Deserialize;
use socketio::Args;
use socketio_redis::{Classic, Emitter, Sharded, Streams};
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

    async fn run(self, emitter: &Emitter) -> Result<(), Box<dyn Error>> {
        let args = self.args()?;
        let mut selected = emitter.of(&self.nsp);
        for room in self.to {
            selected = selected.to(room);
        }
        for room in self.except {
            selected = selected.except(room);
        }
        if self.volatile {
            selected = selected.volatile();
        }
        match &*self.op {
            "emit" => selected.emit(self.event, &args).await?,
            "join" => selected.sockets_join(self.rooms).await?,
            "leave" => selected.sockets_leave(self.rooms).await?,
            "disconnect" if self.close => selected.close_sockets().await?,
            "disconnect" => selected.disconnect_sockets().await?,
            "sse" => selected.server_side_emit(self.event, &args).await?,
            other => return Err(format!("unknown operation `{other}`").into()),
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("REDIS_URL")?;
    let emitter = match &*env::var("ADAPTER")? {
        "redis" => Emitter::classic(Classic::new(&url)?),
        "redis-sharded" => Emitter::sharded(Sharded::new(&url)?),
        "redis-streams" => Emitter::streams(Streams::new(&url)?),
        other => return Err(format!("unknown ADAPTER `{other}`").into()),
    };
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        serde_json::from_str::<Command>(&line)?.run(&emitter).await?;
        println!("ok");
    }
    Ok(())
}
