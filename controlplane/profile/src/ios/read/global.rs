//! `vpn-sip …` of global configuration, and telephony beside it

use super::{Did, Reader, wrong};
use crate::ios::document::{Said, SipLine};
use crate::ios::grammar::{Command, Mode};
use crate::ios::names;
use crate::ios::report::Class;
use crate::ios::words::Words;
use sipsec_net::TelNumber;

impl Reader {
    pub(super) fn global(&mut self, command: Command, mut rest: Words<'_>, negated: bool) -> Did {
        const USAGE: &str = "write `vpn-sip local-number NUMBER address ipv4 INTERFACE`";
        let at = self.at;
        if command == Command::SipFeature {
            self.doc.sip_features.push(at);
            self.enter(Mode::Other(Class::Unrelated, "telephony of the router"), 0);
            return Did::Ignored(Class::Unrelated, "telephony of the router");
        }
        self.mode = Mode::Global;
        self.doc.vpn_sip.push(at);
        match command {
            Command::VpnSipEnable => self.doc.enable = Some(self.said(!negated)),
            Command::VpnSipSource => {
                if negated {
                    self.doc.source = None;
                    return Did::Converted;
                }
                let Some(name) = names::interface(&mut rest) else {
                    return wrong("the source is no interface", "write `vpn-sip tunnel source LoopbackN`");
                };
                self.doc.source = Some(self.said(name));
            }
            Command::VpnSipLine => {
                let text = rest.next().unwrap_or_default();
                let Ok(number) = text.parse::<TelNumber>() else {
                    return wrong("the local number is no telephone number", USAGE);
                };
                let number = number.to_string();
                if negated {
                    self.doc.lines.retain(|l| l.value.number != number);
                    return Did::Converted;
                }
                let tunnel = rest
                    .peek()
                    .is_some_and(|w| crate::ios::words::meant(w, &["remote-number", "sip-remote"]).is_some());
                if tunnel {
                    return wrong(
                        "this belongs to a tunnel, and none is open here",
                        "write it below its interface Tunnel",
                    );
                }
                let address = rest.keyword(&["address"]).and_then(|_| rest.keyword(&["ipv4", "ipv6"]));
                let interface = names::interface(&mut rest);
                let (Some(_), Some(interface)) = (address, interface) else {
                    return wrong("the interface of the line is missing", USAGE);
                };
                let line = SipLine { number, interface };
                if !self.doc.lines.iter().any(|l| l.value == line) {
                    self.doc.lines.push(Said::new(line, at));
                }
            }
            _ => return Did::Ignored(Class::System, "the gateway logs sessions anyway"),
        }
        Did::Converted
    }
}
