//! What the scenarios of faults share: many tunnels at once, and the journal as another release would leave it.

use super::support::ensure_in;
use crate::lab::error::LabError;
use crate::lab::world::World;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::PathBuf;

/// Many tunnels between the two gateways, each with a number of its own at the head-end.
pub mod many {
    use super::{LabError, World, ensure_in};
    use crate::lab::carrier::{Account, Config, Knobs, Server};
    use crate::lab::interrupt::wait_for;
    use crate::lab::profile::Profile;
    use crate::lab::topology::Topology;
    use crate::lab::world::{BRANCH_NUMBER, DOMAIN, HEADEND_NUMBER, carrier_address};
    use std::fmt::Write as _;
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::{Duration, Instant};

    /// The prefixes of all of them; what comes out of a tunnel must not take the head-end's default route.
    pub const PREFIXES: &str = "10.96.0.0/11";
    /// Second byte of the branch's networks, from that of the head-end's.
    const BRANCH_SIDE: u8 = 50;
    /// A packet that found no call, or whose call failed, is sent again after this.
    const AGAIN: Duration = Duration::from_secs(6);
    const ONE: &str = "  - name: Tunnel1\n    local_number: ";

    pub fn number(i: usize) -> String {
        format!("03777{i:05}")
    }

    fn network(i: usize) -> [u8; 3] {
        let [.., high, low] = i.to_be_bytes();
        [10, 100 + high, low]
    }

    /// A host behind the head-end that only this tunnel leads to, and one behind the branch.
    pub fn hosts(i: usize) -> (Ipv4Addr, Ipv4Addr) {
        let [a, b, c] = network(i);
        (Ipv4Addr::new(a, b, c, 1), Ipv4Addr::new(a, b + BRANCH_SIDE, c, 1))
    }

    /// A carrier for all of them that asks for no credentials, and its socket.
    pub fn carrier(topology: &Topology, calls: usize) -> Result<(Server, UdpSocket), LabError> {
        let address = carrier_address();
        let socket = topology.carrier.run(|| UdpSocket::bind(address))?;
        let own = socket.try_clone().map_err(LabError::io("carrier"))?;
        let account = |number: String| Account { username: number.clone(), number, password: String::new() };
        let accounts = (0..calls).map(number).chain([BRANCH_NUMBER.to_owned()]).map(account).collect();
        let knobs = Knobs { authenticate_register: false, ..Knobs::default() };
        let (others, lines) = (Vec::new(), Vec::new());
        let config = Config { address, others, domain: DOMAIN.into(), accounts, lines, relay: None, knobs };
        Ok((Server::start(vec![socket], None, config).map_err(LabError::io("carrier"))?, own))
    }

    /// Of branch and head-end, with `calls` tunnels and no other.
    pub fn profiles(world: &World, calls: usize) -> Result<(Profile, Profile), LabError> {
        let (mut at_branch, mut at_headend, mut lines) = (String::new(), String::new(), String::new());
        for i in 0..calls {
            let (number, [a, b, c]) = (number(i), network(i));
            let tunnel = |out: &mut String, local: &str, remote: &str, route: String| {
                let _ = writeln!(
                    out,
                    "  - {{ name: T{i}, local_number: \"{local}\", remote_number: \"{remote}\", bandwidth_kbps: 64, \
                     idle_s: 600, routes: [{route}] }}"
                );
            };
            tunnel(&mut at_branch, BRANCH_NUMBER, &number, format!("{a}.{b}.{c}.0/24"));
            tunnel(&mut at_headend, &number, BRANCH_NUMBER, format!("{a}.{}.{c}.0/24", b + BRANCH_SIDE));
            let _ = writeln!(lines, "    - {{ number: \"{number}\" }}");
        }
        let branch = world.profile("branch")?;
        let branch = branch.with("{ number: \"0388882001\", psk", "{ number: any, psk")?;
        let branch = branch.replacing(ONE, "\ndataplane:", &at_branch)?;
        let headend = world.profile("headend")?;
        let headend = headend.with(&format!("    - number: \"{HEADEND_NUMBER}\"\n"), &lines)?;
        let headend = headend.replacing("      auth: ", "\nike:", "")?;
        Ok((branch, headend.replacing(ONE, "\ndataplane:", &at_headend)?))
    }

    /// Both gateways with `calls` tunnels and no other, registered.
    pub fn start(world: &mut World, calls: usize) -> Result<(), LabError> {
        let (branch, headend) = profiles(world, calls)?;
        world.topology.headend.ip(&["route", "add", "blackhole", PREFIXES])?;
        world.start_unrouted(&branch, &headend)?;
        wait_registered(world, calls)
    }

    pub fn wait_registered(world: &mut World, calls: usize) -> Result<(), LabError> {
        let numbers: Vec<String> = (0..calls).map(number).collect();
        let mut wanted: Vec<&str> = numbers.iter().map(String::as_str).collect();
        wanted.push(BRANCH_NUMBER);
        world.wait_registered(&wanted)
    }

