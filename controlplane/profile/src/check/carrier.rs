//! Values of the carrier that the profile overrides must fit together.

use crate::diagnose::{Problem, Sink};
use crate::model::carrier::{Method, OptionTag};
use crate::model::limits::SESSION_EXPIRES_MIN_S;
use crate::model::{Profile, SipSection, Word};
use crate::read::KeyPath;

pub fn check(profile: &Profile, sink: &Sink) {
    for (at, section) in super::carriers(profile) {
        values(profile, &at, section, sink);
    }
    let (first, last) = (profile.media.port_first, profile.media.port_last);
    if profile.even_ports() && first == last && first % 2 == 1 {
        let path = KeyPath::dotted("media.ports");
        let problem = Problem::error("media::even-ports", &path, "the range has no even port");
        sink.push(problem.hint("write a range with an even port, or `even_ports: false` in `media`"));
    }
}

fn values(profile: &Profile, sip: &KeyPath, section: &SipSection, sink: &Sink) {
    let carrier = profile.carrier(section);
    // RFC 4028 §5.
    if (1..SESSION_EXPIRES_MIN_S).contains(&carrier.session_expires_s) {
        let message = format!("`{sip}.session_expires_s` is {}", carrier.session_expires_s);
        let problem = Problem::error("config::range", &sip.key("session_expires_s"), message);
        let label = format!("allowed: 0, or {SESSION_EXPIRES_MIN_S} to 86400");
        sink.push(problem.label(label).hint("write 0 to ask for no session timer, or 90 or more"));
    }
    let needed = [Method::Invite, Method::Ack, Method::Cancel, Method::Bye];
    let absent: Vec<_> = needed.into_iter().filter(|m| !carrier.allow.contains(m)).map(Word::word).collect();
    if !absent.is_empty() {
        let message = format!("`{sip}.allow` lacks {}", absent.join(", "));
        let problem = Problem::error("sip::allow", &sip.key("allow"), message);
        sink.push(problem.hint("without these methods there are no calls: add them"));
    }
    for (key, tags) in
        [("register_supported", &carrier.register_supported), ("invite_supported", &carrier.invite_supported)]
    {
        if tags.contains(&OptionTag::None) && tags.len() > 1 {
            let message = format!("`{sip}.{key}` has `none` beside other tags");
            let problem = Problem::error("sip::supported", &sip.key(key), message);
            sink.push(problem.hint("write `none` alone, or take it out"));
        }
    }
    if carrier.session_expires_s > 0 && !carrier.invite_supported.contains(&OptionTag::Timer) {
        let message = "a session timer is asked for, but `timer` is not among the tags of `Supported`";
        let problem = Problem::warning("sip::timer", &sip.key("invite_supported"), message);
        sink.push(problem.hint("add `timer` (RFC 4028 §7.1), or write `session_expires_s: 0`"));
    }
    bandwidths(profile, sip, section, &carrier.bandwidths_kbps, sink);
}

/// Of the tunnels that call over this carrier.
fn bandwidths(profile: &Profile, at: &KeyPath, section: &SipSection, known: &[u32], sink: &Sink) {
    let (tunnels, lines) = (KeyPath::dotted("tunnels"), profile.carrier_lines());
    for (i, tunnel) in profile.tunnels.iter().enumerate().filter(|_| !known.is_empty()) {
        if std::ptr::eq(lines.sip(tunnel.local_number), section) && !known.contains(&tunnel.bandwidth.0) {
            let list: Vec<_> = known.iter().map(ToString::to_string).collect();
            let message = format!("the carrier sets up no call of {}", tunnel.bandwidth);
            let problem =
                Problem::error("tunnels::bandwidth", &tunnels.index(i).key("bandwidth_kbps"), message);
            let hint = format!("write {}, or add it to `{at}.bandwidths_kbps`", list.join(", "));
            sink.push(problem.hint(hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Profile;
    use crate::model::carrier::{ContactUser, MediaDscp};
    use crate::{Findings, Nothing, examine};

    const SIP: &str = "  interface: wan0\n  registrar: 198.51.100.1:5060\n  domain: carrier.example\n  lines:\n  - number: '0388881001'\n";

    fn read(sip: &str, media: &str) -> (Option<Profile>, Findings) {
        let media = if media.is_empty() { String::new() } else { format!("media:\n{media}") };
        let text = format!(
            "version: 1\ngateway: g\nsip:\n{SIP}{sip}{media}ike:\n  keyring:\n  - number: any\n    \
             psk_file: /etc/psk\ntunnels:\n- {{ name: T, local_number: '0388881001', remote_number: '0388882001', \
             bandwidth_kbps: 2600, routes: [10.2.0.0/16] }}\ndataplane:\n  outside:\n    device: wan0\n  inside:\n    \
             mode: host\n    device: svti0\n"
        );
        let examined = examine("x.yaml", text.as_bytes(), &Nothing);
        (examined.profile, examined.findings)
    }

    #[test]
    fn values_that_do_not_fit_together_are_told() {
        for (sip, media, code) in [
            ("  session_expires_s: 30\n", "", "config::range"),
            ("  allow: [INVITE, BYE]\n", "", "sip::allow"),
            ("  allow: [INVITE, PING]\n", "", "config::value"),
            ("  invite_supported: [none, timer]\n", "", "sip::supported"),
            ("  invite_supported: [100rel]\n", "", "sip::timer"),
            ("  carrier: cisco\n", "", "tunnels::bandwidth"),
            ("  contact_user: 'a@b'\n", "", "config::value"),
            ("", "  dscp: 64\n", "config::value"),
            ("", "  ports: 50001-50001\n  even_ports: true\n", "media::even-ports"),
        ] {
            let (_, findings) = read(sip, media);
            let codes: Vec<_> = findings.list.iter().map(|f| f.code).collect();
            assert!(codes.contains(&code), "{sip}{media}: {codes:?}");
        }
    }

    #[test]
    fn own_values_replace_those_of_the_carrier() {
        let (profile, findings) = read(
            "  carrier: ntt-hgw\n  contact_user: gw-1\n  session_expires_s: 0\n  dscp: 0\n",
            "  dscp: copy\n  assumed_kbps: 64\n",
        );
        assert_eq!(findings.errors(), 0, "{}", findings.render(crate::Style::PLAIN));
        let carrier = profile.expect("read");
        let carrier = carrier.carrier(&carrier.sip);
        assert_eq!(carrier.contact_user, ContactUser::Token("gw-1".into()));
        assert_eq!(
            (carrier.session_expires_s, carrier.sip_dscp, carrier.media_dscp),
            (0, 0, MediaDscp::Copy)
        );
        assert!(carrier.even_ports && carrier.assumed == Some(sipsec_net::Kbps(64)));
    }
}
