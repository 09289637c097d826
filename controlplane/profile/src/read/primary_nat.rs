//! `nat.primary`

use super::item::{Item, Table};
use super::nat::{endpoint, ports};
use super::prefix::prefix;
use super::text::device;
use crate::diagnose::Problem;
use crate::model::primary_nat::{
    EXEMPTIONS_MAX, FORWARDS_MAX, Forward, PRIMARIES_MAX, PrimaryNat, SOURCES_MAX,
};
use sipsec_net::IpPrefix;

pub fn read(table: &Table<'_>) -> Option<Vec<PrimaryNat>> {
    let list = table.list("primary", primary)?;
    few(table, "primary", list.len(), PRIMARIES_MAX)?;
    for (i, one) in list.iter().enumerate() {
        if list[..i].iter().any(|other| other.device == one.device) {
            let path = table.path.key("primary").index(i).key("device");
            let message = format!("{} is there twice", one.device);
            table.report(Problem::error("nat::duplicate", &path, message).hint("join the two entries"));
            return None;
        }
    }
    Some(list)
}

fn primary(item: &Item<'_>) -> Option<PrimaryNat> {
    let table = item.table()?;
    let device = table.required("device").and_then(|i| device(&i, 0));
    let sources = table.required("sources").and_then(|i| super::item::all(&i, network));
    let exempt = table.list("exempt", network);
    let ports = table.value("ports", PrimaryNat::PORTS_DEFAULT, ports);
    let filtering = table.word("filtering");
    let forwards = table.list("forwards", forward);
    table.finish();
    let (sources, exempt, forwards) = (sources?, exempt?, forwards?);
    if sources.is_empty() {
        let path = table.path.key("sources");
        let problem = Problem::error("nat::sources", &path, "no host is translated");
        table.report(problem.hint("write the networks of the LAN, as in `sources: [192.168.1.0/24]`"));
        return None;
    }
    few(&table, "sources", sources.len(), SOURCES_MAX)?;
    few(&table, "exempt", exempt.len(), EXEMPTIONS_MAX)?;
    few(&table, "forwards", forwards.len(), FORWARDS_MAX)?;
    let (port_first, port_last) = ports?;
    Some(PrimaryNat {
        device: device?,
        sources,
        exempt,
        port_first,
        port_last,
        filtering: filtering?,
        forwards,
    })
}

fn few(table: &Table<'_>, key: &'static str, len: usize, max: usize) -> Option<()> {
    if len > max {
        let path = table.path.key(key);
        let problem =
            Problem::error("nat::too-many", &path, format!("{len} entries of `{key}` are more than {max}"));
        table.report(problem.hint("join networks that lie side by side"));
        return None;
    }
    Some(())
}

fn network(item: &Item<'_>) -> Option<IpPrefix> {
    let network = prefix(item, "nat::host-bits")?;
    if !network.addr().is_ipv4() {
        item.bad_value(
            &network.to_string(),
            "a network of IPv4",
            "IPv6 needs no translation here: leave it out",
        );
        return None;
    }
    Some(network)
}

fn forward(item: &Item<'_>) -> Option<Forward> {
    let table = item.table()?;
    let protocol = table.word("protocol");
    let port = table.required("port").and_then(|i| i.int());
    let local = table.required("local").and_then(|i| endpoint(&i));
    table.finish();
    Some(Forward { protocol: protocol?, port: port?, local: local? })
}
