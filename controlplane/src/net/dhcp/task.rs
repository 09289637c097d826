//! The task that owns both clients.

use super::apply::Applied;
use super::frame::{self, Received};
use super::socket::{self, Interface, PacketSocket};
use super::{Change, Config, Store, VendorClass};
use crate::clock;
use crate::entropy::KernelEntropy;
use sipsec_dhcp::{v4, v6};
use sipsec_net::Instant;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// How often the link is asked for.
const LINK_POLL: Duration = Duration::from_millis(250);
/// Largest DHCPv6 datagram that is read.
const DATAGRAM_MAX: usize = 4096;

/// Clients and sockets of an interface that has a link.
#[derive(Debug)]
struct Running {
    interface: Interface,
    packets: Option<PacketSocket>,
    renewal: Option<std::net::UdpSocket>,
    datagrams: Option<UdpSocket>,
    v4: Option<v4::Client>,
    v6: Option<v6::Client>,
}

pub struct Task {
    config: Config,
    changes: mpsc::Sender<Change>,
    store: Store,
    applied: Applied,
    entropy: KernelEntropy,
    running: Option<Running>,
    /// The last trouble that was told, so that it is told once.
    trouble: Option<String>,
}

impl Task {
    pub fn new(config: Config, changes: mpsc::Sender<Change>) -> io::Result<Self> {
        let store = Store::open(&config.store)?;
        let applied = Applied::new()?;
        Ok(Self {
            config,
            changes,
            store,
            applied,
            entropy: KernelEntropy::new(),
            running: None,
            trouble: None,
        })
    }

    pub async fn run(mut self, mut released: oneshot::Receiver<()>) {
        let mut link = tokio::time::interval(LINK_POLL);
        link.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut packet = Vec::new();
        let mut datagram = vec![0; DATAGRAM_MAX];
        loop {
            self.drain().await;
            let due = self.due();
            let running = self.running.as_ref();
            tokio::select! {
                _ = &mut released => break,
                _ = link.tick() => self.watch_link().await,
                () = sleep_until(due) => self.timeout(),
                result = receive_packet(running, &mut packet) => match result {
                    Ok(()) => self.packet(&packet),
                    Err(error) => self.stop(&format!("the packet socket failed: {error}")).await,
                },
                result = receive_datagram(running, &mut datagram) => match result {
                    Ok(len) => self.datagram(&datagram[..len]),
                    Err(error) => self.stop(&format!("the DHCPv6 socket failed: {error}")).await,
                },
            }
        }
        self.release().await;
    }

    async fn watch_link(&mut self) {
        let device = self.config.device.clone();
        let asked = match self.applied.interface(&device).await {
            Ok(found) => found,
            // What is known stays; it is asked again at the next tick.
            Err(error) => {
                tracing::debug!(device, %error, "the interface cannot be asked for");
                return;
            }
        };
        match (asked, &self.running) {
            (Some((interface, true)), None) => self.link_up(interface).await,
            (Some((interface, true)), Some(running)) if running.interface != interface => {
                self.stop(&format!("{device} was replaced")).await;
            }
            (Some((_, true)), Some(_)) => {}
            (Some((_, false)), _) => self.stop(&format!("{device} has no link: check the cable")).await,
            (None, _) => self.stop(&format!("there is no interface {device}")).await,
        }
    }

    async fn link_up(&mut self, interface: Interface) {
        let mut wanted = v4::Wanted::Address;
        if self.config.v4.as_ref().is_some_and(|v4| !v4.address) {
            match self.applied.v4_address(&interface.name).await {
                Ok(Some(address)) => wanted = v4::Wanted::OptionsFor(address),
                Ok(None) => return self.tell(&format!("{} has no IPv4 address", interface.name)).await,
                Err(error) => {
                    return self.tell(&format!("{} cannot be asked for: {error}", interface.name)).await;
                }
            }
        }
        let device = interface.name.clone();
        match self.begin(interface, wanted) {
            Ok(running) => {
                self.trouble = None;
                self.running = Some(running);
            }
            Err(error) => self.tell(&format!("DHCP cannot use {device}: {error}")).await,
        }
    }

