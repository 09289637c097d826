//! Writing a body. RFC 8866 §5: v, o, s, c, t, then for each media m, b, a.

use super::{FMT_UDPENCAP, SessionDescription};
use sipsec_net::Kbps;
use std::fmt;

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = self.ike.addr.ip();
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        write!(f, "v=0\r\no=- {} {} IN {family} {ip}\r\n", self.session_id, self.version)?;
        write!(f, "s=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n")?;
        let (before, after) = self.others.split_at(self.index.min(self.others.len()));
        for other in before {
            write!(f, "{other}\r\n")?;
        }
        write!(f, "m=application {} udp {FMT_UDPENCAP}\r\n", self.ike.addr.port())?;
        if let Some(Kbps(kbps)) = self.ike.bandwidth {
            write!(f, "b=AS:{kbps}\r\n")?;
        }
        if let Some(setup) = self.ike.setup {
            write!(f, "a=ike-setup:{}\r\n", setup.token())?;
        }
        for p in &self.ike.fingerprints {
            write!(f, "a=fingerprint:{p}\r\n")?;
        }
        for p in &self.ike.psk_fingerprints {
            write!(f, "a=psk-fingerprint:{p}\r\n")?;
        }
        for other in after {
            write!(f, "{other}\r\n")?;
        }
        Ok(())
    }
}
