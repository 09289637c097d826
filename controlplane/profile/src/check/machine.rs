//! Settings that this machine cannot fulfil.

use crate::diagnose::{Problem, Sink, shown_raw};
use crate::model::{DataplaneSection, Profile, Worker};
use crate::read::KeyPath;
use crate::surroundings::Surroundings;

/// Nothing can be kept below these.
const NO_DISK: [&str; 3] = ["/proc", "/sys", "/dev"];

pub fn check(profile: &Profile, sink: &Sink, around: &dyn Surroundings) {
    state_dir(profile, sink, around);
    sip_helper(sink, around);
    cores(&profile.dataplane.worker, sink, around);
    queues(&profile.dataplane, sink, around);
    let source = profile.media.tunnel_source;
    if around.is_own_address(source) == Some(true) {
        let path = KeyPath::dotted("media.tunnel_source");
        let message = format!("the tunnel source {source} is an address of this machine");
        let problem = Problem::warning("media::tunnel-source", &path, message).label("used by a device here");
        sink.push(problem.hint("write an address that nothing else uses, as in 10.255.0.1"));
    }
}

fn cores(worker: &Worker, sink: &Sink, around: &dyn Surroundings) {
    let alone = worker.core.map(|core| (KeyPath::dotted("dataplane.worker.core"), core));
    let listed = KeyPath::dotted("dataplane.worker.cores");
    let several = worker.cores.iter().enumerate().map(|(index, core)| (listed.index(index), *core));
    for (path, core) in alone.into_iter().chain(several).filter(|(_, c)| around.has_core(*c) == Some(false)) {
        let message = format!("this machine has no processor {core}, or the process may not use it");
        let hint = "the dataplane will not start with it: write a processor that `nproc` counts (from 0), or leave it out";
        sink.push(Problem::warning("dataplane::core", &path, message).hint(hint));
    }
}

/// A worker without a queue has the packets alone that other workers hand over.
fn queues(section: &DataplaneSection, sink: &Sink, around: &dyn Surroundings) {
    let workers = section.worker.workers();
    // The sVTI is made with a queue for each worker.
    let lan = section.inside.svti().is_none().then(|| section.inside.device());
    let devices = [
        ("dataplane.outside.device", Some(section.outside.device.as_str())),
        ("dataplane.inside.device", lan),
    ];
    for (key, device) in devices.iter().filter_map(|(key, device)| Some((*key, (*device)?))) {
        let Some(queues) = around.rx_queues(device).filter(|queues| *queues < workers.get().into()) else {
            continue;
        };
        let message =
            format!("{device} has {queues} of the {workers} receive queues that {workers} workers need");
        let problem = Problem::warning("dataplane::queues", &KeyPath::dotted(key), message);
        sink.push(problem.hint(format!(
            "`ethtool -L {device} combined {workers}`, where the card can; until then workers without a queue take what others hand over"
        )));
    }
}

/// A helper of the kernel's NAT that reads and changes what it takes for SIP of the machines behind it.
fn sip_helper(sink: &Sink, around: &dyn Surroundings) {
    const MODULE: &str = "nf_nat_sip";
    if around.has_module(MODULE) == Some(true) {
        let message = format!("the kernel module {MODULE} is loaded: it can change addresses in SIP and SDP");
        let problem = Problem::warning("sip::nat-helper", &KeyPath::dotted("sip.interface"), message);
        sink.push(problem.hint(
            "unload it (`modprobe -r nf_nat_sip`), or give its helper to no connection of this gateway; calls with changed SDP fail as `wrong-source`",
        ));
    }
}

fn state_dir(profile: &Profile, sink: &Sink, around: &dyn Surroundings) {
    const HINT: &str =
        "write an absolute path on a disk that survives a restart, as in /var/lib/sipsec/branch";
    let path = KeyPath::dotted("state_dir");
    let dir = &profile.state_dir;
    let shown = shown_raw(&dir.display().to_string());
    if !dir.is_absolute() {
        let message = format!("`state_dir` is {shown}, which is not an absolute path");
        sink.push(Problem::error("config::state-dir", &path, message).hint(HINT));
    } else if NO_DISK.iter().any(|root| dir.starts_with(root)) {
        let message = format!("`state_dir` is {shown}, where nothing can be kept");
        sink.push(Problem::error("config::state-dir", &path, message).hint(HINT));
    } else if let Err(reason) = around.directory(dir) {
        let message = format!("`state_dir` is {shown}: {reason}");
        sink.push(Problem::warning("config::state-dir", &path, message).hint(HINT));
    }
}