    fn begin(&mut self, interface: Interface, v4_wanted: v4::Wanted) -> io::Result<Running> {
        let now = clock::now();
        let mac = interface.mac.0;
        let mut running =
            Running { packets: None, renewal: None, datagrams: None, v4: None, v6: None, interface };
        if let Some(wanted) = &self.config.v4 {
            running.packets = Some(PacketSocket::open(running.interface.index)?);
            running.renewal = Some(socket::renewal_socket(&running.interface.name)?);
            let vendor_class = wanted.vendor_class.as_ref().map(|class| match class {
                VendorClass::Ntt => v4::VendorClass::ntt(mac),
                VendorClass::Other { enterprise, data } => {
                    v4::VendorClass { enterprise: *enterprise, data: data.clone() }
                }
            });
            let mut client_id = vec![1];
            client_id.extend_from_slice(&mac);
            let mut client = v4::Client::new(v4::Config {
                mac,
                wanted: v4_wanted,
                client_id: Some(client_id),
                vendor_class,
                host_name: wanted.host_name.clone(),
                last: self.store.address().map(|address| v4::LeaseHint { address }),
            });
            client.start(now, &mut self.entropy);
            running.v4 = Some(client);
        }
        if let Some(wanted) = &self.config.v6 {
            running.datagrams = Some(socket::v6_socket(&running.interface.name, running.interface.index)?);
            let vendor_class = wanted.vendor_class.as_ref().map(|class| match class {
                VendorClass::Ntt => {
                    v6::VendorClass { enterprise: sipsec_dhcp::sip_data::ENTERPRISE_NTT, data: mac.to_vec() }
                }
                VendorClass::Other { enterprise, data } => {
                    v6::VendorClass { enterprise: *enterprise, data: data.clone() }
                }
            });
            let options_alone = !(wanted.address || wanted.prefix);
            let mut client = v6::Client::new(v6::Config {
                duid: self.store.duid(mac),
                iaid: u32::from_be_bytes([mac[2], mac[3], mac[4], mac[5]]),
                wanted: if options_alone {
                    v6::Wanted::Options
                } else {
                    v6::Wanted::Lease { address: wanted.address, prefix: wanted.prefix }
                },
                vendor_class,
            });
            client.start(now, &mut self.entropy);
            running.v6 = Some(client);
        }
        Ok(running)
    }

    fn due(&self) -> Option<Instant> {
        let running = self.running.as_ref()?;
        let v4 = running.v4.as_ref().and_then(v4::Client::poll_timeout);
        let v6 = running.v6.as_ref().and_then(v6::Client::poll_timeout);
        v4.into_iter().chain(v6).min()
    }

    fn timeout(&mut self) {
        let now = clock::now();
        let Some(running) = &mut self.running else { return };
        if let Some(v4) = running.v4.as_mut().filter(|c| c.poll_timeout().is_some_and(|at| at <= now)) {
            v4.handle_timeout(now, &mut self.entropy);
        }
        if let Some(v6) = running.v6.as_mut().filter(|c| c.poll_timeout().is_some_and(|at| at <= now)) {
            v6.handle_timeout(now, &mut self.entropy);
        }
    }

    fn packet(&mut self, bytes: &[u8]) {
        let Some(Running { interface, v4: Some(client), .. }) = &mut self.running else { return };
        match frame::read(bytes, interface.mac) {
            Some(Received::Dhcp(payload)) => {
                client.handle_message(clock::now(), payload, &mut self.entropy);
            }
            Some(Received::Claim(address)) => client.handle_conflict(clock::now(), address),
            None => {}
        }
    }

    fn datagram(&mut self, bytes: &[u8]) {
        if let Some(Running { v6: Some(client), .. }) = &mut self.running {
            client.handle_message(clock::now(), bytes, &mut self.entropy);
        }
    }

    /// Does what the clients want, until they want nothing.
    async fn drain(&mut self) {
        loop {
            let Some(running) = &mut self.running else { return };
            if let Some(output) = running.v4.as_mut().and_then(v4::Client::poll_output) {
                self.do_v4(output).await;
            } else if let Some(output) = running.v6.as_mut().and_then(v6::Client::poll_output) {
                self.do_v6(output).await;
            } else {
                return;
            }
        }
    }

