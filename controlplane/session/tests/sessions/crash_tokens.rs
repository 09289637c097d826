//! A gateway that has restarted and whose BYE does not get through: the peer finds out by the token (RFC 6290).

use crate::support::{FakeDataplane, Setup, World, wan_address};
use crate::{SECOND, up};
use sipsec_session::{Admin, Input, ReconfigureError};
use std::time::Duration;

/// SIP does not get through, so that the peer learns of the crash by IKE or not at all.
fn cut_sip(w: &mut World) {
    w.carrier.knobs.swallow = vec!["BYE"];
}

/// One packet for the tunnel at each side in each second, until the peer of `crashed` has ended its session.
fn until_found(w: &mut World, crashed: usize) -> Duration {
    let start = w.now;
    while w.session(1 - crashed).status == "SESSION_UP" {
        w.packet(1 - crashed);
        w.advance(SECOND / 10);
        assert!(w.now < start + 60 * SECOND, "never");
    }
    w.now.saturating_duration_since(start)
}

/// Either side may be the one that restarts, with its dataplane or without.
#[test]
fn the_peer_of_a_restarted_gateway_hangs_up_as_soon_as_it_asks() {
    for crashed in [0, 1] {
        for whole_machine in [false, true] {
            let mut w = up();
            w.advance(12 * SECOND);
            cut_sip(&mut w);
            if whole_machine {
                w.gateways[crashed].dp = FakeDataplane::default();
            }
            w.crash(crashed);
            assert_eq!(w.gateways[crashed].dp.media.len(), 1, "{crashed}: open without SAs");
            assert!(w.gateways[crashed].dp.sas.is_empty());
            let took = until_found(&mut w, crashed);
            // The peer asks 10 s after it last heard something, and would wait 15.9 s more for an answer.
            assert!(took <= 11 * SECOND, "{crashed} {whole_machine}: {took:?}");
            assert_eq!(w.failure(1 - crashed), Some("peer-restarted"), "{crashed} {whole_machine}");
            assert_eq!(w.gateways[crashed].core.crash_tokens().sent, 1);
            assert_eq!(w.gateways[1 - crashed].core.crash_tokens().proved, 1);
            // Nothing brakes the next call once the carrier works.
            w.carrier.knobs.swallow.clear();
            w.advance(40 * SECOND);
            w.assert_no_call();
            w.packet(1 - crashed);
            w.advance(SECOND);
            assert_eq!(w.status(), ["SESSION_UP"; 2], "{crashed} {whole_machine}");
        }
    }
}

/// Without crash detection at the gateway that restarts, the port stays closed.
#[test]
fn without_crash_detection_the_port_stays_closed() {
    let mut branch = Setup::of(0);
    branch.crash_detection = false;
    let mut w = World::new([branch, Setup::of(1)]);
    w.packet(0);
    w.advance(13 * SECOND);
    cut_sip(&mut w);
    w.crash(0);
    assert!(w.gateways[0].dp.media.is_empty());
    let took = until_found(&mut w, 0);
    assert!(took > 15 * SECOND, "{took:?}");
    assert_ne!(w.failure(1), Some("peer-restarted"));
}

/// The port closes with the call: when our BYE is answered, when the tunnel has another call, when the address is another,
/// when the profile has no such tunnel any more, and at the end of the process.
#[test]
fn the_port_closes_when_nothing_is_left_to_ask() {
    type End = fn(&mut World);
    let ends: [(&str, End); 5] = [
        ("BYE answered", |w| {
            w.carrier.knobs.swallow.clear();
            w.advance(10 * SECOND);
        }),
        ("another call", |w| {
            w.tell(1, Input::Admin(Admin::Clear { remote_number: None }));
            w.advance(61 * SECOND);
            w.packet(0);
            w.advance(SECOND);
            assert_eq!(w.gateways[0].dp.media.len(), 1, "that of the new call");
            w.tell(0, Input::Admin(Admin::Clear { remote_number: None }));
            w.advance(3 * SECOND);
        }),
        ("another address", |w| w.tell(0, wan_address(Some("198.51.100.7".parse().expect("an address"))))),
        ("no such tunnel", |w| drop(w.reconfigure(0, |new| new.tunnels.clear()))),
        ("shutdown", |w| w.tell(0, Input::Admin(Admin::Shutdown))),
    ];
    for (name, end) in ends {
        let mut w = up();
        w.advance(2 * SECOND);
        cut_sip(&mut w);
        w.crash(0);
        assert_eq!((w.gateways[0].dp.media.len(), w.gateways[0].resolved.len()), (1, 1), "{name}");
        end(&mut w);
        w.run();
        assert!(w.gateways[0].dp.media.is_empty(), "{name}");
        assert!(w.gateways[0].resolved.is_empty(), "{name}");
    }
}

/// A dataplane that comes later, or once more, gets the port, too; one that refuses it costs nothing else.
#[test]
fn a_dataplane_that_comes_later_opens_the_port() {
    let mut w = up();
    w.advance(2 * SECOND);
    cut_sip(&mut w);
    w.crash(0);
    w.tell(0, Input::DataplaneDown);
    w.gateways[0].dp = FakeDataplane::default();
    w.run();
    assert!(w.gateways[0].dp.media.is_empty());
    let refused = w.reconfigure(0, |new| new.tunnels.clear());
    assert_eq!(refused, Some(Err(ReconfigureError::NotReady)), "nothing has changed");
    w.tell(0, Input::DataplaneUp);
    w.run();
    assert_eq!(w.gateways[0].dp.media.len(), 1);
    w.tell(0, Input::DataplaneDown);
    w.gateways[0].dp = FakeDataplane { refuse_media: true, ..FakeDataplane::default() };
    w.tell(0, Input::DataplaneUp);
    w.run();
    assert!(w.gateways[0].dp.media.is_empty() && w.gateways[0].resolved.is_empty());
    w.gateways[0].dp.refuse_media = false;
    w.carrier.knobs.swallow.clear();
    w.advance(40 * SECOND);
    w.assert_no_call();
}
