//! `sla:`

use super::item::{Item, Table, all};
use super::text::{device, domain_name, is_host, label};
use crate::diagnose::{Problem, shown_raw};
use crate::model::{Operation, Probe, ProbeType, Times, Word};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Operations of one gateway.
pub const OPERATIONS_MAX: usize = 20_000;
const FREQUENCY_MS: u64 = 1000;
const TIMEOUT_MS_MAX: u64 = 5000;
const ECHO_PORT: u16 = 7;
const DNS_PORT: u16 = 53;
const HTTP_PORT: u16 = 80;
const PATH_MAX: usize = 1024;

pub fn read(item: &Item<'_>) -> Option<Vec<Operation>> {
    let wanted = item.list()?.len();
    if wanted > OPERATIONS_MAX {
        let message = format!("{wanted} operations are more than {OPERATIONS_MAX}");
        let hint = "let several tracks share one operation";
        item.report(Problem::error("sla::too-many", &item.path, message).hint(hint));
        return None;
    }
    let mut seen = Ids::default();
    all(item, |entry| operation(entry, &mut seen))
}

/// Numbers that were given away, with the place of each.
#[derive(Default)]
pub struct Ids(HashMap<u32, String>);

impl Ids {
    /// The number at `id`, if it is free.
    pub fn claim(&mut self, table: &Table<'_>, code: &'static str, what: &str) -> Option<u32> {
        let item = table.required("id")?;
        let id: u32 = item.int()?;
        if let Some(first) = self.0.get(&id) {
            let problem = Problem::error(code, &item.path, format!("{what} {id} appears twice"));
            item.report(problem.label(format!("already {first}")).hint("give each a number of its own"));
            return None;
        }
        self.0.insert(id, item.path.to_string());
        Some(id)
    }
}

fn operation(item: &Item<'_>, seen: &mut Ids) -> Option<Operation> {
    let table = item.table()?;
    let id = seen.claim(&table, "sla::duplicate", "operation");
    let name = table.value("name", None, |i| label(i).map(Some));
    let kind = table.required("type").and_then(|i| i.word::<ProbeType>());
    let target = table.required("target").and_then(|i| address(&i));
    let source = table.value("source", None, |i| address(i).map(Some));
    let device = table.value("device", None, |i| device(i, 0).map(Some));
    let probe = kind.and_then(|kind| probe(&table, kind));
    let times = kind
        .and_then(|kind| (kind != ProbeType::Bfd).then(|| times(&table)).map_or(Some(None), |t| t.map(Some)));
    let (up_count, down_count) = (table.int("up_count"), table.int("down_count"));
    let start = table.word("start");
    let lifetime = table.int_or_absent("lifetime_s").map(|s| s.map(Duration::from_secs));
    let fits = kind.is_some_and(|kind| belongs(&table, kind));
    table.finish();
    let (target, source) = (target?, source?);
    if let Some(source) = source.filter(|source| source.is_ipv6() != target.is_ipv6()) {
        let message = format!("{target} cannot be probed from {source}: the address families differ");
        let problem = Problem::error("sla::family", &table.path.key("source"), message);
        table.report(problem.hint("write a source of the target's family, or leave it out"));
        return None;
    }
    let built = Operation {
        id: id?,
        name: name?,
        probe: probe?,
        target,
        source,
        device: device?,
        times: times?,
        up_count: up_count?,
        down_count: down_count?,
        start: start?,
        lifetime: lifetime?,
    };
    (fits && series_fits(&table, &built)).then_some(built)
}

/// The keys that not every kind of probe has.
fn belongs(table: &Table<'_>, kind: ProbeType) -> bool {
    use ProbeType::{Bfd, Dns, Http, IcmpEcho, IcmpJitter, TcpConnect, UdpEcho};
    const KEYS: [(&str, &[ProbeType]); 11] = [
        ("port", &[TcpConnect, UdpEcho, Dns, Http]),
        ("query", &[Dns]),
        ("path", &[Http]),
        ("frequency_ms", &[IcmpEcho, IcmpJitter, TcpConnect, UdpEcho, Dns, Http]),
        ("timeout_ms", &[IcmpEcho, IcmpJitter, TcpConnect, UdpEcho, Dns, Http]),
        ("threshold_ms", &[IcmpEcho, IcmpJitter, TcpConnect, UdpEcho, Dns, Http]),
        ("packets", &[IcmpJitter]),
        ("interval_ms", &[IcmpJitter]),
        ("transmit_ms", &[Bfd]),
        ("receive_ms", &[Bfd]),
        ("multiplier", &[Bfd]),
    ];
    let mut ok = true;
    for (key, kinds) in KEYS {
        if let Some(item) = table.optional(key).filter(|_| !kinds.contains(&kind)) {
            let words: Vec<_> = kinds.iter().map(|kind| kind.word()).collect();
            let message = format!("`{key}` has no meaning for {}", kind.word());
            let hint = format!("remove it: it belongs to {}", words.join(", "));
            item.report(Problem::error("sla::key", &item.path, message).at_key().hint(hint));
            ok = false;
        }
    }
    ok
}

