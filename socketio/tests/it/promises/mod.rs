//! What applications may rely on.

mod acks;
mod broadcast_acks;
mod disconnect;
mod early_events;
mod in_flight;
mod leaving;
mod order;
mod panics;
mod room_events;
mod rooms;
mod utilities;
