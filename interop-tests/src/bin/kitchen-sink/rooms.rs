//! Broadcasts whose recipients the client chooses.

use serde::Deserialize;
use socketio::{Args, EventError, Socket};

use crate::state::State;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Options {
    via: Via,
    to: Vec<String>,
    except: Vec<String>,
    volatile: bool,
    local: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Via {
    /// The sender is left out.
    Socket,
    #[default]
    Nsp,
}

/// `options, event, arguments...`
pub(crate) async fn cast(socket: Socket<State>, args: Args) -> Result<(), EventError> {
    let options: Options = args.get(0)?;
    let event: String = args.get(1)?;
    let mut recipients = match options.via {
        Via::Socket => socket.broadcast(),
        Via::Nsp => socket.namespace(),
    };
    for room in options.to {
        recipients = recipients.to(room);
    }
    for room in options.except {
        recipients = recipients.except(room);
    }
    if options.volatile {
        recipients = recipients.volatile();
    }
    if options.local {
        recipients = recipients.local();
    }
    Ok(recipients.emit(event, &args.skip(2))?)
}
