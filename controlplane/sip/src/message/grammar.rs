//! The parts of header values that decide something (RFC 3261 §25.1).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The prefix of branches of RFC 3261 (§8.1.1.7).
pub const COOKIE: &str = "z9hG4bK";

pub fn is_token(s: &str) -> bool {
    let is = |b| {
        matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9')
            || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
    };
    !s.is_empty() && s.bytes().all(is)
}

/// The parts between an ASCII separator outside of quotes and angle brackets. `false` if a quote or bracket stays open.
fn split<'a>(value: &'a str, at: u8, mut part: impl FnMut(&'a str)) -> bool {
    let (mut quoted, mut escaped, mut angle, mut start) = (false, false, false, 0);
    for (i, b) in value.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => angle = true,
            b'>' if !quoted => angle = false,
            _ if b == at && !quoted && !angle => {
                part(value[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    part(value[start..].trim());
    !quoted && !angle
}

/// The elements of a comma-separated list. Empty ones are passed over (RFC 7230 §7 for the lists that SIP takes from HTTP;
/// peers leave commas at the end of others). A quote that stays open is a fault of the one value that it then is.
pub fn list(value: &str) -> Vec<&str> {
    let mut values = Vec::new();
    if !split(value, b',', |v| values.push(v)) {
        values = vec![value];
    }
    values.retain(|v| !v.is_empty());
    values
}

pub type Params<'a> = Vec<(&'a str, Option<&'a str>)>;

/// `name[=value]`.
fn name_and_value(param: &str) -> Option<(&str, Option<&str>)> {
    let (name, value) = match param.split_once('=') {
        Some((n, v)) => (n.trim(), Some(v.trim())),
        None => (param.trim(), None),
    };
    is_token(name).then_some((name, value))
}

/// `;name[=value]…`; a value is a token, a host or a quoted string.
pub fn params_of(text: &str) -> Option<Params<'_>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    // Nothing before the first semicolon.
    let (mut out, mut whole, mut first) = (Vec::new(), true, true);
    let closed = split(text, b';', |part| match name_and_value(part) {
        _ if std::mem::take(&mut first) => whole &= part.is_empty(),
        Some(param) => out.push(param),
        None => whole = false,
    });
    (closed && whole).then_some(out)
}

/// The same as far as it can be read: what is no parameter is passed over. For what must not be lost because of a parameter
/// that decides nothing.
pub fn read_params(text: &str) -> Params<'_> {
    let (mut out, mut first) = (Vec::new(), true);
    let closed = split(text, b';', |part| {
        if !std::mem::take(&mut first) {
            out.extend(name_and_value(part));
        }
    });
    if closed { out } else { text.split(';').skip(1).filter_map(name_and_value).collect() }
}

fn param<'a>(params: &Params<'a>, name: &str) -> Option<&'a str> {
    params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.unwrap_or_default())
}

/// `name-addr` or `addr-spec` with its header parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr<'a> {
    pub uri: &'a str,
    params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Strictly, but for display names without quotes: these may hold any character that separates nothing.
    pub fn parse(value: &'a str) -> Option<Self> {
        let value = value.trim();
        let rest = after_quoted(value)?;
        let quoted = rest.len() < value.len();
        // A bracket inside the quotes of a parameter belongs to the parameter.
        let angle = rest.find('<').filter(|at| !rest[..*at].contains('"'));
        let (uri, after) = if let Some(angle) = angle {
            let display = rest[..angle].trim();
            if quoted && !display.is_empty() || display.contains([',', ';']) {
                return None;
            }
            rest[angle + 1..].split_once('>')?
        } else if quoted {
            return None; // a display name wants brackets
        } else {
            let end = value.find(';').unwrap_or(value.len());
            let uri = value[..end].trim_end();
            // §20: a URI with a comma, a question mark or a semicolon is enclosed in brackets.
            if uri.contains([',', '?']) {
                return None;
            }
            (uri, &value[end..])
        };
        is_uri(uri).then_some(())?;
        Some(Self { uri, params: params_of(after)? })
    }

    /// As far as it can be read: a response must not be lost because of a display name or a parameter that decides
    /// nothing. The URI is the last that stands in brackets; without one it is empty.
    pub fn read(value: &'a str) -> Option<Self> {
        if let Some(strict) = Self::parse(value) {
            return Some(strict);
        }
        let bracketed = value.rmatch_indices('<').find_map(|(at, _)| {
            let (uri, after) = value[at + 1..].split_once('>')?;
            let uri = uri.trim();
            is_uri(uri).then_some((uri, after))
        });
        let (uri, after) = bracketed.unwrap_or(("", value));
        let params = read_params(after);
        (!uri.is_empty() || !params.is_empty()).then_some(Self { uri, params })
    }

    pub fn param(&self, name: &str) -> Option<&'a str> {
        param(&self.params, name)
    }
}

fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(s, r)| is_token(s) && !r.is_empty())
        && !text.bytes().any(|b| matches!(b, b' ' | b'\t' | b'<' | b'"'))
}

/// The text after a leading quoted string; the whole text if there is none, `None` if the quote does not end.
fn after_quoted(value: &str) -> Option<&str> {
    let Some(rest) = value.strip_prefix('"') else { return Some(value) };
    let mut escaped = false;
    for (i, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(&rest[i + 1..]),
            _ => {}
        }
    }
    None
}

/// One Via: `SIP / 2.0 / UDP host[:port] *(;param)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via<'a> {
    /// `host[:port]`.
    pub sent_by: &'a str,
    params: Params<'a>,
}

impl<'a> Via<'a> {
    pub fn parse(value: &'a str) -> Option<Self> {
        let (sent_by, params) = Self::parts(value)?;
        Some(Self { sent_by, params: params_of(params)? })
    }

    /// With parameters that can be read; the others are passed over.
    pub fn read(value: &'a str) -> Option<Self> {
        let (sent_by, params) = Self::parts(value)?;
        Some(Self { sent_by, params: read_params(params) })
    }

    /// Sent-by and the text of the parameters.
    fn parts(value: &'a str) -> Option<(&'a str, &'a str)> {
        let (protocol, rest) = value.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        let rest = rest.trim_start();
        let (transport, rest) = rest.split_once([' ', '\t'])?;
        if !protocol.trim().eq_ignore_ascii_case("SIP") || version.trim() != "2.0" || !is_token(transport) {
            return None;
        }
        let end = rest.find(';').unwrap_or(rest.len());
        let sent_by = rest[..end].trim();
        if sent_by.is_empty() || sent_by.contains(['<', '"', ',']) {
            return None;
        }
        Some((sent_by, &rest[end..]))
    }

    pub fn param(&self, name: &str) -> Option<&'a str> {
        param(&self.params, name)
    }

    /// RFC 3261 §8.1.1.7: the cookie, and something after it. An older one cannot tell transactions apart.
    pub fn branch(&self) -> Option<&'a str> {
        let cookie = |b: &str| b.get(..COOKIE.len()).is_some_and(|c| c.eq_ignore_ascii_case(COOKIE));
        self.param("branch").filter(|b| b.len() > COOKIE.len() && cookie(b))
    }
}

/// `host[:port]` as in a Via's sent-by and in a SIP URI (RFC 3261 §25.1): an IPv6 address in brackets, a port of 1 to
/// 65535. `None` for anything else.
pub fn host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let text = text.trim();
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (inner, after) = rest.split_once(']')?;
        ipv6(inner)?;
        let after = after.trim_start();
        let port = if after.is_empty() { None } else { Some(after.strip_prefix(':')?) };
        (inner, port)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host.trim_end(), Some(port)),
            None => (text, None),
        }
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if host.is_empty() || !text.starts_with('[') && !host.bytes().all(is_name) {
        return None;
    }
    let port = match port.map(str::trim) {
        None => None,
        Some(p) => Some(super::digits(p).and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0)?),
    };
    Some((host, port))
}

