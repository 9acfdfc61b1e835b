//! Signaling for a WebRTC call between two browsers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use socketio::{EmitError, EventError, MsgpackParser, Namespace, Server, ServerConfig, Socket};

/// A WebRTC offer or answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    room_id: String,
    sdp: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IceCandidate {
    room_id: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Joins a room, which holds at most two sockets.
async fn join(socket: Socket, room: String) -> Result<(), EventError> {
    let event = match socket.sockets().count_in(&room) {
        0 => "room_created",
        1 => "room_joined",
        _ => return Ok(socket.emit("full_room", &room)?),
    };
    socket.join(&room)?;
    Ok(socket.emit(event, &room)?)
}

async fn relay_candidate(socket: Socket, candidate: IceCandidate) -> Result<(), EmitError> {
    socket.to(&candidate.room_id).emit("webrtc_ice_candidate", &candidate)
}

pub(crate) fn server() -> Server {
    let calls = Namespace::new("/")
        .on("join", join)
        .on("start_call", async |socket, room: String| socket.to(&room).emit("start_call", &room))
        .on("webrtc_offer", async |socket, offer: Description| {
            socket.to(offer.room_id).emit("webrtc_offer", &offer.sdp)
        })
        .on("webrtc_answer", async |socket, answer: Description| {
            socket.to(answer.room_id).emit("webrtc_answer", &answer.sdp)
        })
        .on("webrtc_ice_candidate", relay_candidate);
    Server::with_config(ServerConfig::default().parser(MsgpackParser::default())).namespace(calls)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use socketio::testing::TestServer;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_find_each_other_and_a_third_does_not() {
        let server = TestServer::new(server());
        let (mut ann, mut bob, mut cid) =
            (server.connect("/").await, server.connect("/").await, server.connect("/").await);
        for (client, event) in
            [(&mut ann, "room_created"), (&mut bob, "room_joined"), (&mut cid, "full_room")]
        {
            client.emit("join", "tea").await.unwrap();
            assert_eq!(client.expect::<String>(event).await, "tea");
        }
        bob.emit("start_call", "tea").await.unwrap();
        assert_eq!(ann.expect::<String>("start_call").await, "tea");
        let sdp = json!({ "type": "offer" });
        ann.emit("webrtc_offer", &json!({ "roomId": "tea", "sdp": sdp })).await.unwrap();
        assert_eq!(bob.expect::<Value>("webrtc_offer").await, sdp);
        bob.emit("webrtc_answer", &json!({ "roomId": "tea", "sdp": 1 })).await.unwrap();
        assert_eq!(ann.expect::<Value>("webrtc_answer").await, json!(1));
        let candidate = json!({ "roomId": "tea", "label": 0, "candidate": "x" });
        ann.emit("webrtc_ice_candidate", &candidate).await.unwrap();
        assert_eq!(bob.expect::<Value>("webrtc_ice_candidate").await, candidate);
    }
}
