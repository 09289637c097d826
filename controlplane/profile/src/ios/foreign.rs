//! Files that are not a configuration of IOS, told by a line that only they have.

/// A file that is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// From 1.
    pub line: u32,
    pub message: String,
    pub hint: String,
    /// Lines up to here are its header.
    pub header_lines: u32,
}

enum Mark {
    Starts(&'static str),
    Contains(&'static str),
}

use Mark::{Contains, Starts};

struct Family {
    name: &'static str,
    /// One of these is enough.
    sure: &'static [Mark],
    /// Two lines with any of these are.
    likely: &'static [&'static str],
    hint: &'static str,
}

const YAMAHA_HINT: &str = "write the profile by these equivalents: `ipsec ike remote name N NUMBER tel-key` is \
    tunnels.remote_number, `ipsec ike local name N NUMBER` tunnels.local_number and sip.lines.number, `ipsec ike \
    pre-shared-key N text KEY` ike.keyring.psk, `tunnel ngn bandwidth 512k` tunnels.bandwidth_kbps: 512, `tunnel ngn \
    disconnect time S` tunnels.idle_s (60 unless written), `ip tunnel mtu` tunnels.mtu, `ip route P gateway tunnel N` \
    tunnels.routes; `arrivepermit`, `fallback` and `arrive permit` have no equivalent";
const EXPORT: &str = "export the running configuration of the IOS router (`show running-config`)";

const FAMILIES: &[Family] = &[
    Family {
        name: "Yamaha",
        sure: &[
            Starts("# RTX"),
            Starts("# NVR"),
            Starts("# FWX"),
            Starts("# SRT"),
            Starts("# vRX"),
            Starts("# RTV"),
        ],
        likely: &[
            "tunnel select ",
            "pp select ",
            "ngn type ",
            "ip lan1 ",
            "ip lan2 ",
            "ipsec ike ",
            "tunnel ngn ",
            "login user ",
            "nat descriptor ",
            "console character ",
            "ipsec sa policy ",
            "pp always-on ",
        ],
        hint: YAMAHA_HINT,
    },
    Family {
        name: "NEC IX",
        sure: &[Contains("NEC Portable Internetwork"), Starts("interface GigaEthernet"), Starts("! NEC ")],
        likely: &["ikev2 authentication psk id ", "ngn-sip ", "bridge irb enable", "ip ufs-cache "],
        hint: EXPORT,
    },
    Family {
        name: "FITELnet",
        sure: &[Contains("FITELnet")],
        likely: &["interface gigaethernet ", "crypto ipsec selector ", "ike peer "],
        hint: EXPORT,
    },
    Family {
        name: "SEIL",
        sure: &[Contains("SEIL/")],
        likely: &[
            "ike preshared-key add ",
            "ipsec security-association add ",
            "interface ge0 ",
            "route add default ",
        ],
        hint: EXPORT,
    },
    Family {
        name: "Si-R",
        sure: &[Contains("Si-R")],
        likely: &["remote 0 ap 0 ", "lan 0 ip address ", "remote 0 name "],
        hint: EXPORT,
    },
    Family {
        name: "IOS XR",
        sure: &[Starts("!! IOS XR"), Starts("RP/0/"), Contains("IOS XR Configuration")],
        likely: &["interface Bundle-Ether", "router static", "telnet vrf default "],
        hint: EXPORT,
    },
    Family {
        name: "NX-OS",
        sure: &[Starts("!Command: show running-config"), Starts("vdc ")],
        likely: &["feature ", "vrf context ", "cfs eth distribute", "role name "],
        hint: EXPORT,
    },
    Family {
        name: "ASA",
        sure: &[Starts("ASA Version"), Starts("PIX Version"), Starts("FWSM Version")],
        likely: &[" nameif ", "nameif ", "same-security-traffic ", "threat-detection ", "tunnel-group "],
        hint: EXPORT,
    },
    Family {
        name: "Arista EOS",
        sure: &[Starts("! device: "), Contains("EOS-4")],
        likely: &["transceiver qsfp ", "management api http-commands", "daemon TerminAttr"],
        hint: EXPORT,
    },
    Family {
        name: "Junos",
        sure: &[Starts("set version "), Starts("## Last commit"), Starts("## Last changed")],
        likely: &[
            "set system host-name ",
            "set interfaces ",
            "set security ike ",
            "system {",
            "interfaces {",
        ],
        hint: EXPORT,
    },
    Family {
        name: "FortiOS",
        sure: &[Starts("#config-version=")],
        likely: &["config system global", "config vpn ipsec ", "config firewall policy"],
        hint: EXPORT,
    },
    Family {
        name: "strongSwan or Libreswan",
        sure: &[Starts("conn %default"), Starts("connections {")],
        likely: &["leftid=", "    left=", "    keyexchange="],
        hint: EXPORT,
    },
    Family {
        name: "sipsec profile",
        sure: &[],
        likely: &["version: 1", "gateway: ", "tunnels:", "dataplane:"],
        hint: "this is what the import writes; check it with `sipsec check`",
    },
    Family {
        name: "web page",
        sure: &[Starts("<!DOCTYPE"), Starts("<html"), Starts("<?xml")],
        likely: &[],
        hint: "copy the commands out of the page, or export the running configuration of the router",
    },
];

/// How many lines are looked at for marks.
const LINES_MAX: usize = 20_000;
/// A line or two may begin with a sign by chance.
const DIFF_LINES: usize = 3;

/// What else the file is, if it is not of IOS.
pub fn recognise<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> Option<Foreign> {
    diff(lines.clone()).or_else(|| FAMILIES.iter().find_map(|f| family(f, lines.clone())))
}

fn family<'a>(family: &Family, lines: impl Iterator<Item = &'a str>) -> Option<Foreign> {
    let (mut likely, mut first, mut header_lines, mut in_header) = (0, None, 0, true);
    let mut sure = None;
    for (i, line) in (1u32..).zip(lines.take(LINES_MAX)) {
        if in_header && line.starts_with('#') {
            header_lines = i;
        }
        in_header &= !line.starts_with([' ', '\t']) && i < header_lines + 4;
        let is_sure = family.sure.iter().any(|m| match m {
            Starts(mark) => line.starts_with(mark),
            Contains(mark) => line.starts_with(['!', '#', ';', ':']) && line.contains(mark),
        });
        if is_sure {
            sure = sure.or(Some((i, line)));
        }
        if family.likely.iter().any(|m| line.trim_start().starts_with(m.trim_start())) {
            likely += 1;
            first = first.or(Some((i, line)));
        }
        if sure.is_some() && i > 32 {
            break;
        }
    }
    // `feature` and the like stand in configurations of IOS, too, but not often and not together.
    let (line, _) = sure.or(first.filter(|_| likely >= 3))?;
    let known = if sure.is_some() { "its header" } else { "its commands" };
    let what =
        if family.name.contains("page") || family.name.contains("profile") { "" } else { " configuration" };
    Some(Foreign {
        line,
        message: format!(
            "this is a {}{what}, not one of IOS: line {line} tells by {known}. Nothing of it is read",
            family.name
        ),
        hint: family.hint.to_owned(),
        header_lines,
    })
}