/// RFC 5118 §4.10: the grammar of RFC 3261 allows three colons before an IPv4 address by mistake.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok().or_else(|| text.replacen(":::", "::", 1).parse().ok())
}

/// Address and port of `host[:port]` or of a SIP URI, if the host is an address.
pub fn host_addr(uri: &str) -> Option<SocketAddr> {
    let rest = match uri.get(..4) {
        Some(scheme) if scheme.eq_ignore_ascii_case("sip:") => &uri[4..],
        _ => uri,
    };
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let (host, port) = host_port(rest.split([';', '?']).next()?)?;
    let ip = host.parse().ok().or_else(|| ipv6(host).map(IpAddr::V6))?;
    Some(SocketAddr::new(ip, port.unwrap_or(5060)))
}

/// A parameter of a SIP URI (RFC 3261 §19.1.1): what follows the host and is no header. Empty if it has no value.
pub fn uri_param<'a>(uri: &'a str, name: &str) -> Option<&'a str> {
    let rest = uri.rsplit_once('@').map_or(uri, |(_, host)| host);
    let rest = rest.split('?').next()?;
    rest.split(';').skip(1).find_map(|p| {
        let (n, value) = p.split_once('=').unwrap_or((p, ""));
        n.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The user part of a SIP URI, or the number of a tel URI, without its parameters and with `%` escapes undone.
pub fn user_of(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    let user = if scheme.eq_ignore_ascii_case("tel") {
        rest
    } else if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") {
        rest.rsplit_once('@')?.0
    } else {
        return None;
    };
    unescape(user.split([';', ':']).next()?)
}

/// RFC 3261 §19.1.2; never twice.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let hex = [bytes.next()?, bytes.next()?];
            let hex = std::str::from_utf8(&hex).ok()?;
            out.push(u8::from_str_radix(hex, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_of_every_kind() {
        for (value, uri, tag) in [
            ("sip:a@b.example;tag=1", "sip:a@b.example", Some("1")),
            ("<sip:a@b.example;lr>;tag=1", "sip:a@b.example;lr", Some("1")),
            ("\"A, \\\"<B>\" <sip:a@b>", "sip:a@b", None),
            ("caller<sip:a@b>  ;  tag =  x ", "sip:a@b", Some("x")),
            ("two tokens <tel:+81-3>", "tel:+81-3", None),
            ("HQ (Tokyo) <sip:a@b>;tag=t", "sip:a@b", Some("t")),
            ("東京支店 <sip:a@b>", "sip:a@b", None),
            ("sip:a@b:5060;+sip.instance=\"<urn:gsma:imei:0-0-0>\";tag=t", "sip:a@b:5060", Some("t")),
            ("<sip:a@b>;x=\"a;tag=no,<sip:c@d>\";tag=t", "sip:a@b", Some("t")),
        ] {
            let parsed = NameAddr::parse(value).expect(value);
            assert_eq!((parsed.uri, parsed.param("tag")), (uri, tag), "{value}");
        }
        for bad in
            ["", "\"A <sip:a@b>", "A, B <sip:a@b>", "< sip:a@b>", "<sip:a@b", "<sip:a@b>;;", "sip:a@b?x=y"]
        {
            assert_eq!(NameAddr::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_decides_nothing_is_passed_over_where_it_must() {
        for (value, uri, tag) in [
            ("\"\"unknown\"\" <sip:a@b>;tag=1", "sip:a@b", Some("1")),
            ("\"open <sip:a@b>;tag=1", "sip:a@b", Some("1")),
            ("A, B < sip:a@b >;tag=1", "sip:a@b", Some("1")),
            ("<sip:a@b>;;tag=1;", "sip:a@b", Some("1")),
            ("<sip:a@b> junk ;tag=1", "sip:a@b", Some("1")),
            ("no uri;tag=1", "", Some("1")),
            ("A, B <sip:a@b>;x=\"a;tag=no\";tag=1", "sip:a@b", Some("1")),
        ] {
            let read = NameAddr::read(value).expect(value);
            assert_eq!((read.uri, read.param("tag")), (uri, tag), "{value}");
        }
        assert_eq!(NameAddr::read(""), None);
    }

    #[test]
    fn vias_with_white_space_and_without_sense() {
        let via = Via::parse("SIP / 2.0 / UDP  [2001:db8::1]:5070 ; branch = z9hG4bKx;rport").expect("valid");
        assert_eq!(
            (via.sent_by, via.branch(), via.param("rport")),
            ("[2001:db8::1]:5070", Some("z9hG4bKx"), Some(""))
        );
        assert_eq!(host_addr(via.sent_by), "[2001:db8::1]:5070".parse().ok());
        for bad in
            ["SIP/2.0/UDP 192.0.2.15;;", "SIP/3.0/UDP a", "SIP/2.0 a", "SIP/2.0/UDP ;branch=x", "SIP/2.0/UDP"]
        {
            assert_eq!(Via::parse(bad), None, "{bad}");
        }
        for odd in [
            ";;branch=z9hG4bKx;",
            ";received=\"1.2.3.4;x\";branch=z9hG4bKx",
            ";a b;branch = z9hG4bKx;c=\"open",
        ] {
            let value = format!("SIP/2.0/UDP 192.0.2.15{odd}");
            let via = Via::read(&value).expect("sent-by can be read");
            assert_eq!((via.sent_by, via.branch()), ("192.0.2.15", Some("z9hG4bKx")), "{odd}");
        }
        assert_eq!(Via::parse("SIP/2.0/UDP a;branch=z9hG4bK").expect("valid").branch(), None);
    }

    #[test]
    fn users_and_hosts() {
        assert_eq!(user_of("sip:03%388881001;x=y:pw@h").as_deref(), Some("0388881001"));
        assert_eq!(user_of("tel:+81388881001;phone-context=x").as_deref(), Some("+81388881001"));
        assert_eq!(user_of("sip:h.example"), None);
        assert_eq!(user_of("sip:%zz@h"), None);
        assert_eq!(host_addr("sip:u@192.0.2.1;lr"), "192.0.2.1:5060".parse().ok());
        assert_eq!(host_addr("sip:u@host.example:5062"), None);
        assert_eq!(host_addr("sip:u@[2001:db8:::192.0.2.1];lr"), "[2001:db8::192.0.2.1]:5060".parse().ok());
        for bad in [
            "192.0.2.1:0",
            "192.0.2.1:65536",
            "192.0.2.1:",
            "192.0.2.1:x",
            "192.0.2.1:+5",
            "2001:db8::1",
            ":5060",
            "[2001:db8::1",
            "[192.0.2.1]",
            "[2001:db8::1]5060",
            "a b",
            "ex<ample",
            "",
            "host:5060:1",
            "[]",
            "a,b",
        ] {
            assert_eq!(host_port(bad), None, "{bad}");
        }
        assert_eq!(host_port(" proxy.example : 5062 "), Some(("proxy.example", Some(5062))));
        assert_eq!(host_port("[2001:db8::1]:5062"), Some(("2001:db8::1", Some(5062))));
    }

    #[test]
    fn parameters_of_a_uri_are_no_substrings() {
        for (uri, lr) in [
            ("sip:p.example;lr", Some("")),
            ("sip:p.example;transport=udp;LR=on", Some("on")),
            ("sip:p.example;lrx", None),
            ("sip:p.example;x=;lr", Some("")),
            ("sip:u;lr@p.example", None),
            ("sip:p.example;x=a;lr", Some("")),
            ("sip:p.example?x=;lr", None),
            ("sip:p.example;maddr=lr", None),
        ] {
            assert_eq!(uri_param(uri, "lr"), lr, "{uri}");
        }
    }
}
