//! `dataplane:`

use super::limits;
use super::words::words;
use serde::Serialize;
use sipsec_net::{IpPrefix, MacAddr};
use std::num::NonZeroU8;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataplaneSection {
    pub outside: OutsideDevice,
    pub inside: InsideDevice,
    pub worker: Worker,
    pub engine: Engine,
    pub xdp_mode: XdpMode,
    pub bind_mode: BindMode,
    /// UMEM in 2 MiB pages; the machine must have reserved them (`vm.nr_hugepages`).
    pub huge_pages: bool,
    /// Packet buffers of each worker, shared by both ports, its trigger queues and its shapers.
    pub frames: u32,
    /// Tunnels for which tables are sized at start.
    pub tunnels_max: u32,
    /// Address translations for which tables are sized at start.
    pub nat_translations_max: u32,
}

impl DataplaneSection {
    /// Host mode with everything else at its default.
    #[must_use]
    pub fn host(outside: &str, inside: &str) -> Self {
        Self {
            outside: OutsideDevice {
                device: outside.to_owned(),
                dont_fragment: DontFragment::default(),
                reassembly: Reassembly::default(),
            },
            inside: InsideDevice::Host { device: inside.to_owned(), mtu: None },
            worker: Worker::default(),
            engine: Engine::default(),
            xdp_mode: XdpMode::default(),
            bind_mode: BindMode::default(),
            huge_pages: false,
            frames: limits::FRAMES_DEFAULT,
            tunnels_max: limits::TUNNELS_DEFAULT,
            nat_translations_max: limits::NAT_TRANSLATIONS_DEFAULT,
        }
    }

    /// The largest inner packet that a tunnel may promise, and the key that says so unless it is the WAN.
    #[must_use]
    pub const fn inner_mtu_max(&self) -> (u16, Option<&'static str>) {
        match self.inside {
            InsideDevice::Host { mtu: Some(mtu), .. } | InsideDevice::Tun { mtu: Some(mtu), .. }
                if mtu < limits::INNER_MTU_DEFAULT =>
            {
                (mtu, Some("dataplane.inside.mtu"))
            }
            _ => (limits::INNER_MTU_DEFAULT, None),
        }
    }
}

/// The WAN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutsideDevice {
    pub device: String,
    pub dont_fragment: DontFragment,
    pub reassembly: Reassembly,
}

/// How ESP and IKE that come in fragments are put together. The defaults of fragments and time are those of IOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reassembly {
    /// Datagrams that one peer may have under way; 0 drops every fragment.
    pub datagrams_per_peer: u16,
    /// Of one datagram.
    pub fragments: u8,
    /// From the first fragment that came on.
    pub timeout_s: u8,
}

impl Default for Reassembly {
    fn default() -> Self {
        Self { datagrams_per_peer: 64, fragments: limits::REASSEMBLY_FRAGMENTS_MAX, timeout_s: 3 }
    }
}

