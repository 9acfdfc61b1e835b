//! What administrators do to sockets.

use socketio::{Args, BroadcastOperator, EventError, Namespace, Socket};

use crate::admin::{AdminSocket, Shared};

/// The features of the UI that the actions are for.
pub(crate) const FEATURES: [&str; 7] =
    ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"];

/// Adds the handlers of the actions.
pub(crate) fn register(namespace: Namespace<AdminSocket>, shared: &Shared) -> Namespace<AdminSocket> {
    let target = {
        let shared = shared.clone();
        move |socket: &Socket<AdminSocket>, action: &'static str, args: &Args, filter: usize| {
            select(&shared, socket, action, args, filter)
        }
    };
    let (joins, leaves, disconnects) = (target.clone(), target.clone(), target.clone());
    namespace
        .on("join", async move |socket, args: Args| {
            let room: String = args.get(1)?;
            Ok::<_, EventError>(joins(&socket, "join", &args, 2)?.sockets_join([room])?)
        })
        .on("leave", async move |socket, args: Args| {
            let room: String = args.get(1)?;
            Ok::<_, EventError>(leaves(&socket, "leave", &args, 2)?.sockets_leave([room])?)
        })
        .on("_disconnect", async move |socket, args: Args| {
            let selected = disconnects(&socket, "disconnect", &args, 2)?;
            let closes = args.get::<Option<bool>>(1)?.unwrap_or(false);
            let done = if closes { selected.close_sockets() } else { selected.disconnect_sockets() };
            Ok::<_, EventError>(done?)
        })
        .on("emit", async move |socket, args: Args| {
            let event: String = args.get(2)?;
            Ok::<_, EventError>(target(&socket, "emit", &args, 1)?.emit(event, &args.skip(3))?)
        })
}

/// Selects the sockets of an action: those of the namespace in the first argument, or those of them in a room. A
/// namespace that does not exist is not created.
fn select(
    shared: &Shared,
    socket: &Socket<AdminSocket>,
    action: &'static str,
    args: &Args,
    filter: usize,
) -> Result<BroadcastOperator, EventError> {
    let namespace: String = args.get(0)?;
    let filter = args.get::<Option<String>>(filter)?.filter(|filter| !filter.is_empty());
    let io = shared.server().ok_or_else(|| EventError::public("the server is closed"))?;
    let selected = io.of(&namespace);
    let Some(namespace) = selected.path() else {
        return Err(EventError::public("unknown namespace"));
    };
    let address = socket.handshake().address();
    tracing::info!(action, namespace, filter, ?address, "an administrator acts");
    Ok(match filter {
        Some(room) => selected.to(room),
        None => selected,
    })
}
