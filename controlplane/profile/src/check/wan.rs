//! What the SIP user agent takes from DHCP must be asked for.

use crate::diagnose::{Problem, Sink};
use crate::model::wan::VendorClass;
use crate::model::{Learnt, Profile};
use crate::read::KeyPath;

pub fn check(profile: &Profile, sink: &Sink) {
    let learnt = [
        ("sip.registrar", profile.sip.registrar == Learnt::Dhcp),
        ("sip.domain", profile.sip.domain == Learnt::Dhcp),
    ];
    for (key, _) in learnt.into_iter().filter(|(_, dhcp)| *dhcp && !profile.wan.uses_dhcp()) {
        let message = format!("`{key}` comes by DHCP, but `wan` asks no server");
        let problem = Problem::error("wan::no-dhcp", &KeyPath::dotted(key), message);
        sink.push(
            problem
                .hint("add `wan: { ipv4: dhcp }`, or `wan: { ipv4: options }` if the system has the address"),
        );
    }
    if profile.sip.domain == Learnt::Dhcp
        && profile.wan.uses_dhcp()
        && profile.carrier().vendor_class == VendorClass::None
    {
        let message = "the SIP domain comes by DHCP, but the client sends no vendor class";
        let problem = Problem::warning("wan::vendor-class", &KeyPath::dotted("sip.domain"), message);
        sink.push(problem.hint(
            "write `wan.vendor_class: ntt`; a line that wants one gives its domain to no other client",
        ));
    }
}