words! {
    /// RFC 4301 §8.1: the DF bit of ESP's outer IPv4 header. IKE goes without it.
    pub enum DontFragment {
        Clear = "clear", "routers on the way may fragment; the peer reassembles";
        Set = "set", "never fragmented on the way";
        Copy = "copy", "as in the inner packet";
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum InsideDevice {
    /// A veth pair made by the dataplane; its kernel end is the sVTI, always UP, to which ordinary routes point.
    Host {
        device: String,
        /// MTU of the kernel end; what the outside device carries of ESP in UDP over IPv4 unless given.
        #[serde(skip_serializing_if = "Option::is_none")]
        mtu: Option<u16>,
    },
    /// The same sVTI as a device of the TUN driver, by which the kernel hands over large packets uncut and takes merged ones.
    Tun {
        device: String,
        /// As in host mode.
        #[serde(skip_serializing_if = "Option::is_none")]
        mtu: Option<u16>,
    },
    /// XDP on the LAN device: tunnel prefixes go to the dataplane, everything else to the kernel.
    Router {
        device: String,
        /// Ethernet address of the LAN's router, to which decrypted packets go.
        #[serde(serialize_with = "super::serial::text")]
        next_hop: MacAddr,
        /// To whom packets for some prefixes go instead.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        routers: Vec<LanRouter>,
    },
}

/// A router of the LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LanRouter {
    #[serde(serialize_with = "super::serial::text")]
    pub prefix: IpPrefix,
    #[serde(serialize_with = "super::serial::text")]
    pub next_hop: MacAddr,
}

impl InsideDevice {
    #[must_use]
    pub fn device(&self) -> &str {
        match self {
            Self::Host { device, .. } | Self::Tun { device, .. } | Self::Router { device, .. } => device,
        }
    }

    /// The device that the dataplane makes and to which the kernel's routes point; none in router mode.
    #[must_use]
    pub fn svti(&self) -> Option<&str> {
        match self {
            Self::Host { device, .. } | Self::Tun { device, .. } => Some(device),
            Self::Router { .. } => None,
        }
    }

    /// The LAN's routers of single prefixes.
    #[must_use]
    pub fn routers(&self) -> &[LanRouter] {
        match self {
            Self::Router { routers, .. } => routers,
            Self::Host { .. } | Self::Tun { .. } => &[],
        }
    }

    /// The LAN's router, in router mode.
    #[must_use]
    pub const fn next_hop(&self) -> Option<MacAddr> {
        match self {
            Self::Router { next_hop, .. } => Some(*next_hop),
            Self::Host { .. } | Self::Tun { .. } => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Worker {
    /// The number of workers, if it is not that of `cores`, or 1 without them. The tunnels are divided among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<NonZeroU8>,
    /// The processor of a worker that is alone; not pinned unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<u16>,
    /// The processor of each of several workers, in order; not pinned if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<u16>,
    pub idle: Idle,
    /// How long `adaptive` polls before it sleeps.
    pub spin_us: u32,
    /// How long one call may run a device's driver; 0 leaves packets to interrupts.
    pub busy_poll_us: u32,
    /// SCHED_FIFO at this priority; ordinary scheduling unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fifo_priority: Option<u8>,
}

impl Worker {
    #[must_use]
    pub fn workers(&self) -> NonZeroU8 {
        let listed = || u8::try_from(self.cores.len()).ok().and_then(NonZeroU8::new);
        self.count.or_else(listed).unwrap_or(NonZeroU8::MIN)
    }

    /// The processor to which worker `index` is pinned.
    #[must_use]
    pub fn core_of(&self, index: u8) -> Option<u16> {
        self.cores.get(usize::from(index)).copied().or(self.core)
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            count: None,
            core: None,
            cores: Vec::new(),
            idle: Idle::default(),
            spin_us: 50,
            busy_poll_us: 0,
            fifo_priority: None,
        }
    }
}

words! {
    /// What the worker does when there is no work.
    pub enum Idle {
        Adaptive = "adaptive", "polls for `spin_us`, then sleeps until a packet, a command or a deadline";
        Spin = "spin", "never sleeps: lowest latency, one whole core";
    }
}

words! {
    /// The AEAD implementation.
    pub enum Engine {
        Auto = "auto", "the fastest on this machine, timed at start";
        Ring = "ring", "the ring library";
        AesGcm = "aes-gcm", "the RustCrypto library";
        AwsLcRs = "aws-lc-rs", "AWS-LC, which IKE uses, too";
        Graviola = "graviola", "the graviola library, on processors with AVX2 and AES or ARMv8's cryptography";
        IpsecMb = "ipsec-mb", "Intel's library, if `libIPSec_MB.so.1` is installed";
    }
}

words! {
    /// How the XDP program is attached.
    pub enum XdpMode {
        Auto = "auto", "driver mode where the device has it, generic otherwise";
        Driver = "driver", "driver mode only";
        Generic = "generic", "generic mode only";
    }
}

words! {
    /// How AF_XDP sockets are bound.
    pub enum BindMode {
        Auto = "auto", "zero copy where both devices have it, copying otherwise";
        Zerocopy = "zerocopy", "zero copy only";
        Copy = "copy", "copying only";
    }
}
