//! What the control plane is told once of this process: devices, sockets, engine.

use super::SOFTWARE;
use crate::boot::{Booted, INSIDE, InsideDevice, OUTSIDE};
use crate::engines::Selection;
use sipsec_abi::{Facts, PortFacts, Text};
use sipsec_ebpf::Port;
use sipsec_profile::Head;
use sipsec_profile::model as profile;

pub(super) fn facts(profile: &Head, booted: &Booted, selection: &Selection) -> Facts {
    let section = &profile.dataplane;
    let first = &booted.opened[0];
    // The sVTI of tun mode has neither XDP nor sockets.
    let is_tun = |port: Port| port == Port::Inside && matches!(booted.inside, InsideDevice::Tun(_));
    let bind_mode = |port| Text::new(if is_tun(port) { "virtio" } else { first.mode().name() });
    let zero_copy_refused = |port| match (section.bind_mode, first.refusal()) {
        _ if is_tun(port) => Text::EMPTY,
        (profile::BindMode::Copy, _) => Text::new("dataplane.bind_mode is copy"),
        (_, Some(refusal)) => Text::new(&refusal.to_string()),
        (_, None) => Text::EMPTY,
    };
    let driver_refused = |port: Port| match (section.xdp_mode, booted.steering.attached(port)) {
        _ if is_tun(port) => Text::EMPTY,
        (profile::XdpMode::Generic, _) => Text::new("dataplane.xdp_mode is generic"),
        (_, Some(attached)) => {
            attached.driver_refused.as_deref().map(|e| Text::new(&root(e).to_string())).unwrap_or_default()
        }
        (_, None) => Text::EMPTY,
    };
    let port = |port: Port, index: usize, name: &str, link: &crate::netlink::Link| PortFacts {
        device: Text::new(name),
        xdp_mode: match booted.steering.attached(port) {
            Some(attached) => Text::new(&attached.mode.to_string()),
            None => Text::new("none"),
        },
        bind_mode: bind_mode(port),
        mac: link.mac,
        ifindex: link.index,
        mtu: link.mtu,
        queues: booted.queues[index],
        fill: first.fill_max(),
        busy_poll_us: first.watch(index).map(|sockets| sockets.busy_poll_us()).unwrap_or(0),
        driver_refused: driver_refused(port),
        zero_copy_refused: zero_copy_refused(port),
    };
    let inside = match &booted.inside {
        InsideDevice::Host(pair) => &pair.kernel,
        InsideDevice::Tun(tun) => &tun.link,
        InsideDevice::Router(link) => link,
    };
    let mut facts = Facts {
        software: Text::new(SOFTWARE),
        engine: Text::new(selection.engine.name()),
        workers: booted.opened.len() as u32,
        frames: section.frames,
        chunk: first.chunk_size(),
        ring: first.ring_size(),
        huge_pages: section.huge_pages,
        need_wakeup: first.need_wakeup(),
        pid: std::process::id(),
        ports: [
            port(Port::Outside, OUTSIDE, &section.outside.device, &booted.outside),
            port(Port::Inside, INSIDE, section.inside.device(), inside),
        ],
        ..Facts::default()
    };
    for (slot, stage) in facts.stages.iter_mut().zip(sipsec_pipeline::Stage::ALL) {
        *slot = Text::new(stage.name());
    }
    facts
}

/// The innermost cause: what the kernel has said.
fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    std::iter::successors(Some(error), |e| e.source()).last().unwrap_or(error)
}
