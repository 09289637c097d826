//! How far a connection has come: RFC 5382 §5, with the states of RFC 7857 §2.1.

use sipsec_net::nat::{NatProtocol, NatState, NatTimeouts};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

/// The way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    Back,
}

/// The state of a connection whose first packet has these flags. In the middle of one (we have started anew) it counts as
/// established once both have sent.
pub(crate) const fn begin(protocol: NatProtocol, way: Way, flags: u8) -> NatState {
    match (protocol, way) {
        (NatProtocol::Udp | NatProtocol::Icmp, _) => NatState::Open,
        (NatProtocol::Tcp, _) if flags & RST != 0 => NatState::Reset,
        (NatProtocol::Tcp, Way::Out) => NatState::SynSent,
        (NatProtocol::Tcp, Way::Back) => NatState::SynReceived,
    }
}

pub(crate) const fn advance(state: NatState, way: Way, flags: u8) -> NatState {
    use NatState::{Closing, Established, FinReceived, FinSent, Open, Reset, SynReceived, SynSent};
    let (fin, syn) = (flags & FIN != 0, flags & SYN != 0);
    match (state, way) {
        (Open, _) => Open,
        _ if flags & RST != 0 => Reset,
        // RFC 5382 §4.3 c: the ports are used again.
        (Reset | Closing, Way::Out) if syn => SynSent,
        (Reset | Closing, Way::Back) if syn => SynReceived,
        (SynSent, Way::Back) => {
            if fin {
                FinReceived
            } else {
                Established
            }
        }
        (SynReceived, Way::Out) => {
            if fin {
                FinSent
            } else {
                Established
            }
        }
        (Established, Way::Out) if fin => FinSent,
        (Established, Way::Back) if fin => FinReceived,
        (FinSent, Way::Back) | (FinReceived, Way::Out) if fin => Closing,
        (state, _) => state,
    }
}

/// How long it lives without a packet.
pub(crate) const fn timeout(protocol: NatProtocol, state: NatState, timeouts: &NatTimeouts) -> u32 {
    match (protocol, state) {
        (NatProtocol::Udp, _) => timeouts.udp_s,
        (NatProtocol::Icmp, _) => timeouts.icmp_s,
        // RFC 7857 §2.1: one FIN ends only one direction.
        (NatProtocol::Tcp, NatState::Established | NatState::FinSent | NatState::FinReceived) => {
            timeouts.tcp_s
        }
        (NatProtocol::Tcp, NatState::SynReceived) => timeouts.tcp_syn_s,
        (NatProtocol::Tcp, _) => timeouts.tcp_transitory_s,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NatState::{Closing, Established, FinReceived, FinSent, Reset, SynReceived, SynSent};

    const ACK: u8 = 16;

    fn run(first: (Way, u8), rest: &[(Way, u8)]) -> Vec<NatState> {
        let mut state = begin(NatProtocol::Tcp, first.0, first.1);
        let mut states = vec![state];
        for (way, flags) in rest {
            state = advance(state, *way, *flags);
            states.push(state);
        }
        states
    }

    #[test]
    fn connections_open_and_close_from_either_side() {
        use Way::{Back, Out};
        let from_inside = run(
            (Out, SYN),
            &[
                (Back, SYN | ACK),
                (Out, ACK),
                (Out, FIN | ACK),
                (Back, ACK),
                (Back, FIN | ACK),
                (Out, ACK),
                (Out, SYN),
            ],
        );
        assert_eq!(
            from_inside,
            [SynSent, Established, Established, FinSent, FinSent, Closing, Closing, SynSent]
        );
        let from_outside =
            run((Back, SYN), &[(Back, SYN), (Out, SYN | ACK), (Back, FIN), (Out, FIN), (Back, SYN)]);
        assert_eq!(from_outside, [SynReceived, SynReceived, Established, FinReceived, Closing, SynReceived]);
        assert_eq!(run((Out, SYN), &[(Back, RST | ACK), (Out, ACK)]), [SynSent, Reset, Reset]);
        assert_eq!(run((Out, ACK), &[(Back, ACK)]), [SynSent, Established], "in the middle of one");
    }

    #[test]
    fn timeouts_follow_the_rfc() {
        let t = NatTimeouts::default();
        let of = |state| timeout(NatProtocol::Tcp, state, &t);
        assert_eq!(
            [SynReceived, SynSent, Established, FinSent, FinReceived, Closing, Reset].map(of),
            [6, 240, 7440, 7440, 7440, 240, 240]
        );
        assert_eq!(timeout(NatProtocol::Udp, NatState::Open, &t), 300);
        assert_eq!(timeout(NatProtocol::Icmp, NatState::Open, &t), 60);
    }
}
