//! Policies against the tunnels that name them.

use crate::diagnose::{Problem, Sink, nearest};
use crate::model::Profile;
use crate::model::qos::{Part, QosMode, QosPolicy};
use crate::read::KeyPath;

pub fn check(profile: &Profile, sink: &Sink) {
    for (i, policy) in profile.qos.policies.iter().enumerate() {
        let path = KeyPath::dotted("qos").key("policies").index(i);
        percentages(policy, &path, sink);
    }
    for (i, tunnel) in profile.tunnels.iter().enumerate() {
        let Some(name) = &tunnel.qos else { continue };
        let path = KeyPath::dotted("tunnels").index(i).key("qos");
        let Some(policy) = profile.qos.policy(name) else {
            let known = || profile.qos.policies.iter().map(|p| p.name.as_str());
            let hint = match nearest(name, known()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "add it to `qos.policies`, or remove `qos`".to_owned(),
            };
            sink.push(Problem::error("qos::unknown", &path, format!("there is no policy {name}")).hint(hint));
            continue;
        };
        if profile.qos.mode == QosMode::StrictCisco {
            let message = format!("{} has a policy, so all of its calls fail", tunnel.name);
            let hint = "`qos.mode: compose` puts the policy inside the negotiated rate instead";
            sink.push(Problem::warning("qos::strict-cisco", &path, message).hint(hint));
        }
        fits(policy, tunnel.bandwidth.0, &tunnel.name, &path, sink);
    }
}

/// What is wrong at every rate.
fn percentages(policy: &QosPolicy, path: &KeyPath, sink: &Sink) {
    let of = |part: Option<Part>| match part {
        Some(Part::Percent(percent)) => u32::from(percent),
        _ => 0,
    };
    let sum: u32 = policy.classes.iter().map(|c| of(c.guarantee)).sum();
    if sum > 100 {
        let message = format!("the guarantees of {} are {sum} % of the rate", policy.name);
        sink.push(
            Problem::error("qos::guarantee", &path.key("classes"), message)
                .hint("at most 100 % can be guaranteed"),
        );
    }
}

/// The guarantees within the bandwidth, and each below its ceiling.
fn fits(policy: &QosPolicy, rate: u32, tunnel: &str, path: &KeyPath, sink: &Sink) {
    let sum: u64 = policy.classes.iter().filter_map(|c| c.guarantee).map(|part| part.kbps(rate)).sum();
    if sum > rate.into() {
        let message =
            format!("the guarantees of {} are {sum} kbps, and {tunnel} asks for {rate} kbps", policy.name);
        let hint = "lower the guarantees, write them in per cent, or raise `bandwidth_kbps`";
        sink.push(
            Problem::error("qos::guarantee", path, message).label(format!("at most {rate}")).hint(hint),
        );
    }
    for class in &policy.classes {
        if let (Some(guarantee), Some(ceiling)) = (class.guarantee, class.ceiling)
            && guarantee.kbps(rate) > ceiling.kbps(rate)
        {
            let (low, high) = (ceiling.kbps(rate), guarantee.kbps(rate));
            let message = format!(
                "the class {} is guaranteed {high} kbps in {tunnel} and may have {low} kbps",
                class.name
            );
            sink.push(
                Problem::error("qos::ceiling", path, message)
                    .hint("raise the ceiling, or lower the guarantee"),
            );
        }
    }
}
