//! Runs the soak tool with few clients and checks that its bounds hold. This takes over a minute, so `cargo test` runs it
//! only on request: `cargo test --test soak -- --ignored`.

use std::process::Command;

fn soak(args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_soak")).args(args).output().expect("the tool runs");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "takes over a minute"]
fn clients_that_never_read_cost_little_and_are_ended() {
    soak(&["stalled", "--clients", "100", "--rate", "300", "--seconds", "5", "--megabytes", "20"]);
}

#[test]
#[ignore = "takes over a minute"]
fn connections_leave_nothing_behind() {
    soak(&["ramp", "--connections", "2000"]);
}

#[test]
#[ignore = "takes over a minute"]
fn polling_sessions_leave_nothing_behind() {
    soak(&["ramp", "--connections", "500", "--polling"]);
}
