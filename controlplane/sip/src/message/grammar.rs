//! The parts of header values that decide something (RFC 3261 §25.1).

use std::net::{IpAddr, SocketAddr};

/// What the branches of RFC 3261 begin with (§8.1.1.7).
pub const COOKIE: &str = "z9hG4bK";

pub fn is_token(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

/// Splits at a separator outside quotes and angle brackets. `None` if a quote or bracket stays open.
fn split(value: &str, at: char) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped, mut angle, mut start, mut out) = (false, false, false, 0, Vec::new());
    for (i, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            c if c == at && !quoted && !angle => {
                out.push(value[start..i].trim());
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    out.push(value[start..].trim());
    (!quoted && !angle).then_some(out)
}

/// The elements of a comma-separated list; none may be empty.
pub fn list(value: &str) -> Option<Vec<&str>> {
    // An open quote is the fault of one value, which is then judged by itself.
    let values = split(value, ',').unwrap_or_else(|| vec![value]);
    values.iter().all(|v| !v.is_empty()).then_some(values)
}

pub type Params<'a> = Vec<(&'a str, Option<&'a str>)>;

/// `;name[=value]…`; a value is a token, a host or a quoted string.
pub fn params_of(text: &str) -> Option<Params<'_>> {
    let mut parts = split(text, ';')?.into_iter();
    if !parts.next()?.is_empty() {
        return None; // something before the first semicolon
    }
    parts
        .map(|p| {
            let (name, value) = match p.split_once('=') {
                Some((n, v)) => (n.trim(), Some(v.trim())),
                None => (p, None),
            };
            is_token(name).then_some((name, value))
        })
        .collect()
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
    pub fn parse(value: &'a str) -> Option<Self> {
        let value = value.trim();
        let rest = after_quoted(value)?;
        let (uri, after) = if let Some((display, bracketed)) = rest.split_once('<') {
            // Without quotes the display name is tokens (RFC 4475 §3.1.2.15).
            let tokens = |s: &str| s.split_ascii_whitespace().all(is_token);
            if rest.len() == value.len() && !tokens(display)
                || rest.len() < value.len() && !display.trim().is_empty()
            {
                return None;
            }
            bracketed.split_once('>')?
        } else if rest.len() < value.len() {
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
        let is_uri = uri.split_once(':').is_some_and(|(s, r)| is_token(s) && !r.is_empty());
        if !is_uri || uri.contains([' ', '\t', '<', '"']) {
            return None;
        }
        Some(Self { uri, params: params_of(after)? })
    }

    pub fn param(&self, name: &str) -> Option<&'a str> {
        param(&self.params, name)
    }
}

/// What follows a leading quoted string; the whole if there is none, `None` if the quote does not end.
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
        Some(Self { sent_by, params: params_of(&rest[end..])? })
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

/// Address and port of `host[:port]` or of a SIP URI, if the host is an address.
pub fn host_addr(uri: &str) -> Option<SocketAddr> {
    let rest = match uri.get(..4) {
        Some(scheme) if scheme.eq_ignore_ascii_case("sip:") => &uri[4..],
        _ => uri,
    };
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = rest.split([';', '?']).next()?.trim();
    host.parse().ok().or_else(|| {
        let ip: IpAddr =
            host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).parse().ok()?;
        Some(SocketAddr::new(ip, 5060))
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
    }
}