fn probe(table: &Table<'_>, kind: ProbeType) -> Option<Probe> {
    let port = |default: u16| Some(table.int_or_absent("port")?.unwrap_or(default));
    let ms = |key, default| Some(Duration::from_millis(table.int_or_absent(key)?.unwrap_or(default)));
    Some(match kind {
        ProbeType::IcmpEcho => Probe::IcmpEcho,
        ProbeType::IcmpJitter => Probe::IcmpJitter {
            packets: table.int_or_absent("packets")?.unwrap_or(10),
            interval: ms("interval_ms", 20)?,
        },
        ProbeType::TcpConnect => Probe::TcpConnect { port: needed(table, "port", kind)?.int()? },
        ProbeType::UdpEcho => Probe::UdpEcho { port: port(ECHO_PORT)? },
        ProbeType::Dns => {
            Probe::Dns { port: port(DNS_PORT)?, query: domain_name(&needed(table, "query", kind)?)? }
        }
        ProbeType::Http => {
            Probe::Http { port: port(HTTP_PORT)?, path: table.value("path", "/".to_owned(), url_path)? }
        }
        ProbeType::Bfd => Probe::Bfd {
            transmit: ms("transmit_ms", 50)?,
            receive: ms("receive_ms", 50)?,
            multiplier: table.int_or_absent("multiplier")?.unwrap_or(3),
        },
    })
}

/// A key that this kind of probe cannot do without.
fn needed<'a>(table: &Table<'a>, key: &'static str, kind: ProbeType) -> Option<Item<'a>> {
    let item = table.optional(key);
    if item.is_none() {
        let message = format!("`{}` is missing: {} needs it", table.path.key(key), kind.word());
        let example = if key == "port" { "port: 443" } else { "query: www.example" };
        let problem = Problem::error("config::missing", &table.path.key(key), message).at_key();
        table.report(problem.label(format!("`{key}` belongs here")).hint(format!("add `{example}`")));
    }
    item
}

fn times(table: &Table<'_>) -> Option<Times> {
    let frequency = table.int_or_absent("frequency_ms")?.unwrap_or(FREQUENCY_MS);
    let timeout = table.int_or_absent("timeout_ms")?.unwrap_or(frequency.min(TIMEOUT_MS_MAX));
    let threshold = table.int_or_absent("threshold_ms")?.unwrap_or(timeout);
    let wrong = |key: &'static str, message: String, max: u64| {
        let problem = Problem::error("sla::times", &table.path.key(key), message);
        table.report(problem.label(format!("at most {max}")).hint(format!("write {max} or less")));
        None
    };
    if timeout > frequency {
        let message = format!("a timeout of {timeout} ms is longer than the frequency, {frequency} ms");
        return wrong("timeout_ms", message, frequency);
    }
    if threshold > timeout {
        let message = format!("a threshold of {threshold} ms is longer than the timeout, {timeout} ms");
        return wrong("threshold_ms", message, timeout);
    }
    Some(Times {
        frequency: Duration::from_millis(frequency),
        timeout: Duration::from_millis(timeout),
        threshold: Duration::from_millis(threshold),
    })
}

/// A series has ended before the next one begins.
fn series_fits(table: &Table<'_>, operation: &Operation) -> bool {
    let (Probe::IcmpJitter { packets, interval }, Some(times)) = (&operation.probe, operation.times) else {
        return true;
    };
    let takes = interval.saturating_mul(u32::from(*packets)).saturating_add(times.timeout);
    if takes <= times.frequency {
        return true;
    }
    let message = format!(
        "{packets} packets at intervals of {} ms and the timeout take {} ms, longer than the frequency, {} ms",
        interval.as_millis(),
        takes.as_millis(),
        times.frequency.as_millis()
    );
    let problem = Problem::error("sla::times", &table.path.key("packets"), message);
    let hint =
        format!("write `frequency_ms: {}` or more, fewer packets or a shorter timeout", takes.as_millis());
    table.report(problem.hint(hint));
    false
}

fn address(item: &Item<'_>) -> Option<IpAddr> {
    const HINT: &str = "write the address of a host, as in 10.11.11.1; names are not resolved";
    let ip: IpAddr = item.parse("an address", HINT)?;
    if !is_host(ip) {
        item.bad_value(&ip.to_string(), "the address of a host", HINT);
        return None;
    }
    Some(ip)
}

/// RFC 9112 §3.2.1 origin-form, as it goes into the request line.
fn url_path(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    if !text.starts_with('/') || text.len() > PATH_MAX || !text.chars().all(|c| c.is_ascii_graphic()) {
        let hint = format!("write /PATH of visible ASCII characters, at most {PATH_MAX}");
        item.bad_value(&shown_raw(text), "the path of a URL", &hint);
        return None;
    }
    Some(text.to_owned())
}
