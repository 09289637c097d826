//! Transform sets and IPsec profiles in IOS's words.
//!
//! A profile of IOS has one group of `set pfs` and one idle time; here the groups are of the list of proposals, and the idle
//! time of each tunnel. So there is one IPsec profile for each group and each idle time that a tunnel has.

use super::conversion::Conversion;
use super::show::{NAME, group};
use std::collections::HashMap;
use std::fmt::Write;

/// Names of transform sets that are renewed with one group, or with none.
struct Offer {
    group: Option<&'static str>,
    sets: Vec<usize>,
}

pub(super) struct IpsecProfiles {
    /// Transform sets as written behind their names, which are numbered from 1.
    sets: Vec<String>,
    offers: Vec<Offer>,
    /// Which offer and which idle time a tunnel's profile has.
    of_tunnel: HashMap<String, (usize, Option<u32>)>,
}

impl IpsecProfiles {
    pub(super) fn of(conversion: &Conversion) -> Self {
        let (mut sets, mut offers): (Vec<String>, Vec<Offer>) = (Vec::new(), Vec::new());
        for proposal in &conversion.esp_proposals {
            let words: Vec<&str> = proposal.split('-').collect();
            let mut groups: Vec<Option<&'static str>> =
                words.iter().filter_map(|w| group(w)).map(Some).collect();
            if groups.is_empty() {
                groups.push(None);
            }
            for set in transforms(&words) {
                let number = sets.iter().position(|known| *known == set).unwrap_or_else(|| {
                    sets.push(set);
                    sets.len() - 1
                });
                for group in &groups {
                    let at = offers.iter().position(|offer| offer.group == *group).unwrap_or_else(|| {
                        offers.push(Offer { group: *group, sets: Vec::new() });
                        offers.len() - 1
                    });
                    if let Some(offer) = offers.get_mut(at).filter(|offer| !offer.sets.contains(&number)) {
                        offer.sets.push(number);
                    }
                }
            }
        }
        if offers.is_empty() {
            offers.push(Offer { group: None, sets: Vec::new() });
        }
        // Every tunnel is offered all of them; the last tunnels name those that no other does.
        let (tunnels, last) = (conversion.tunnels.len(), offers.len() - 1);
        let offer = |tunnel: usize| (tunnel + 1 + last).saturating_sub(tunnels.max(offers.len())).min(last);
        let of_tunnel = conversion
            .tunnels
            .iter()
            .enumerate()
            .map(|(n, tunnel)| (tunnel.name.clone(), (offer(n), tunnel.idle_s)))
            .collect();
        Self { sets, offers, of_tunnel }
    }

    /// The name of a tunnel's profile.
    pub(super) fn of_tunnel(&self, tunnel: &str) -> String {
        self.of_tunnel.get(tunnel).map_or_else(|| NAME.to_owned(), |(offer, idle)| self.name(*offer, *idle))
    }

    fn name(&self, offer: usize, idle: Option<u32>) -> String {
        let idle = idle.map_or_else(String::new, |s| format!("-idle-{s}"));
        let group = match self.offers.get(offer).map(|o| o.group) {
            _ if self.offers.len() == 1 => String::new(),
            Some(Some(group)) => format!("-group{group}"),
            _ => "-no-pfs".to_owned(),
        };
        format!("{NAME}{idle}{group}")
    }

    pub(super) fn write(&self, conversion: &Conversion, out: &mut String) {
        // Writing to a String cannot fail.
        for (set, n) in self.sets.iter().zip(1..) {
            let _ = writeln!(out, "crypto ipsec transform-set {NAME}-{n} {set}\n mode tunnel\n!");
        }
        if self.offers.len() > 1 {
            out.push_str("! each tunnel is offered the transform sets and groups of all IPsec profiles\n");
        }
        for (n, offer) in self.offers.iter().enumerate() {
            let mut idles: Vec<Option<u32>> =
                self.of_tunnel.values().filter(|(of, _)| *of == n).map(|(_, idle)| *idle).collect();
            if idles.is_empty() && self.offers.len() > 1 {
                idles.extend(conversion.tunnels.first().map(|t| t.idle_s));
            }
            idles.sort_unstable();
            idles.dedup();
            for idle in idles {
                self.profile(n, idle, offer, conversion, out);
            }
        }
    }

    fn profile(&self, n: usize, idle: Option<u32>, offer: &Offer, conversion: &Conversion, out: &mut String) {
        let _ = writeln!(out, "crypto ipsec profile {}", self.name(n, idle));
        let mut line = |text: String| {
            let _ = writeln!(out, " {text}");
        };
        if let Some(seconds) = conversion.child_s {
            line(format!("set security-association lifetime seconds {seconds}"));
        }
        match conversion.child_kb {
            Some(0) => line("set security-association lifetime kilobytes disable".to_owned()),
            Some(kb) => line(format!("set security-association lifetime kilobytes {kb}")),
            None => {}
        }
        if let Some(seconds) = idle {
            line(format!("set security-association idle-time {seconds}"));
        }
        if !offer.sets.is_empty() {
            let names: Vec<String> = offer.sets.iter().map(|n| format!("{NAME}-{}", n + 1)).collect();
            line(format!("set transform-set {}", names.join(" ")));
        }
        if let Some(group) = offer.group {
            line(format!("set pfs group{group}"));
        }
        out.push_str("!\n");
    }
}

/// The transform sets of a proposal.
fn transforms(words: &[&str]) -> Vec<String> {
    let hashed = |cipher: &str| {
        words.iter().filter_map(|w| hmac(w)).map(|h| format!("{cipher} {h}")).collect::<Vec<_>>()
    };
    let one = |word: &&str| match *word {
        "aes256gcm16" => vec!["esp-gcm 256".to_owned()],
        "aes128gcm16" => vec!["esp-gcm".to_owned()],
        "aes256" => hashed("esp-aes 256"),
        "aes128" => hashed("esp-aes"),
        _ => Vec::new(),
    };
    words.iter().flat_map(one).collect()
}

/// The IOS word of a transform set's HMAC.
fn hmac(word: &str) -> Option<&'static str> {
    Some(match word {
        "sha256" => "esp-sha256-hmac",
        "sha384" => "esp-sha384-hmac",
        "sha512" => "esp-sha512-hmac",
        _ => return None,
    })
}
