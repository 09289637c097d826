//! What an access line refuses, as it was observed on NTT's lines: by silence, or with an answer that misleads.

use super::core::Carrier;
use super::message::{Message, param, uri_of, user_of};
use sipsec_net::IpPrefix;
use std::net::SocketAddr;

/// The kinds of access line that the lab plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A carrier that keeps to the RFCs and authenticates by digest.
    #[default]
    Generic,
    /// NTT data connect on the ONU.
    NttDirect,
    /// NTT data connect behind the home gateway.
    NttHgw,
}

impl Kind {
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "generic" => Self::Generic,
            "ntt-direct" => Self::NttDirect,
            "ntt-hgw" => Self::NttHgw,
            _ => return None,
        })
    }

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::NttDirect => "ntt-direct",
            Self::NttHgw => "ntt-hgw",
        }
    }

    #[must_use]
    pub fn rules(self) -> Rules {
        match self {
            Self::Generic => Rules::default(),
            Self::NttDirect => {
                Rules { rport: false, odd_ports: false, service_route: true, ..Rules::default() }
            }
            Self::NttHgw => Rules {
                wants_terminal: true,
                odd_ports: false,
                service_route: true,
                register_v4_only: true,
                ..Rules::default()
            },
        }
    }
}

/// What the line takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Requests whose Via asks for `rport`; others are lost without an answer.
    pub rport: bool,
    /// INVITEs of odd media ports; others are answered 500.
    pub odd_ports: bool,
    /// INVITEs are answered 488 with the Warning of another fault unless the Contact's user part is a token and not the
    /// number, Allow has the methods of a telephone, and REGISTER has said `Supported: path`.
    pub wants_terminal: bool,
    /// INVITEs from elsewhere are lost without a 100; REGISTER is answered all the same.
    pub invite_from: Option<IpPrefix>,
    /// The 200 of REGISTER has a Service-Route (RFC 3608).
    pub service_route: bool,
    /// REGISTER over IPv6 is lost without an answer.
    pub register_v4_only: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            rport: true,
            odd_ports: true,
            wants_terminal: false,
            invite_from: None,
            service_route: false,
            register_v4_only: false,
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Lost,
    Refused(u16, &'static str, Vec<(&'static str, String)>),
}

const METHODS: [&str; 6] = ["INVITE", "CANCEL", "ACK", "BYE", "UPDATE", "PRACK"];

impl Carrier {
    /// Requests outside of calls.
    pub(super) fn judge(&mut self, from: SocketAddr, request: &Message) -> Verdict {
        let verdict = self.verdict(from, request);
        match &verdict {
            Verdict::Pass => {}
            Verdict::Lost => self.stats.lost_by_rule += 1,
            Verdict::Refused(..) => self.stats.refused_by_rule += 1,
        }
        verdict
    }

    fn verdict(&self, from: SocketAddr, request: &Message) -> Verdict {
        let rules = &self.config.knobs.rules;
        let via = request.header("Via").unwrap_or_default();
        if !rules.rport && param(via, "rport").is_some() {
            return Verdict::Lost;
        }
        match request.method() {
            Some("REGISTER") if rules.register_v4_only && from.is_ipv6() => Verdict::Lost,
            Some("INVITE") => {
                if rules.invite_from.is_some_and(|prefix| !prefix.contains(from.ip())) {
                    return Verdict::Lost;
                }
                if rules.wants_terminal && !self.is_terminal(request) {
                    let warning = format!("304 {} \"Media type not available\"", self.config.domain);
                    return Verdict::Refused(488, "Not Acceptable Here", vec![("Warning", warning)]);
                }
                if !rules.odd_ports && media_port(&request.body).is_some_and(|port| port % 2 == 1) {
                    return Verdict::Refused(500, "Server Internal Error", Vec::new());
                }
                Verdict::Pass
            }
            _ => Verdict::Pass,
        }
    }

    fn is_terminal(&self, invite: &Message) -> bool {
        let number = invite.header("From").and_then(|f| user_of(uri_of(f))).unwrap_or_default();
        let contact = invite.header("Contact").map(uri_of).unwrap_or_default().to_owned();
        let allow: Vec<_> = invite.all("Allow").flat_map(|v| v.split(',')).map(str::trim).collect();
        is_token(&contact, &number)
            && METHODS.iter().all(|method| allow.contains(method))
            && self.location.is_terminal(&number, &contact)
    }
}

/// Twelve hexadecimal digits, and so not the number.
pub(super) fn is_token(contact: &str, number: &str) -> bool {
    let user = user_of(contact).unwrap_or_default();
    user.len() == 12 && user.chars().all(|c| c.is_ascii_hexdigit()) && user != number
}

/// The port of the first media line.
fn media_port(sdp: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(sdp).ok()?.lines().find(|l| l.starts_with("m="))?;
    line.split(' ').nth(1)?.parse().ok()
}