    async fn do_v4(&mut self, output: v4::Output) {
        let Some(running) = &self.running else { return };
        let interface = running.interface.clone();
        match output {
            v4::Output::Send { source, destination, payload } => {
                // A renewal goes by the kernel's routes; the rest is a broadcast.
                let unicast = destination != Ipv4Addr::BROADCAST;
                let sent = match (&running.renewal, &running.packets) {
                    (Some(renewal), _) if unicast => {
                        renewal.send_to(&payload, SocketAddrV4::new(destination, 67)).map(drop)
                    }
                    (_, Some(packets)) => {
                        packets.send(&frame::dhcp(interface.mac, source, destination, &payload))
                    }
                    _ => Ok(()),
                };
                if let Err(error) = sent {
                    tracing::debug!(%destination, %error, "a DHCP message was not sent; it is repeated");
                }
            }
            v4::Output::Probe(address) => {
                if let Some(packets) = &running.packets {
                    let _ = packets.send(&frame::arp_probe(interface.mac, address));
                }
            }
            v4::Output::Configure(lease) => {
                if self.config.v4.as_ref().is_some_and(|v4| v4.address) {
                    if let Err(error) = self.applied.v4(&interface, &lease, clock::now()).await {
                        tracing::warn!(%error, "a DHCP lease cannot be used");
                        return self.change(Change::V4(Err(error))).await;
                    }
                    self.store.set_address(Some(lease.address));
                }
                tracing::info!(address = %lease.address, server = %lease.server, device = interface.name, "DHCP lease");
                self.change(Change::V4(Ok(lease))).await;
            }
            v4::Output::Deconfigure { address, because } => {
                tracing::warn!(%address, %because, "the DHCP lease is gone");
                self.applied.clear(&interface, false).await;
                self.change(Change::V4(Err(because.to_string()))).await;
            }
        }
    }

    async fn do_v6(&mut self, output: v6::Output) {
        let Some(running) = &self.running else { return };
        let interface = running.interface.clone();
        match output {
            v6::Output::Send { payload } => {
                if let Some(datagrams) = &running.datagrams
                    && let Err(error) = datagrams.send_to(&payload, socket::v6_servers(interface.index)).await
                {
                    tracing::debug!(%error, "a DHCPv6 message was not sent; it is repeated");
                }
            }
            v6::Output::Configure(lease) => {
                if let Err(error) = self.applied.v6(&interface, &lease, clock::now()).await {
                    tracing::warn!(%error, "a DHCPv6 lease cannot be used");
                    return self.change(Change::V6(Err(error))).await;
                }
                tracing::info!(
                    addresses = lease.addresses.len(),
                    prefixes = lease.prefixes.len(),
                    device = interface.name,
                    "DHCPv6 lease"
                );
                self.change(Change::V6(Ok(lease))).await;
            }
            v6::Output::Deconfigure(because) => {
                tracing::warn!(%because, "the DHCPv6 lease is gone");
                self.applied.clear(&interface, true).await;
                self.change(Change::V6(Err(because.to_string()))).await;
            }
        }
    }

    /// The interface cannot be used any more.
    async fn stop(&mut self, why: &str) {
        if let Some(running) = &mut self.running {
            if let Some(v4) = &mut running.v4 {
                v4.link_down();
            }
            if let Some(v6) = &mut running.v6 {
                v6.link_down();
            }
            self.drain().await;
            self.running = None;
        }
        self.tell(why).await;
    }

    async fn tell(&mut self, why: &str) {
        if self.trouble.as_deref() != Some(why) {
            self.trouble = Some(why.to_owned());
            tracing::warn!(why, "DHCP waits");
            if self.config.v4.is_some() {
                self.change(Change::V4(Err(why.to_owned()))).await;
            }
            if self.config.v6.is_some() {
                self.change(Change::V6(Err(why.to_owned()))).await;
            }
        }
    }

    async fn release(&mut self) {
        let now = clock::now();
        if let Some(running) = &mut self.running {
            if let Some(v4) = &mut running.v4 {
                v4.release(now);
            }
            if let Some(v6) = &mut running.v6 {
                v6.release(now, &mut self.entropy);
            }
            self.drain().await;
            self.store.set_address(None);
        }
    }

    async fn change(&self, change: Change) {
        // Without a receiver the runtime has ended.
        let _ = self.changes.send(change).await;
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_duration_since(clock::now())).await,
        None => std::future::pending().await,
    }
}

async fn receive_packet(running: Option<&Running>, buffer: &mut Vec<u8>) -> io::Result<()> {
    match running.and_then(|r| r.packets.as_ref()) {
        Some(packets) => packets.receive(buffer).await,
        None => std::future::pending().await,
    }
}

async fn receive_datagram(running: Option<&Running>, buffer: &mut [u8]) -> io::Result<usize> {
    match running.and_then(|r| r.datagrams.as_ref()) {
        Some(datagrams) => datagrams.recv(buffer).await,
        None => std::future::pending().await,
    }
}
