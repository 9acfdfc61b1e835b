//! What applications may rely on.

mod acks;
mod disconnect;
mod dynamic;
mod early_events;
mod in_flight;
mod leaving;
mod middleware;
mod observers;
mod order;
mod panics;
mod rooms;
mod volatile;
