//! Sends the probes of all kinds. Every error is the end of a probe, and so evidence; nothing here stops the task.

use super::bfd::Bfd;
use super::icmp::Icmp;
use super::socket::{Exit, meaning};
use super::{dns, http, tcp, udp};
use crate::clock;
use sipsec_track::config::{Operation, Probe};
use sipsec_track::view::ReturnCode;
use sipsec_track::{Input, Outcome};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Probes of TCP, UDP, DNS and HTTP under way; each is a socket and a task.
const RUNNING_MAX: usize = 4096;

#[derive(Debug)]
pub struct Probes {
    operations: HashMap<u32, Planned>,
    icmp: Icmp,
    bfd: Bfd,
    running: JoinSet<()>,
    results: mpsc::Sender<Input>,
}

#[derive(Clone, Debug)]
struct Planned {
    probe: Probe,
    exit: Exit,
    timeout: Duration,
}

fn target(probe: &Probe) -> IpAddr {
    match probe {
        Probe::IcmpEcho { target } | Probe::IcmpJitter { target, .. } | Probe::Bfd { target, .. } => *target,
        Probe::TcpConnect { target } | Probe::UdpEcho { target } => target.ip(),
        Probe::Dns { server, .. } | Probe::Http { server, .. } => server.ip(),
    }
}

impl Probes {
    pub fn new(operations: &[Operation], results: mpsc::Sender<Input>) -> Self {
        let mut probes = Self {
            operations: HashMap::new(),
            bfd: Bfd::new(results.clone()),
            icmp: Icmp::new(results.clone()),
            running: JoinSet::new(),
            results,
        };
        probes.reconfigure(operations);
        probes
    }

    /// Other operations. Probes under way end as they would have; the core knows which of them still count.
    pub fn reconfigure(&mut self, operations: &[Operation]) {
        let planned = |o: &Operation| {
            let exit = Exit { v6: target(&o.probe).is_ipv6(), source: o.source, device: o.device.clone() };
            (o.id, Planned { probe: o.probe.clone(), exit, timeout: o.timeout })
        };
        let before = std::mem::replace(&mut self.operations, operations.iter().map(planned).collect());
        let now = &self.operations;
        self.bfd.keep(|id| before.get(id).map(|p| &p.exit) == now.get(id).map(|p| &p.exit));
        for planned in self.operations.values().filter(|p| matches!(p.probe, Probe::Bfd { .. })) {
            self.bfd.listen(planned.exit.v6);
        }
    }

    /// Sends a probe. Returns how it has ended, if it has ended at once.
    pub fn send(&mut self, operation: u32, probe: u64) -> Option<Outcome> {
        let planned = self.operations.get(&operation)?;
        if let Probe::IcmpEcho { target } | Probe::IcmpJitter { target, .. } = planned.probe {
            return self.icmp.send(&planned.exit, target, operation, probe).err().map(Err);
        }
        while self.running.try_join_next().is_some() {}
        if self.running.len() >= RUNNING_MAX {
            return Some(Err(ReturnCode::NotSent));
        }
        let (planned, results) = (planned.clone(), self.results.clone());
        self.running.spawn(async move {
            let began = clock::now();
            let ended = tokio::time::timeout(planned.timeout, run(&planned, operation, probe)).await;
            let outcome = match ended {
                Ok(Ok(())) => Ok(clock::now().saturating_duration_since(began)),
                Ok(Err(error)) => Err(meaning(&error)),
                // The core's own timeout has ended it.
                Err(_) => return,
            };
            // Without the task the report has no reader.
            let _ = results.send(Input::ProbeEnded { operation, probe, outcome }).await;
        });
        None
    }

    pub fn send_bfd(&mut self, operation: u32, bytes: &[u8]) {
        let Some(planned) = self.operations.get(&operation) else { return };
        if let Err(code) = self.bfd.send(operation, &planned.exit, target(&planned.probe), bytes) {
            // The neighbour hears nothing; the detection time of both ends judges.
            tracing::debug!(operation, %code, "a BFD packet was not sent");
        }
    }
}

async fn run(planned: &Planned, operation: u32, probe: u64) -> io::Result<()> {
    match &planned.probe {
        Probe::TcpConnect { target } => tcp::connect(&planned.exit, *target).await.map(drop),
        Probe::UdpEcho { target } => {
            let token = format!("sipsec {operation} {probe}");
            udp::echo(&planned.exit, *target, token.as_bytes()).await
        }
        Probe::Dns { server, query } => {
            let mut id = [0; 2];
            getrandom::fill(&mut id).map_err(|_| io::Error::other("no randomness"))?;
            dns::ask(&planned.exit, *server, query, u16::from_be_bytes(id)).await
        }
        Probe::Http { server, path } => http::get(&planned.exit, *server, path).await,
        Probe::IcmpEcho { .. } | Probe::IcmpJitter { .. } | Probe::Bfd { .. } => Ok(()),
    }
}
