//! A Socket.IO server: namespaces, rooms, acknowledgements and typed events for the official clients.

mod ack;
mod adapter;
mod args;
mod broadcast;
mod client_files;
mod config;
mod connection;
mod dispatch;
mod error;
mod event;
mod handshake;
mod namespace;
mod namespaces;
mod proto;
mod reason;
mod rooms;
mod server;
mod socket;

pub use ack::AckRequest;
pub use args::{Args, Asked};
pub use broadcast::BroadcastOperator;
pub use config::ServerConfig;
pub use engineio::{
    CloseReason, EngineConfig, HttpCompression, PerMessageDeflate, SessionHandle, TransportKind,
};
pub use error::{AckError, DecodeError, EmitError, EventError, JoinError};
pub use event::{Ack, EventName, IntoAck, NoAck, TypedEvent};
pub use handshake::{Handshake, Refuse};
pub use namespace::Namespace;
pub use proto::args::{FromArgs, ToArgs};
pub use reason::DisconnectReason;
pub use rooms::Room;
pub use server::{Server, WithServer};
pub use socket::Socket;
