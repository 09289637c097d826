//! `nat.primary`: what its ports and networks must leave to others.

use crate::diagnose::{Problem, Sink};
use crate::model::Profile;
use crate::model::nat::PortProtocol;
use crate::model::primary_nat::PrimaryNat;
use crate::read::KeyPath;
use std::collections::HashSet;

pub fn check(profile: &Profile, sink: &Sink) {
    let mut forwarded = HashSet::new();
    for (i, primary) in profile.nat.primary.iter().enumerate() {
        let path = KeyPath::dotted("nat.primary").index(i);
        device(profile, primary, &path, sink);
        if primary.device == profile.sip.interface {
            own_ports(profile, primary, &path, sink);
        }
        for (n, forward) in primary.forwards.iter().enumerate() {
            let path = path.key("forwards").index(n);
            if !forwarded.insert((&primary.device, forward.protocol == PortProtocol::Tcp, forward.port)) {
                let message = format!("port {} of {} is forwarded twice", forward.port, primary.device);
                sink.push(Problem::error("nat::duplicate", &path, message).hint("remove one of the two"));
            }
        }
    }
}

fn device(profile: &Profile, primary: &PrimaryNat, path: &KeyPath, sink: &Sink) {
    if profile.dataplane.inside.device() == primary.device {
        let message = format!("{} is the inside of the dataplane, not a primary line", primary.device);
        let problem = Problem::error("nat::device", &path.key("device"), message);
        sink.push(
            problem.hint("name the device to the Internet; `tunnels[].nat` translates what a tunnel carries"),
        );
    }
}

/// What the gateway itself receives by this device: SIP, and the media ports, which XDP takes before the kernel translates.
fn own_ports(profile: &Profile, primary: &PrimaryNat, path: &KeyPath, sink: &Sink) {
    let media = profile.media.port_first..=profile.media.port_last;
    if primary.port_first <= *media.end() && *media.start() <= primary.port_last {
        let message = format!(
            "the ports {}-{} of translations contain media ports ({}-{}): answers for hosts would go to calls",
            primary.port_first,
            primary.port_last,
            media.start(),
            media.end()
        );
        let problem = Problem::error("nat::media-ports", &path.key("ports"), message);
        sink.push(problem.hint("write a range beside `media.ports`"));
    }
    for (n, forward) in primary.forwards.iter().enumerate() {
        let is_media = forward.protocol == PortProtocol::Udp && media.contains(&forward.port);
        if is_media || forward.port == profile.sip.port {
            let what = if is_media { "a media port" } else { "the port of SIP" };
            let message = format!("{} is {what} of the gateway", forward.port);
            let problem =
                Problem::error("nat::media-ports", &path.key("forwards").index(n).key("port"), message);
            sink.push(problem.hint("forward another port"));
        }
    }
}
