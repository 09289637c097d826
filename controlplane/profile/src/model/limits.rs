//! Bounds and defaults of the profile, each in one place: the schema, the reader, the checks and both processes take them
//! from here.

use sipsec_net::{esp, ipv6};

/// The version of the profile format that this release reads.
pub const PROFILE_VERSION: u32 = 1;
/// Longest profile read, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Where gateways have their sockets unless their profiles say otherwise.
pub const RUNTIME_ROOT: &str = "/run/sipsec";
/// Where gateways keep their journals unless their profiles say otherwise.
pub const STATE_ROOT: &str = "/var/lib/sipsec";
pub const LOG_DEFAULT: &str = "info";

/// Longest device name (IFNAMSIZ less the terminator).
pub const DEVICE_NAME_MAX: usize = 15;
/// Appended to the sVTI's name to name the dataplane's end of the pair.
pub const PEER_SUFFIX: &str = "-x";
pub const FRAMES_MIN: u32 = 512;
pub const FRAMES_MAX: u32 = 1 << 18;
pub const FRAMES_DEFAULT: u32 = 4096;
/// RFC 8200 §5 asks for 1280; driver-mode XDP on veth takes no more than about 3.5 k.
pub const DEVICE_MTU_MIN: u16 = ipv6::MTU_MIN;
pub const DEVICE_MTU_MAX: u16 = 3498;
pub const SPIN_US_MAX: u32 = 1_000_000;
pub const BUSY_POLL_US_MAX: u32 = 10_000;
/// Tunnels of one gateway.
pub const TUNNELS_MAX: u32 = 16_384;
pub const TUNNELS_DEFAULT: u32 = 1024;
/// About 200 bytes each.
/// Datagrams in fragments that one peer may have under way.
pub const REASSEMBLY_DATAGRAMS_MAX: u16 = 512;
pub const REASSEMBLY_FRAGMENTS_MAX: u8 = 32;
pub const REASSEMBLY_TIMEOUT_S_MAX: u8 = 60;
pub const NAT_TRANSLATIONS_MAX: u32 = 1 << 20;
pub const NAT_TRANSLATIONS_DEFAULT: u32 = 16_384;
/// Routes of one gateway for each tunnel of `dataplane.tunnels_max`: the dataplane's table has room for so many.
pub const ROUTES_PER_TUNNEL: usize = 4;
/// The dataplane keeps an eighth of its frames for packets that wait for an SA.
pub const FRAMES_PER_TRIGGER_PACKET: u32 = 8;
/// Highest SCHED_FIFO priority allowed: above it, the kernel's own threads starve.
pub const FIFO_PRIORITY_MAX: u8 = 49;
/// Threads that forward, each with a queue of each device.
pub const WORKERS_MAX: u8 = 16;
/// sched_setaffinity(2): the highest processor of a `cpu_set_t`.
pub const CORE_MAX: u16 = 1023;
/// unix(7): `sun_path` has 108 bytes, the last of them zero.
pub const SOCKET_PATH_MAX: usize = 107;

/// An Ethernet WAN.
pub const WAN_MTU: usize = 1500;
/// ESP in UDP with AES-GCM-16 over IPv4: 20 IP, 8 UDP, 8 ESP header, 8 IV, 2 trailer, 16 ICV.
pub const ESP_OVERHEAD_V4: u16 = WAN_MTU as u16 - INNER_MTU_DEFAULT;
/// Largest inner packet that fits an Ethernet WAN.
pub const INNER_MTU_DEFAULT: u16 = esp::Layout::AEAD.inner_mtu(WAN_MTU, false) as u16;
/// RFC 791: every host takes 576 bytes.
pub const INNER_MTU_MIN: u16 = 576;
pub const BANDWIDTH_KBPS_MAX: u32 = 10_000_000;
pub const IDLE_DEFAULT_S: u64 = 120;

pub const SIP_PORT: u16 = 5060;
/// RFC 3261 §10.2.1.1 suggests 3600 s.
pub const REGISTER_EXPIRES_S: u64 = 3600;
/// RFC 4028 §5: the smallest session interval.
pub const SESSION_EXPIRES_MIN_S: u32 = 90;
/// A session that is refreshed less than once a day is as good as one without a timer.
pub const SESSION_EXPIRES_MAX_S: u32 = 86_400;
/// Longer than a BYE without an answer is repeated (RFC 3261 §17.1.2.2: 32 s), and than a refused one is sent three times
/// more (35 s).
pub const BYE_WAIT_S: u64 = 60;
/// What a carrier that names no limit is taken to bear.
pub const REQUESTS_PER_S: u32 = 100;

/// Ports below belong to well-known services.
pub const MEDIA_PORT_MIN: u16 = 1024;

pub const DPD_S: u64 = 10;
/// RFC 3948 §4: "a default value of 20 seconds".
pub const NAT_KEEPALIVE_S: u64 = 20;
/// RFC 4303 §3.4.3: 64 packets are the default, 32 the least. A burst at 100 Mbit/s that is reordered needs more.
pub const REPLAY_WINDOW: u32 = 1024;
pub const REPLAY_WINDOW_MIN: u32 = 64;
pub const REPLAY_WINDOW_MAX: u32 = 65_536;
pub const FRAGMENT_BYTES: u16 = 1200;
pub const NEGOTIATION_DEADLINE_S: u64 = 15;
pub const IKE_LIFETIME_S: u64 = 14_400;
pub const CHILD_LIFETIME_S: u64 = 3_600;
pub const CHILD_LIFETIME_KB: u64 = 4_608_000;
/// IOS: `set security-association lifetime kilobytes` takes 2560 to 4294967295.
pub const CHILD_LIFETIME_KB_MIN: u64 = 2560;
/// More would not fit one IKE_SA_INIT datagram.
pub const PROPOSALS_MAX: usize = 8;
/// Longest secret and longest name of a PPK, in bytes.
pub const SECRET_MAX: usize = 256;
pub const PPK_ID_MAX: usize = 64;

/// Routers of the LAN beside its next hop, in router mode.
pub const LAN_ROUTERS_MAX: usize = 16;
/// Carriers beside that of `sip`.
pub const CARRIERS_MAX: usize = 15;
