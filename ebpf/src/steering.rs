//! The loaded programs and their maps.

use crate::attach::{self, Attached, XdpLadder};
use crate::error::SteeringError;
use crate::offload::OffloadsOff;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap as BpfHashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use core::fmt;
use sipsec_abi::bpf::{self, COUNTERS, Counter, MediaPeerKey, MediaPortKey, Owner, lpm_v4, lpm_v6};
use sipsec_net::{IpPrefix, MediaPort, TunnelId};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

static OBJECT: &[u8] = include_bytes_aligned!("../sipsec-xdp.o");

const ENOENT: i32 = 2;
const E2BIG: i32 = 7;
const ENOSPC: i32 = 28;
const BPF_NOEXIST: u64 = 1;

/// A side of the dataplane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    Outside,
    Inside,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
        })
    }
}

/// The packets that the inside program redirects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InsideProgram {
    /// Host mode, on our end of the sVTI's veth pair: every frame.
    All,
    /// Router mode, on the LAN device: packets for the prefixes of [`Steering::prefix_add`].
    Lpm,
}

/// Sizes of the maps; bounded by `sipsec_abi::bpf`'s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub media_ports_max: u32,
    pub prefixes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { media_ports_max: 16_384, prefixes_max: 16_384 }
    }
}

/// Frames counted by the programs since they were loaded, summed over CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counters([u64; COUNTERS as usize]);

impl Counters {
    #[must_use]
    pub const fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.iter().map(|c| (*c, self.get(*c)))
    }
}

/// Owns programs, maps and links. Dropping it detaches.
pub struct Steering {
    media_ports: BpfHashMap<MapData, [u8; MediaPortKey::LEN], Owner>,
    media_peers: BpfHashMap<MapData, [u8; MediaPeerKey::LEN], u32>,
    prefixes_v4: LpmTrie<MapData, [u8; 4], Owner>,
    prefixes_v6: LpmTrie<MapData, [u8; 16], Owner>,
    xsks_outside: XskMap<MapData>,
    xsks_inside: XskMap<MapData>,
    counters: PerCpuArray<MapData, u64>,
    open: HashMap<MediaPort, (MediaPortKey, MediaPeerKey)>,
    /// How many calls are live between two addresses.
    peers: HashMap<[u8; MediaPeerKey::LEN], u32>,
    outside: Option<Attached>,
    inside: Option<Attached>,
    ebpf: Ebpf,
    /// Last, so that the programs are detached when the offloads are put back.
    offloads: Vec<OffloadsOff>,
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steering")
            .field("outside", &self.outside)
            .field("inside", &self.inside)
            .field("media_ports", &self.open.len())
            .finish_non_exhaustive()
    }
}

impl Steering {
    /// Loads the programs and creates the maps. Nothing is attached yet.
    pub fn load(limits: Limits) -> Result<Self, SteeringError> {
        let media_ports_max = limits.media_ports_max.clamp(1, bpf::MEDIA_PORTS_MAX);
        let prefixes_max = limits.prefixes_max.clamp(1, bpf::PREFIXES_MAX);
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(bpf::MAP_MEDIA_PORTS, media_ports_max)
            .map_max_entries(bpf::MAP_MEDIA_PEERS, media_ports_max)
            .map_max_entries(bpf::MAP_PREFIXES_V4, prefixes_max)
            .map_max_entries(bpf::MAP_PREFIXES_V6, prefixes_max)
            .load(OBJECT)
            .map_err(|e| SteeringError::Load(Box::new(e)))?;
        for program in [bpf::PROG_OUTSIDE, bpf::PROG_INSIDE_ALL, bpf::PROG_INSIDE_LPM] {
            xdp(&mut ebpf, program)?
                .load()
                .map_err(|e| SteeringError::Verify { program, source: Box::new(e) })?;
        }
        Ok(Self {
            media_ports: typed(&mut ebpf, bpf::MAP_MEDIA_PORTS)?,
            media_peers: typed(&mut ebpf, bpf::MAP_MEDIA_PEERS)?,
            prefixes_v4: typed(&mut ebpf, bpf::MAP_PREFIXES_V4)?,
            prefixes_v6: typed(&mut ebpf, bpf::MAP_PREFIXES_V6)?,
            xsks_outside: typed(&mut ebpf, bpf::MAP_XSKS_OUTSIDE)?,
            xsks_inside: typed(&mut ebpf, bpf::MAP_XSKS_INSIDE)?,
            counters: typed(&mut ebpf, bpf::MAP_COUNTERS)?,
            open: HashMap::new(),
            peers: HashMap::new(),
            outside: None,
            inside: None,
            ebpf,
            offloads: Vec::new(),
        })
    }