    /// One packet into each tunnel, until all have a call.
    pub fn call_all(world: &World, calls: usize, limit: Duration) -> Result<(), LabError> {
        let socket = world.topology.branch_lan.run(|| UdpSocket::bind("0.0.0.0:0"))?;
        let mut sent: Option<Instant> = None;
        wait_for("a call in every tunnel", limit, || {
            if sent.is_none_or(|at| at.elapsed() >= AGAIN) {
                for i in 0..calls {
                    let [a, b, c] = network(i);
                    // A full queue of the LAN host loses packets; they are sent again.
                    let _ = socket.send_to(&[0; 16], (Ipv4Addr::new(a, b, c, 1), 9));
                }
                sent = Some(Instant::now());
            }
            Ok((world.carrier.calls_up() == calls && all_up(world, calls)?).then_some(()))
        })
        .map_err(|e| LabError::failed(e.to_string(), crate::lab::demo::logs(world)))?;
        ensure_in(world, world.carrier.calls_up() == calls, "all are up", || world.carrier.bill_text())
    }

    fn all_up(world: &World, calls: usize) -> Result<bool, LabError> {
        let (branch, headend) = super::super::support::both(world);
        for gateway in [branch, headend] {
            let summary = super::super::support::ask(gateway, &["show", "vpn-sip", "summary"])?;
            if summary["up"] != calls {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The journal of a gateway whose control plane does not run. It has one call.
pub struct Journal(pub PathBuf);

type Calls<'a> = TableDefinition<'a, u64, &'static [u8]>;
const CALLS: Calls<'_> = TableDefinition::new("calls/1");

impl Journal {
    /// Changes the record; gives the one before.
    pub fn change(&self, change: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>, LabError> {
        let (key, before) = self.take(CALLS)?;
        let mut record = before.clone();
        change(&mut record);
        self.put(CALLS, key, &record)?;
        Ok(before)
    }

    pub fn move_to(&self, table: &str) -> Result<(), LabError> {
        let (key, record) = self.take(CALLS)?;
        self.put(TableDefinition::new(table), key, &record)
    }

    pub fn move_from(&self, table: &str) -> Result<(), LabError> {
        let (key, record) = self.take(TableDefinition::new(table))?;
        self.put(CALLS, key, &record)
    }

    fn take(&self, table: Calls<'_>) -> Result<(u64, Vec<u8>), LabError> {
        let database = self.open()?;
        let read = || -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
            let transaction = database.begin_read()?;
            let mut out = Vec::new();
            for entry in transaction.open_table(table)?.iter()? {
                let (key, value) = entry?;
                out.push((key.value(), value.value().to_vec()));
            }
            Ok(out)
        };
        let records = read().map_err(|e| self.failed(&e))?;
        let [(key, record)] = records.as_slice() else {
            return Err(LabError::failed("the journal has one call", format!("{} calls", records.len())));
        };
        let remove = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(table)?.remove(key)?;
            Ok(transaction.commit()?)
        };
        remove().map_err(|e| self.failed(&e))?;
        Ok((*key, record.clone()))
    }

    fn put(&self, table: Calls<'_>, key: u64, record: &[u8]) -> Result<(), LabError> {
        let database = self.open()?;
        let write = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(table)?.insert(key, record)?;
            Ok(transaction.commit()?)
        };
        write().map_err(|e| self.failed(&e))
    }

    fn open(&self) -> Result<Database, LabError> {
        Database::create(&self.0).map_err(|e| self.failed(&e.into()))
    }

    fn failed(&self, error: &redb::Error) -> LabError {
        LabError::failed(self.0.display().to_string(), error.to_string())
    }
}

/// The record of a call as an early release wrote it: what SIP needs alone, with the server's address and no transport.
pub fn record_before(record: &[u8]) -> Vec<u8> {
    /// Version of the records that hold the transport.
    const EARLY_VERSION: u8 = 2;
    let mut outer = Postcard { bytes: record, at: 1 }; // behind the version
    outer.skip(2); // telephone numbers
    outer.varint(); // when it began
    let len = outer.varint();
    // The last field is the record of SIP.
    let sip = &record[outer.at..outer.at + len];
    let mut inner = Postcard { bytes: sip, at: 1 };
    inner.skip(3); // Call-ID, From, To
    inner.at += 1; // whether it was answered
    inner.varint(); // CSeq
    let routes = inner.varint();
    inner.skip(routes + 1); // and the remote target
    let target = inner.at;
    inner.varint(); // transport
    let address = inner.at;
    let octets = if inner.varint() == 0 { 4 } else { 16 };
    inner.at += octets;
    inner.varint(); // port
    let end = inner.at;
    if inner.varint() == 1 {
        inner.skip(1); // the server's name
    }
    [&[EARLY_VERSION], &sip[1..target], &sip[address..end], &sip[inner.at..]].concat()
}

/// A walk over bytes that postcard wrote.
struct Postcard<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Postcard<'_> {
    fn varint(&mut self) -> usize {
        let (mut value, mut shift) = (0usize, 0);
        loop {
            let byte = self.bytes[self.at];
            self.at += 1;
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }

    /// Passes over `n` strings.
    fn skip(&mut self, n: usize) {
        for _ in 0..n {
            let len = self.varint();
            self.at += len;
        }
    }
}
