//! Where packets were lost: every counter of drops between the LANs, before and after.

use super::error::LabError;
use super::netns::Namespace;
use super::scenario::support::ask;
use super::world::World;
use std::collections::BTreeMap;

/// Counters by their place and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops(BTreeMap<String, u64>);

impl Drops {
    /// All of them now.
    pub fn read(world: &World) -> Result<Self, LabError> {
        let mut drops = Self::default();
        let t = &world.topology;
        for namespace in [&t.branch_lan, &t.branch, &t.carrier, &t.headend, &t.centre_lan] {
            drops.kernel(namespace)?;
        }
        let softnet = std::fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
        drops.put("kernel", [("backlog of a core (netdev_max_backlog)", backlog(&softnet))]);
        for gateway in [&world.branch, &world.headend].into_iter().flatten() {
            let shown = ask(gateway, &["show", "dataplane"])?;
            let place = format!("{} dataplane", gateway.name);
            for (reason, count) in shown["drops"].as_object().into_iter().flatten() {
                drops.put(&place, [(reason.as_str(), count.as_u64().unwrap_or_default())]);
            }
            for port in shown["ports"].as_array().into_iter().flatten() {
                let device = port["device"].as_str().unwrap_or_default();
                let place = format!("{place}, sockets of {device}");
                let names = ["rx_dropped", "rx_ring_full", "rx_fill_empty", "tx_invalid"];
                drops.put(&place, names.map(|name| (name, port[name].as_u64().unwrap_or_default())));
            }
            drops.put(
                &place,
                [("events_lost", shown["counters"]["events_lost"].as_u64().unwrap_or_default())],
            );
        }
        Ok(drops)
    }

    fn kernel(&mut self, namespace: &Namespace) -> Result<(), LabError> {
        let (snmp, devices) = namespace.run(|| {
            let read = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
            Ok((read("snmp")?, read("dev")?))
        })?;
        let protocols =
            [("Udp", "RcvbufErrors"), ("Udp", "SndbufErrors"), ("Ip", "InDiscards"), ("Ip", "OutDiscards")];
        for (protocol, name) in protocols {
            if let Some(count) = protocol_counter(&snmp, protocol, name) {
                self.put(namespace.name(), [(format!("{protocol} {name}").as_str(), count)]);
            }
        }
        for (device, [received, sent]) in device_drops(&devices) {
            self.put(
                &format!("{} {device}", namespace.name()),
                [("rx dropped", received), ("tx dropped", sent)],
            );
        }
        Ok(())
    }

    fn put<'a>(&mut self, place: &str, counters: impl IntoIterator<Item = (&'a str, u64)>) {
        for (name, count) in counters {
            *self.0.entry(format!("{place}: {name}")).or_default() += count;
        }
    }

    /// What has grown since.
    #[must_use]
    pub fn grown(&self, before: &Self) -> BTreeMap<String, u64> {
        let grew = |(name, now): (&String, &u64)| {
            let grew = now.saturating_sub(before.0.get(name).copied().unwrap_or_default());
            (grew > 0).then(|| (name.clone(), grew))
        };
        self.0.iter().filter_map(grew).collect()
    }
}

/// A counter of `/proc/net/snmp`: a line of names, and one of numbers.
pub fn protocol_counter(snmp: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split_ascii_whitespace().position(|n| n == name)?;
    numbers.split_ascii_whitespace().nth(at)?.parse().ok()
}

/// The columns `drop` of `/proc/net/dev`, received and sent.
fn device_drops(text: &str) -> Vec<(String, [u64; 2])> {
    let device = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect();
        Some((name.trim().to_owned(), [*numbers.get(3)?, *numbers.get(11)?]))
    };
    text.lines().filter_map(device).collect()
}

/// The second column of `/proc/net/softnet_stat`, over all cores.
fn backlog(softnet: &str) -> u64 {
    let dropped = |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(1)?, 16).ok();
    softnet.lines().filter_map(dropped).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_names() {
        let snmp = "Ip: Forwarding InDiscards\nIp: 1 7\n\
                    Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\nUdp: 1 2 3 4 5 6\n\
                    UdpLite: RcvbufErrors\nUdpLite: 9\n";
        assert_eq!(protocol_counter(snmp, "Udp", "RcvbufErrors"), Some(5));
        assert_eq!(protocol_counter(snmp, "Ip", "InDiscards"), Some(7));
        assert_eq!(protocol_counter(snmp, "Udp", "NoSuch"), None);
        let devices = "Inter-|   Receive                                                |  Transmit\n \
                       face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n\
                       \x20   lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n\
                       \x20 wan0: 100 10 0 3 0 0 0 0 200 20 0 4 0 0 0 0\n";
        let found = device_drops(devices);
        assert_eq!(found, [("lo".to_owned(), [0, 0]), ("wan0".to_owned(), [3, 4])]);
        assert_eq!(backlog("0000aaaa 00000010 00000000\n0000bbbb 00000001 00000002\n"), 17);
    }

    #[test]
    fn only_what_has_grown_is_shown() {
        let drops = |a, b| {
            let mut drops = Drops::default();
            drops.put("wan0", [("rx dropped", a), ("tx dropped", b)]);
            drops
        };
        let grown = drops(5, 3).grown(&drops(1, 3));
        assert_eq!(grown, [("wan0: rx dropped".to_owned(), 4)].into());
    }
}
