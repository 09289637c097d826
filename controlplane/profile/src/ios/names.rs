//! Names of interfaces in every spelling that IOS takes: `Gi8`, `gi 8`, `GigabitEthernet0/0/0.100`, `tunnel 1`.

use super::words::{Words, is_misspelt, shortens};

/// Kinds of interfaces; of several that a word may shorten, the first is meant.
const KINDS: &[&str] = &[
    "GigabitEthernet",
    "FastEthernet",
    "Ethernet",
    "TenGigabitEthernet",
    "Tunnel",
    "Loopback",
    "Vlan",
    "Dialer",
    "Cellular",
    "Serial",
    "Null",
    "BRI",
    "ATM",
    "Port-channel",
    "BDI",
    "BVI",
    "Async",
    "Multilink",
    "NVI",
    "TwoGigabitEthernet",
    "FiveGigabitEthernet",
    "TwentyFiveGigE",
    "FortyGigabitEthernet",
    "HundredGigE",
    "Virtual-Template",
    "Virtual-PPP",
    "Virtual-Access",
    "VirtualPortGroup",
    "AppGigabitEthernet",
    "Embedded-Service-Engine",
    "Service-Engine",
    "Wlan-GigabitEthernet",
    "wlan-ap",
    "Dot11Radio",
    "Group-Async",
    "Integrated-Service-Engine",
    "ISM",
    "LISP",
    "nve",
    "pseudowire",
    "EFM",
    "CDMA-Ix",
    "Lex",
    "MFR",
    "Control",
    "ucse",
    "Video-Service-Engine",
    "Analysis-Module",
    "SM",
    "Cable-Modem",
    "Content-Engine",
];
const LENGTH_MAX: usize = 64;

/// Reads a name of one word or two.
pub fn interface(words: &mut Words<'_>) -> Option<String> {
    let first = words.next()?;
    let has_digits = first.bytes().any(|b| b.is_ascii_digit());
    let number =
        words.peek().filter(|w| !has_digits && w.starts_with(|c: char| c.is_ascii_digit()) && is_number(w));
    match number {
        Some(number) => {
            let name = canonical(&format!("{first}{number}"));
            words.next();
            name
        }
        None => canonical(first),
    }
}

/// The kind of which this word may be a misspelt name; `None` if it is the name of an interface of another kind.
pub fn near_kind(word: &str) -> Option<&'static str> {
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '/' | '.' | ':'));
    if letters.is_empty() || !letters.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-') {
        return KINDS.first().copied();
    }
    KINDS.iter().copied().find(|kind| shortens(letters, kind) || is_misspelt(letters, kind))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'/' | b'.' | b':'))
}

/// The full spelling of a name without blanks, if it is one.
#[must_use]
pub fn canonical(name: &str) -> Option<String> {
    if name.len() > LENGTH_MAX {
        return None;
    }
    let digits = name.find(|c: char| c.is_ascii_digit())?;
    let (kind, number) = name.split_at(digits);
    // A kind that ends in a digit (Dot11Radio) is spelled out.
    for whole in ["Dot11Radio"] {
        if let Some(number) = name.get(whole.len()..).filter(|n| is_number(n) && !n.is_empty())
            && name.as_bytes()[..whole.len()].eq_ignore_ascii_case(whole.as_bytes())
        {
            return Some(format!("{whole}{number}"));
        }
    }
    if !is_number(number) || kind.is_empty() || number.ends_with(['/', '.', ':']) {
        return None;
    }
    let exact = KINDS.iter().find(|k| k.eq_ignore_ascii_case(kind));
    let kind = exact.or_else(|| KINDS.iter().find(|k| shortens(kind, k)))?;
    // Tunnel01 is Tunnel1.
    let number = match number.trim_start_matches('0') {
        plain if number.bytes().all(|b| b.is_ascii_digit()) => {
            if plain.is_empty() {
                "0"
            } else {
                plain
            }
        }
        _ => number,
    };
    Some(format!("{kind}{number}"))
}

#[must_use]
pub fn is_tunnel(name: &str) -> bool {
    name.starts_with("Tunnel")
}

#[must_use]
pub fn is_loopback(name: &str) -> bool {
    name.starts_with("Loopback")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ios::words::split;

    #[test]
    fn every_spelling_has_one_name() {
        for (given, name) in [
            ("gi8", "GigabitEthernet8"),
            ("Gi 0/0/0.100", "GigabitEthernet0/0/0.100"),
            ("gigabitEthernet 0/4", "GigabitEthernet0/4"),
            ("tunnel 1", "Tunnel1"),
            ("Tu0", "Tunnel0"),
            ("tun1", "Tunnel1"),
            ("lo11", "Loopback11"),
            ("loopback 1", "Loopback1"),
            ("Vl20", "Vlan20"),
            ("te1/1", "TenGigabitEthernet1/1"),
            ("Ce0/2/0", "Cellular0/2/0"),
            ("Se0/0/0:15", "Serial0/0/0:15"),
            ("e0", "Ethernet0"),
            ("Dot11Radio0", "Dot11Radio0"),
            ("Null0", "Null0"),
        ] {
            let list = split(given);
            assert_eq!(interface(&mut Words::new(given, &list)).as_deref(), Some(name), "{given}");
        }
        for none in ["10.1.1.1", "dhcp", "x9", "Tunnel", "gi8x", "Gi0/"] {
            assert_eq!(canonical(none), None, "{none}");
        }
    }
}
