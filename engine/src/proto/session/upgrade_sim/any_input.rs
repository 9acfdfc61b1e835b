//! Tests with arbitrary inputs in any order. A session must tolerate a caller that follows no rule except
//! draining the outputs.

use std::time::Duration;

use proptest::prelude::*;

use crate::proto::{
    dialect::Revision,
    packet::{
        Packet,
        TransportKind::{self, Polling, WebSocket},
    },
    session::{CloseReason, End, Input, Output, Request, Route, tests::Sim},
};

/// The maximum number of outputs for one input.
const MAX_OUTPUTS: usize = 8;

#[derive(Debug, Clone)]
enum Step {
    Feed(Input),
    Receive(TransportKind, &'static str),
    Heard,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let request = || prop::sample::select([Request::Poll, Request::Post, Request::Probe].as_slice());
    let via = || prop::sample::select([Polling, WebSocket].as_slice());
    let reason = prop::sample::select(
        [CloseReason::ForcedClose, CloseReason::ServerShuttingDown, CloseReason::SlowConsumer].as_slice(),
    );
    let packet =
        prop::sample::select(["0", "1", "2", "2probe", "3", "4", "4message", "5", "6", "bAQID"].as_slice());
    let input = prop_oneof![
        6 => request().prop_map(Input::Arrived),
        3 => Just(Input::Deliver),
        3 => Just(Input::PostDone),
        2 => (request(), any::<bool>()).prop_map(|(request, error)| Input::Disconnected { request, error }),
        1 => via().prop_map(Input::Malformed),
        1 => reason.prop_map(Input::Close),
        1 => Just(Input::PostRefused),
        1 => Just(Input::ReleasePoll),
        3 => Just(Input::Timeout),
    ];
    let step = prop_oneof![
        4 => input.prop_map(Step::Feed),
        4 => (via(), packet).prop_map(|(via, packet)| Step::Receive(via, packet)),
        1 => Just(Step::Heard),
        1 => (0..30_000_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..60)
}

/// Drains the outputs of one step. Returns `true` once the session is closed.
fn drain(sim: &mut Sim, was_closed: bool) -> bool {
    let outputs = sim.drain();
    assert!(outputs.len() <= MAX_OUTPUTS, "{outputs:?}");
    let after = if was_closed {
        &outputs[..]
    } else {
        let end = outputs.iter().position(|output| matches!(output, Output::Closed(_)));
        end.map_or(&[][..], |end| &outputs[end + 1..])
    };
    for output in after {
        let last_poll = matches!(
            output,
            Output::Accept(Request::Poll | Request::Post)
                | Output::Respond { ping: false, end: Some(End::Close | End::Noop) }
                | Output::DropProbe
                | Output::Finish(_)
        );
        assert!(was_closed && last_poll, "{output:?} after the end");
    }
    let Output::Timeout(deadline) = sim.session.poll() else { panic!("not drained") };
    assert_eq!(deadline.is_none(), sim.session.is_closed());
    was_closed || outputs.iter().any(|output| matches!(output, Output::Closed(_)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_breaks_a_session(steps in steps(), websocket: bool) {
        let mut sim = Sim::new(if websocket { WebSocket } else { Polling });
        let mut closed = false;
        for step in steps {
            let was_over = sim.session.is_closed();
            match step {
                Step::Feed(input) => sim.session.handle(sim.now, input),
                Step::Receive(via, packet) => {
                    let packet = Packet::decode(packet, Revision::V4).unwrap();
                    let message = sim.session.receive(sim.now, via, packet);
                    prop_assert!(message.is_none() || !closed, "a message after the end");
                }
                Step::Heard => sim.session.record_activity(sim.now),
                Step::Wait(millis) => sim.now += Duration::from_millis(millis),
            }
            let accepted = sim.session.accepted();
            prop_assert!(!(accepted && was_over), "accepted after the end");
            closed = drain(&mut sim, closed);
            prop_assert!(!closed || sim.session.route() == Route::None);
        }
    }
}
