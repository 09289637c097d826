//! `compat: cisco`: changes that IOS refuses while vpn-sip is configured.

use super::Diff;
use crate::model::{Compat, Profile};
use std::collections::HashSet;

/// Of a change, what IOS would not take, each with its reason; empty unless the profile in force has `compat: cisco`.
///
/// IOS locks mode, source, destination and protection of a tunnel until its vpn-sip line is removed, and blocks every update
/// of the loopback that is the source of tunnels.
#[must_use]
pub fn locked(old: &Profile, diff: &Diff) -> Vec<String> {
    if old.compat != Compat::Cisco {
        return Vec::new();
    }
    let mut out: Vec<String> = Vec::new();
    if diff.changes.iter().any(|c| c.path == "media.tunnel_source") {
        out.push(
            "media.tunnel_source: IOS blocks every update of the loopback that is the source of tunnels"
                .to_owned(),
        );
    }
    // A tunnel that is removed loses its vpn-sip line, too.
    let kept: HashSet<usize> = diff.kept.iter().map(|(i, _)| *i).collect();
    for (i, reasons) in diff.bounced.iter().filter(|(i, _)| kept.contains(i)) {
        let name = &old.tunnels[*i].name;
        out.push(format!(
            "{name}: {}; IOS locks a tunnel's parameters while it has vpn-sip: remove the tunnel first, then add it anew",
            reasons.join("; ")
        ));
    }
    out
}
