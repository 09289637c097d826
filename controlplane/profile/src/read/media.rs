//! `media:`

use super::carrier;
use super::item::Item;
use super::text::is_host;
use crate::diagnose::{Problem, shown_raw};
use crate::model::MediaSection;
use crate::model::limits::MEDIA_PORT_MIN;
use std::net::IpAddr;

pub fn read(item: &Item<'_>) -> Option<MediaSection> {
    let table = item.table()?;
    let default = MediaSection::default();
    let ports = table.value("ports", (default.port_first, default.port_last), ports);
    let source = table.value("tunnel_source", default.tunnel_source, source);
    let own = carrier::media(&table);
    table.finish();
    let (port_first, port_last) = ports?;
    Some(MediaSection { port_first, port_last, tunnel_source: source?, own: own? })
}

fn source(item: &Item<'_>) -> Option<IpAddr> {
    const HINT: &str = "write an address that nothing else uses, as in 10.255.0.1";
    let ip = item.parse("an address", HINT)?;
    if !is_host(ip) {
        item.bad_value(&ip.to_string(), "the address of a host", HINT);
        return None;
    }
    Some(ip)
}

fn ports(item: &Item<'_>) -> Option<(u16, u16)> {
    const HINT: &str = "write FIRST-LAST, as in 50000-50999";
    let text = item.text()?;
    let parsed = text
        .split_once('-')
        .and_then(|(a, b)| Some((a.trim().parse::<u32>().ok()?, b.trim().parse::<u32>().ok()?)));
    let Some((first, last)) = parsed else {
        item.bad_value(text, "a range of ports", HINT);
        return None;
    };
    let wrong = |message: String, hint: String| {
        item.report(Problem::error("media::ports", &item.path, message).label(shown_raw(text)).hint(hint));
        None
    };
    if first > last {
        return wrong(format!("the port range {text} runs backwards"), format!("write {last}-{first}"));
    }
    match (u16::try_from(first), u16::try_from(last)) {
        (Ok(first), Ok(last)) if first >= MEDIA_PORT_MIN => Some((first, last)),
        _ => wrong(format!("the port range {text} leaves {MEDIA_PORT_MIN}-65535"), HINT.to_owned()),
    }
}
