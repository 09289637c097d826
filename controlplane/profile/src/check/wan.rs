//! What the SIP user agent takes from DHCP must be asked for.

use crate::diagnose::{Problem, Sink};
use crate::model::wan::VendorClass;
use crate::model::{Learnt, Profile, SipSection};
use crate::read::KeyPath;
use sipsec_net::TelNumber;

pub fn check(profile: &Profile, sink: &Sink) {
    for (at, sip) in super::carriers(profile) {
        section(profile, &at, sip, sink);
    }
}

fn section(profile: &Profile, at: &KeyPath, sip: &SipSection, sink: &Sink) {
    let learnt = [
        (at.key("registrar"), sip.registrar == Learnt::Dhcp),
        (at.key("domain"), sip.domain == Learnt::Dhcp),
        (at.key("lines"), sip.lines.iter().any(|line| line.number == TelNumber::DHCP)),
    ];
    for (key, _) in learnt.into_iter().filter(|(_, dhcp)| *dhcp && !profile.wan.uses_dhcp()) {
        let message = format!("`{key}` comes by DHCP, but `wan` asks no server");
        let problem = Problem::error("wan::no-dhcp", &key, message);
        sink.push(
            problem
                .hint("add `wan: { ipv4: dhcp }`, or `wan: { ipv4: options }` if the system has the address"),
        );
    }
    let number = sip.lines.iter().any(|line| line.number == TelNumber::DHCP);
    let (key, what) =
        if sip.domain == Learnt::Dhcp { ("domain", "SIP domain") } else { ("lines", "line's number") };
    if (sip.domain == Learnt::Dhcp || number)
        && profile.wan.uses_dhcp()
        && profile.carrier(&profile.sip).vendor_class == VendorClass::None
    {
        let message = format!("the {what} comes by DHCP, but the client sends no vendor class");
        let problem = Problem::warning("wan::vendor-class", &at.key(key), message);
        sink.push(problem.hint(
            "write `wan.vendor_class: ntt`; a line that wants one gives its domain and number to no other client",
        ));
    }
}
