//! Recognises files that are not profiles at all.

/// Lines looked at.
const LINES_MAX: usize = 2000;
const IOS_HINT: &str = "this looks like an IOS configuration: convert it with `sipsec import ios FILE`";
/// Beginnings of lines of an IOS configuration.
const IOS: &[&str] = &[
    "Building configuration",
    "Current configuration",
    "conf t",
    "configure terminal",
    "crypto ",
    "hostname ",
    "interface Gi",
    "interface Lo",
    "interface Tu",
    "interface Vl",
    "ip address ",
    "ip nat ",
    "ip route ",
    "ip sla ",
    "no ip ",
    "service ",
    "tunnel source ",
    "vpn-sip ",
];

/// What to do about the file, if it is of another kind.
pub fn hint(text: &str) -> Option<&'static str> {
    let is_ios = |line: &str| {
        let line = line.trim_start();
        IOS.iter().any(|start| line.get(..start.len()).is_some_and(|l| l.eq_ignore_ascii_case(start)))
    };
    (text.lines().take(LINES_MAX).filter(|line| is_ios(line)).take(2).count() == 2).then_some(IOS_HINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_of_ios_are_enough_and_one_is_not() {
        assert_eq!(hint("!\nhostname r1\n!\ninterface Tunnel1\n ip address 10.0.0.1\n"), Some(IOS_HINT));
        assert_eq!(hint("CRYPTO ikev2 keyring k\n  VPN-SIP enable\n"), Some(IOS_HINT));
        assert_eq!(hint("version: 1\ngateway: crypto \nhostname x"), None);
        assert_eq!(hint("é crypto"), None);
    }
}