/// Changes between two configurations, as archives send them.
fn diff<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Foreign> {
    let (mut signs, mut whole, mut first, mut sure) = (0, 0, None, None);
    for (i, line) in (1u32..).zip(lines.take(LINES_MAX)) {
        if line.trim().is_empty() {
            continue;
        }
        whole += 1;
        let mark = line.starts_with("@@ ")
            || line.starts_with("!Contextual Config Diffs")
            || line.starts_with("diff --git ");
        if mark {
            sure = sure.or(Some(i));
        }
        let sign =
            line.strip_prefix(['+', '-']).is_some_and(|r| !r.is_empty() && !r.starts_with(['-', '+', '>']));
        if sign {
            signs += 1;
            first = first.or(Some(i));
        }
    }
    let line = sure.or(first.filter(|_| signs >= DIFF_LINES && signs * 5 >= whole))?;
    Some(Foreign {
        line,
        message: format!(
            "this shows the difference of two configurations: line {line} begins with a sign. It is not a configuration"
        ),
        hint: "import the whole configuration after the change".to_owned(),
        header_lines: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> Option<Foreign> {
        recognise(text.lines())
    }

    #[test]
    fn families_are_told_by_header_or_commands() {
        for (text, name) in [
            ("# RTX1220 Rev.15.04.06\n# MAC\nlogin user admin *\n", "Yamaha"),
            ("tunnel select 1\n ipsec ike version 1 2\npp select 1\n", "Yamaha"),
            ("! NEC Portable Internetwork Core Operating System Software\n", "NEC IX"),
            ("!! IOS XR Configuration 7.3.2\n", "IOS XR"),
            ("ASA Version 9.8(2)\n", "ASA"),
            ("! device: sw1 (DCS-7050, EOS-4.20)\n", "Arista"),
            ("set version 18.4\nset system host-name x\n", "Junos"),
            ("version: 1\ngateway: branch\ntunnels:\n", "profile"),
            ("@@ -1,3 +1,3 @@\n interface Tunnel1\n", "difference"),
            ("+interface Tunnel1\n-interface Tunnel2\n+ ip mtu 1400\n", "difference"),
        ] {
            let foreign = what(text).expect(text);
            assert!(foreign.message.contains(name), "{text}: {}", foreign.message);
        }
    }

    #[test]
    fn configurations_of_ios_are_not() {
        for text in [
            "version 15.7\nhostname R1\ninterface Tunnel1\n tunnel source Loopback1\n",
            "------------------ show version ------------------\n",
            "-----BEGIN CERTIFICATE-----\n",
            "crypto ikev2 keyring K\n peer a\n",
        ] {
            assert_eq!(what(text), None, "{text}");
        }
    }
}
