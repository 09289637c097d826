//! What the dataplane reports of a rekeyed SA reaches IKE, and IKE's decision the dataplane.

use super::support::World;
use super::{SECOND, up};
use sipsec_net::SaId;
use sipsec_net::dp::{Direction, Event, ExpireCause};
use sipsec_session::Input;

/// The newest SA of one direction.
fn newest(w: &World, side: usize, wanted: Direction) -> SaId {
    let sas = w.gateways[side].dp.sas.iter().filter(|(_, d)| **d == wanted);
    sas.map(|(sa, _)| *sa).max().expect("an SA")
}

/// RFC 7296 §2.8: the first packet on the new SA takes the responder of a rekey over to it, without a DELETE.
#[test]
fn the_first_packet_on_a_rekeyed_sa_binds_its_successor() {
    let mut w = up();
    let (sa, old) = (w.gateways[0].dp.bound.expect("bound"), w.gateways[1].dp.bound.expect("bound"));
    let soft = Event::SaExpire { sa, cause: ExpireCause::Bytes, hard: false };
    w.tell(0, Input::Dataplane(soft));
    while w.gateways[1].dp.sas.len() < 4 {
        assert!(w.step(), "the rekey came to nothing");
    }
    // The answer passes; the DELETE that would follow does not.
    while w.gateways[0].dp.sas.len() < 4 {
        assert!(w.step(), "no answer to the rekey");
    }
    w.mute_ike[0] = true;
    w.run();
    assert_eq!(w.gateways[1].dp.bound, Some(old), "not before the peer is known to use the new one");
    let used = Event::SaFirstInbound { sa: newest(&w, 1, Direction::In) };
    w.tell(1, Input::Dataplane(used));
    w.run();
    let new = newest(&w, 1, Direction::Out);
    assert!(new != old && w.gateways[1].dp.bound == Some(new));
    w.mute_ike[0] = false;
    w.advance(SECOND * 20);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
    assert_eq!((w.gateways[0].dp.sas.len(), w.gateways[1].dp.sas.len()), (2, 2));
}

/// The peer's DELETE of the CHILD_SA comes after its IKE_AUTH response, and before our dataplane has the SAs.
#[test]
fn a_child_that_is_deleted_before_it_is_installed_leaves_no_session() {
    let mut w = super::World::default();
    w.packet(0);
    while w.session(1).status != "SESSION_UP" {
        assert!(w.step(), "the responder does not come up");
    }
    assert_ne!(w.session(0).status, "SESSION_UP", "the answer is on its way");
    let gone = Event::SaExpire { sa: newest(&w, 1, Direction::In), cause: ExpireCause::Bytes, hard: true };
    w.tell(1, Input::Dataplane(gone));
    w.advance(SECOND * 5);
    assert_eq!(w.status(), ["READY_TO_CONNECT"; 2], "{:#?} {:#?}", w.gateways[0].log, w.gateways[1].log);
    w.assert_no_call();
}
