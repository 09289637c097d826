//! `media:`

use super::is_host;
use crate::config::diagnostic::Problem;
use crate::config::profile::Media;
use crate::config::reader::Item;
use std::net::{IpAddr, Ipv4Addr};

/// Ports below belong to well-known services.
const PORT_MIN: u16 = 1024;
const TUNNEL_SOURCE_DEFAULT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 255, 0, 1));

impl Default for Media {
    fn default() -> Self {
        Self { port_first: 50_000, port_last: 50_999, tunnel_source: TUNNEL_SOURCE_DEFAULT }
    }
}

pub fn read(item: &Item<'_>) -> Option<Media> {
    let table = item.table()?;
    let default = Media::default();
    let ports = match table.optional("ports") {
        Some(i) => ports(&i),
        None => Some((default.port_first, default.port_last)),
    };
    let source = match table.optional("tunnel_source") {
        Some(i) => source(&i),
        None => Some(default.tunnel_source),
    };
    table.finish();
    let (port_first, port_last) = ports?;
    Some(Media { port_first, port_last, tunnel_source: source? })
}

fn source(item: &Item<'_>) -> Option<IpAddr> {
    const CURE: &str = "write an address that nothing else uses, as in 10.255.0.1";
    let ip = item.parse("an address", CURE)?;
    if !is_host(ip) {
        item.bad_value(&ip.to_string(), "the address of a host", CURE);
        return None;
    }
    Some(ip)
}

fn ports(item: &Item<'_>) -> Option<(u16, u16)> {
    const CURE: &str = "write FIRST-LAST, as in 50000-50999";
    let text = item.text()?;
    let parsed = text
        .split_once('-')
        .and_then(|(a, b)| Some((a.trim().parse::<u32>().ok()?, b.trim().parse::<u32>().ok()?)));
    let Some((first, last)) = parsed else {
        item.bad_value(text, "a range of ports", CURE);
        return None;
    };
    let wrong = |message: String, cure: String| {
        item.report(Problem::error("media::ports", &item.path, message).label(text).cure(cure));
        None
    };
    if first > last {
        return wrong(format!("the port range {text} runs backwards"), format!("write {last}-{first}"));
    }
    match (u16::try_from(first), u16::try_from(last)) {
        (Ok(first), Ok(last)) if first >= PORT_MIN => Some((first, last)),
        _ => wrong(format!("the port range {text} leaves {PORT_MIN}-65535"), CURE.to_owned()),
    }
}
