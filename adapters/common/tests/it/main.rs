//! Tests of what brokers share.

mod simulation;
