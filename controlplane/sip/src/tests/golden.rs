//! What goes over the wire, to the letter, with chosen entropy: a change here is a change that carriers see.

use crate::Locals;
use crate::testing::*;
use std::time::Duration;

fn conversation(run: impl FnOnce(&mut World)) -> String {
    let mut w = World::empty(7);
    for i in [A, B] {
        let now = w.now;
        w.nodes[i].ua.set_locals(now, Locals::of(Some(addr(i))));
        w.drain(i);
    }
    w.run_for(Duration::from_secs(1));
    run(&mut w);
    let name = ["A", "B"];
    let all =
        w.wire.iter().map(|(node, text)| format!("---- {}\n{}\n", name[*node], text.replace("\r\n", "\n")));
    all.collect()
}

#[test]
fn a_call_from_registration_to_bye() {
    let text = conversation(|w| {
        let call = w.dial(A);
        w.run_for(Duration::from_secs(1));
        w.hang_up(A, call);
        w.run_for(Duration::from_secs(1));
    });
    assert_eq!(text, include_str!("golden/call.txt"));
}

#[test]
fn a_call_that_is_given_up() {
    let text = conversation(|w| {
        w.nodes[B].auto_accept = false;
        let call = w.dial(A);
        w.run_for(Duration::from_secs(1));
        w.hang_up(A, call);
        w.run_for(Duration::from_secs(1));
    });
    assert_eq!(text, include_str!("golden/cancel.txt"));
}
