//! Tests of the guarantees that applications may rely on.

mod acks;
mod broadcast_acks;
mod disconnect;
mod dynamic;
mod early_events;
mod flow_control;
mod in_flight;
mod inspection;
mod leaving;
mod middleware;
mod observers;
mod order;
mod panics;
mod room_events;
mod rooms;
mod slow_consumer;
mod utilities;
mod volatile;