    /// Attaches the outside program, once for the life of this process.
    pub fn attach_outside(&mut self, ifindex: u32, ladder: XdpLadder) -> Result<&Attached, SteeringError> {
        if self.outside.is_some() {
            return Err(SteeringError::AttachedBefore(Port::Outside));
        }
        let (attached, offloads) = attach::attach(xdp(&mut self.ebpf, bpf::PROG_OUTSIDE)?, ifindex, ladder)?;
        self.offloads.push(offloads);
        Ok(self.outside.insert(attached))
    }

    /// Attaches the inside program, once for the life of this process.
    pub fn attach_inside(
        &mut self,
        ifindex: u32,
        program: InsideProgram,
        ladder: XdpLadder,
    ) -> Result<&Attached, SteeringError> {
        if self.inside.is_some() {
            return Err(SteeringError::AttachedBefore(Port::Inside));
        }
        let name = match program {
            InsideProgram::All => bpf::PROG_INSIDE_ALL,
            InsideProgram::Lpm => bpf::PROG_INSIDE_LPM,
        };
        let (attached, offloads) = attach::attach(xdp(&mut self.ebpf, name)?, ifindex, ladder)?;
        self.offloads.push(offloads);
        Ok(self.inside.insert(attached))
    }

    /// Takes over what an earlier process has switched off and could not put back, because it was killed: it is put back when
    /// this value is dropped.
    ///
    /// # Errors
    /// If the kernel cannot be asked for it.
    pub fn adopt_offloads(&mut self, left: &[(u32, String)]) -> std::io::Result<()> {
        self.offloads.push(OffloadsOff::left_behind(left)?);
        Ok(())
    }

