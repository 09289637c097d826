//! `show policy-map interface`

use crate::api::model::{PolicePart, PolicyClass, PolicyMap};
use std::fmt::Write as _;

#[must_use]
pub fn policy_maps(list: &[PolicyMap]) -> String {
    let mut out = String::new();
    for (i, map) in list.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = one(&mut out, map);
    }
    out
}

fn one(out: &mut String, map: &PolicyMap) -> std::fmt::Result {
    let rate = match map.rate_kbps {
        0 => "no call".to_owned(),
        kbps => format!("{kbps} kbps negotiated"),
    };
    writeln!(out, " {}\n", map.interface)?;
    writeln!(out, "  Service-policy output: {} ({rate})", map.policy.as_deref().unwrap_or("none"))?;
    if map.fails_calls {
        writeln!(out, "  Calls fail: qos.mode is strict-cisco and the tunnel has a policy")?;
    }
    for class in &map.classes {
        writeln!(out)?;
        one_class(out, class)?;
    }
    writeln!(out, "\n  Service-policy input: police")?;
    police(out, &map.police, map.rate_kbps)
}

fn one_class(out: &mut String, c: &PolicyClass) -> std::fmt::Result {
    writeln!(out, "    Class-map: {} (match-any)", c.name)?;
    let drops = c.drops_full + c.drops_aqm;
    writeln!(out, "      {} packets offered, {drops} dropped", c.packets + drops)?;
    match (c.priority, &c.guarantee) {
        (true, guarantee) => {
            writeln!(out, "      Priority: {}", guarantee.as_deref().unwrap_or("the whole rate"))?;
        }
        (false, Some(guarantee)) => writeln!(out, "      Bandwidth: {guarantee}")?,
        (false, None) => {}
    }
    if let Some(ceiling) = &c.ceiling {
        writeln!(out, "      Shape: {ceiling}")?;
    }
    if let Some(dscp) = &c.outer_dscp {
        writeln!(out, "      QoS Set: outer DSCP {dscp}")?;
    }
    writeln!(out, "      Queueing: fair queue, CoDel")?;
    writeln!(
        out,
        "      (queue depth/queue full drops/CoDel drops/ECN marks) {}/{}/{}/{}",
        c.queued_packets, c.drops_full, c.drops_aqm, c.ecn_marks
    )?;
    writeln!(
        out,
        "      (pkts output/pkts that waited/bytes that waited) {}/{}/{}",
        c.packets, c.delayed, c.bytes
    )?;
    writeln!(out, "      (delay p50/p99) {}/{}", delay(c.delay_p50_us), delay(c.delay_p99_us))
}

fn police(out: &mut String, p: &PolicePart, rate_kbps: u32) -> std::fmt::Result {
    if p.exceed == "off" {
        return writeln!(out, "      off");
    }
    let action = match (p.exceed.as_str(), p.dscp) {
        ("mark", Some(dscp)) => format!("set-dscp-transmit {dscp}"),
        ("drop", _) => "drop".to_owned(),
        _ => "transmit (counted)".to_owned(),
    };
    let bps = u64::from(rate_kbps) * 1000;
    writeln!(out, "      cir {bps} bps, burst {} ms, exceed-action {action}", p.burst_ms)?;
    writeln!(out, "      conformed {} packets", p.conformed_packets)?;
    writeln!(out, "      exceeded {} packets, {} bytes", p.exceeded_packets, p.exceeded_bytes)
}

fn delay(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn classes_stand_below_their_policy_as_in_ios() {
        let voice = PolicyClass {
            name: "VOICE".to_owned(),
            priority: true,
            guarantee: Some("25 %".to_owned()),
            outer_dscp: Some("46".to_owned()),
            packets: 1200,
            bytes: 240_000,
            delayed: 1200,
            delay_p50_us: 640,
            delay_p99_us: 187_500,
            ..PolicyClass::default()
        };
        let rest = PolicyClass {
            name: "class-default".to_owned(),
            ceiling: Some("50 kbps".to_owned()),
            packets: 90,
            bytes: 135_000,
            delayed: 80,
            delay_p50_us: 281_250,
            delay_p99_us: 1_250_000,
            queued_packets: 7,
            queued_bytes: 10_500,
            drops_full: 2,
            drops_aqm: 3,
            ecn_marks: 4,
            ..PolicyClass::default()
        };
        let police = PolicePart {
            exceed: "mark".to_owned(),
            dscp: Some(8),
            burst_ms: 1000,
            conformed_packets: 500,
            exceeded_packets: 6,
            exceeded_bytes: 9000,
        };
        let map = PolicyMap {
            interface: "Tunnel1".to_owned(),
            policy: Some("BRANCH".to_owned()),
            rate_kbps: 64,
            fails_calls: false,
            classes: vec![voice, rest.clone()],
            police: police.clone(),
        };
        let plain = PolicyMap {
            interface: "Tunnel2".to_owned(),
            classes: vec![PolicyClass { name: rest.name, ..PolicyClass::default() }],
            police: PolicePart { exceed: "off".to_owned(), ..PolicePart::default() },
            ..PolicyMap::default()
        };
        let strict = PolicyMap { fails_calls: true, rate_kbps: 0, ..map.clone() };
        let text = policy_maps(&[map, plain, strict]);
        assert!(text.lines().all(|l| l.len() <= 80), "{text}");
        golden("policy-map-interface.txt", &text);
    }
}
