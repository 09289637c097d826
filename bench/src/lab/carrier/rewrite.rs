//! SDP changed on its way: what broken carriers do, and people in the middle.

use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// Every `b=AS` line goes.
    DropBandwidth,
    /// The last hex digit of each value of this attribute (`fingerprint`, `psk-fingerprint`) becomes another one.
    SpoilFingerprint(&'static str),
    /// Port of every media line, so that IKE is sent to a closed port, or seems to come from another sender.
    MediaPort(u16),
    /// Address of every `c=` line.
    MediaAddress(IpAddr),
    /// The value of `a=ike-setup`.
    Setup(&'static str),
}

/// Applies them in order. What is not text passes as it is.
#[must_use]
pub fn apply(rewrites: &[Rewrite], body: &[u8]) -> Vec<u8> {
    let Some(sdp) = std::str::from_utf8(body).ok().filter(|_| !rewrites.is_empty()) else {
        return body.to_vec();
    };
    let lines = sdp.split_inclusive('\n').filter_map(|line| {
        rewrites.iter().try_fold(line.trim_end_matches(['\r', '\n']).to_owned(), |line, r| r.line(line))
    });
    lines.map(|line| line + "\r\n").collect::<String>().into_bytes()
}

impl Rewrite {
    /// The line as it goes on; `None` if it does not.
    fn line(self, line: String) -> Option<String> {
        match self {
            Self::DropBandwidth => (!line.starts_with("b=AS:")).then_some(line),
            Self::SpoilFingerprint(attribute) => {
                let value = line.strip_prefix("a=").and_then(|l| l.strip_prefix(attribute));
                if value.is_none_or(|v| !v.starts_with(':')) {
                    return Some(line);
                }
                let mut line = line;
                let last = line.pop();
                line.push(if last == Some('0') { '1' } else { '0' });
                Some(line)
            }
            Self::MediaPort(port) => {
                let words: Vec<_> = line.split(' ').collect();
                Some(match words.as_slice() {
                    [media, _, rest @ ..] if media.starts_with("m=") => {
                        format!("{media} {port} {}", rest.join(" "))
                    }
                    _ => line,
                })
            }
            Self::Setup(setup) => {
                let named = line.starts_with("a=ike-setup:");
                Some(if named { format!("a=ike-setup:{setup}") } else { line })
            }
            Self::MediaAddress(ip) => {
                let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
                Some(if line.starts_with("c=") { format!("c=IN {family} {ip}") } else { line })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &[u8] =
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=application 50001 udp ike-esp-udpencap\r\nb=AS:512\r\n\
        b=RS:9\r\na=ike-setup:actpass\r\na=fingerprint:sha-256 AA:00\r\na=psk-fingerprint:sha-256 AA:0F\r\n";

    #[test]
    fn each_changes_its_own_line() {
        let with = |r: &[Rewrite]| String::from_utf8(apply(r, SDP)).expect("text");
        let plain = with(&[]);
        assert_eq!(plain.as_bytes(), SDP);
        assert_eq!(with(&[Rewrite::DropBandwidth]), plain.replace("b=AS:512\r\n", ""));
        assert_eq!(with(&[Rewrite::SpoilFingerprint("fingerprint")]), plain.replace("AA:00", "AA:01"));
        assert_eq!(with(&[Rewrite::SpoilFingerprint("psk-fingerprint")]), plain.replace("AA:0F", "AA:00"));
        assert_eq!(with(&[Rewrite::Setup("passive")]), plain.replace("actpass", "passive"));
        let moved = [Rewrite::MediaPort(9), Rewrite::MediaAddress([203, 0, 113, 1].into())];
        assert_eq!(with(&moved), plain.replace("50001", "9").replace("192.0.2.1", "203.0.113.1"));
        assert_eq!(apply(&[Rewrite::DropBandwidth], &[0xff]), [0xff]);
    }
}