    /// Offloads that are off as long as this value lives: the index of the device and the name of the feature.
    pub fn offloads_off(&self) -> impl Iterator<Item = (u32, &'static str)> + '_ {
        self.offloads.iter().flat_map(OffloadsOff::changed).copied()
    }

    #[must_use]
    pub const fn attached(&self, port: Port) -> Option<&Attached> {
        match port {
            Port::Outside => self.outside.as_ref(),
            Port::Inside => self.inside.as_ref(),
        }
    }

    /// Gives a receive queue of `port` its AF_XDP socket. The kernel drops the entry by itself when the socket closes.
    pub fn xsk_set(&mut self, port: Port, queue: u32, socket: impl AsFd) -> Result<(), SteeringError> {
        let (map, name) = match port {
            Port::Outside => (&mut self.xsks_outside, bpf::MAP_XSKS_OUTSIDE),
            Port::Inside => (&mut self.xsks_inside, bpf::MAP_XSKS_INSIDE),
        };
        map.set(queue, socket.as_fd().as_raw_fd(), 0).map_err(|e| map_error(name, e))
    }

    /// From now on UDP to this address and port goes to the dataplane, and fragments from `remote` to this address.
    pub fn media_port_open(
        &mut self,
        local: SocketAddr,
        remote: IpAddr,
        owner: TunnelId,
    ) -> Result<(), SteeringError> {
        let port = MediaPort(local.port());
        if self.open.contains_key(&port) {
            return Err(SteeringError::MediaPortOpen(port));
        }
        let (key, peer) =
            (MediaPortKey::new(local.ip(), local.port()), MediaPeerKey::new(local.ip(), remote));
        self.media_ports
            .insert(key.to_bytes(), owner.0, BPF_NOEXIST)
            .map_err(|e| map_error(bpf::MAP_MEDIA_PORTS, e))?;
        let calls = self.peers.get(&peer.to_bytes()).map_or(1, |calls| calls + 1);
        if let Err(refused) = self.set_peer(peer, calls) {
            self.media_ports.remove(&key.to_bytes()).map_err(|e| map_error(bpf::MAP_MEDIA_PORTS, e))?;
            return Err(refused);
        }
        self.open.insert(port, (key, peer));
        Ok(())
    }

    /// From now on the kernel gets what comes to this port.
    pub fn media_port_close(&mut self, port: MediaPort) -> Result<(), SteeringError> {
        let (key, peer) = self.open.remove(&port).ok_or(SteeringError::MediaPortNotOpen(port))?;
        let calls = self.peers.get(&peer.to_bytes()).map_or(0, |calls| calls - 1);
        let ended = self.set_peer(peer, calls);
        self.media_ports.remove(&key.to_bytes()).map_err(|e| map_error(bpf::MAP_MEDIA_PORTS, e))?;
        ended
    }

    /// So many calls are live between two addresses.
    fn set_peer(&mut self, peer: MediaPeerKey, calls: u32) -> Result<(), SteeringError> {
        let key = peer.to_bytes();
        let set = if calls == 0 {
            self.peers.remove(&key);
            self.media_peers.remove(&key)
        } else {
            self.media_peers.insert(key, calls, 0).inspect(|()| {
                self.peers.insert(key, calls);
            })
        };
        set.map_err(|e| map_error(bpf::MAP_MEDIA_PEERS, e))
    }

    /// Router mode: packets for this prefix are the dataplane's. Adding it again changes the owner.
    pub fn prefix_add(&mut self, prefix: IpPrefix, owner: TunnelId) -> Result<(), SteeringError> {
        self.prefix_set(prefix, owner.0)
    }

    /// Router mode: packets for this prefix go to the kernel, even if a tunnel has a shorter prefix that covers it.
    pub fn prefix_pass(&mut self, prefix: IpPrefix) -> Result<(), SteeringError> {
        self.prefix_set(prefix, bpf::OWNER_KERNEL)
    }

    fn prefix_set(&mut self, prefix: IpPrefix, owner: Owner) -> Result<(), SteeringError> {
        let len = u32::from(prefix.prefix_len());
        match prefix.addr() {
            IpAddr::V4(a) => self
                .prefixes_v4
                .insert(&Key::new(len, lpm_v4(a)), owner, 0)
                .map_err(|e| map_error(bpf::MAP_PREFIXES_V4, e)),
            IpAddr::V6(a) => self
                .prefixes_v6
                .insert(&Key::new(len, lpm_v6(a)), owner, 0)
                .map_err(|e| map_error(bpf::MAP_PREFIXES_V6, e)),
        }
    }

    pub fn prefix_remove(&mut self, prefix: IpPrefix) -> Result<(), SteeringError> {
        let len = u32::from(prefix.prefix_len());
        let (result, map) = match prefix.addr() {
            IpAddr::V4(a) => (self.prefixes_v4.remove(&Key::new(len, lpm_v4(a))), bpf::MAP_PREFIXES_V4),
            IpAddr::V6(a) => (self.prefixes_v6.remove(&Key::new(len, lpm_v6(a))), bpf::MAP_PREFIXES_V6),
        };
        result.map_err(|e| {
            if os_error(&e) == Some(ENOENT) {
                SteeringError::PrefixNotThere(prefix)
            } else {
                map_error(map, e)
            }
        })
    }

    pub fn counters(&self) -> Result<Counters, SteeringError> {
        let mut out = [0; COUNTERS as usize];
        for counter in Counter::ALL {
            let per_cpu =
                self.counters.get(&(*counter as u32), 0).map_err(|e| map_error(bpf::MAP_COUNTERS, e))?;
            out[*counter as usize] = per_cpu.iter().sum();
        }
        Ok(Counters(out))
    }

    #[cfg(test)]
    pub(crate) fn program_fd(&mut self, name: &'static str) -> &aya::programs::ProgramFd {
        xdp(&mut self.ebpf, name)
            .and_then(|p| p.fd().map_err(|_| SteeringError::Missing(name)))
            .expect("loaded")
    }
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, SteeringError> {
    ebpf.program_mut(name)
        .ok_or(SteeringError::Missing(name))?
        .try_into()
        .map_err(|_: ProgramError| SteeringError::Missing(name))
}

fn typed<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, SteeringError> {
    let map = ebpf.take_map(name).ok_or(SteeringError::Missing(name))?;
    T::try_from(map).map_err(|e| map_error(name, e))
}

fn map_error(map: &'static str, error: MapError) -> SteeringError {
    match os_error(&error) {
        // A hash map that is full says E2BIG, an LPM trie ENOSPC.
        Some(E2BIG | ENOSPC) => SteeringError::Full { map },
        _ => SteeringError::Map { map, source: Box::new(error) },
    }
}

fn os_error(error: &MapError) -> Option<i32> {
    match error {
        MapError::SyscallError(e) => e.io_error.raw_os_error(),
        // aya's spelling of ENOENT.
        MapError::KeyNotFound => Some(ENOENT),
        _ => None,
    }
}
