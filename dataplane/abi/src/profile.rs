//! The `dataplane:` section of a gateway's profile, read by both binaries: the dataplane obeys it, the control plane
//! checks it (`sipsec check`) and needs the device names. Syntax is serde's; [`Dataplane::problems`] checks meaning.

use serde::{Deserialize, Serialize};
use sipsec_net::{MacAddr, ipv6};
use std::path::PathBuf;

/// The version of the profile format.
pub const PROFILE_VERSION: u32 = 1;
/// Longest device name (IFNAMSIZ less the terminator).
pub const DEVICE_NAME_MAX: usize = 15;
/// What is appended to the sVTI's name to name the dataplane's end of the pair.
pub const PEER_SUFFIX: &str = "-x";
pub const FRAMES_MIN: u32 = 512;
pub const FRAMES_MAX: u32 = 1 << 18;
/// IPv6 asks for 1280 (RFC 8200 §5); driver-mode XDP on veth takes no more than about 3.5 k.
pub const MTU_MIN: u16 = ipv6::MTU_MIN;
pub const MTU_MAX: u16 = 3498;
pub const SPIN_US_MAX: u32 = 1_000_000;
pub const TUNNELS_MAX: u32 = 16_384;
/// Highest SCHED_FIFO priority allowed: above it, the kernel's own threads starve.
pub const FIFO_PRIORITY_MAX: u8 = 49;

/// The parts of a profile that the dataplane reads; every other section is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileHead {
    pub version: u32,
    /// The gateway's name: names its runtime directory and its log lines.
    pub gateway: String,
    /// Sockets; `/run/sipsec/GATEWAY` unless given.
    #[serde(default)]
    pub runtime_dir: Option<PathBuf>,
    pub dataplane: Dataplane,
}

/// unix(7): `sun_path` has 108 bytes, the last of them zero.
const SOCKET_PATH_MAX: usize = 107;
/// sched_setaffinity(2): what a `cpu_set_t` holds.
const CORE_MAX: u32 = 1023;

impl ProfileHead {
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        self.runtime_dir.clone().unwrap_or_else(|| PathBuf::from("/run/sipsec").join(&self.gateway))
    }

    /// Where the dataplane waits for its control plane.
    #[must_use]
    pub fn dataplane_socket(&self) -> PathBuf {
        self.runtime_dir().join("dataplane.sock")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataplane {
    pub outside: Outside,
    pub inside: Inside,
    #[serde(default)]
    pub worker: Worker,
    #[serde(default)]
    pub engine: Engine,
    #[serde(default)]
    pub xdp_mode: XdpMode,
    #[serde(default)]
    pub bind_mode: BindMode,
    /// UMEM in 2 MiB pages; the machine must have reserved them (`vm.nr_hugepages`).
    #[serde(default)]
    pub huge_pages: bool,
    /// Packet buffers shared by both ports, the trigger queues and the shapers.
    #[serde(default = "default_frames")]
    pub frames: u32,
    /// Tunnels for which tables are sized at start.
    #[serde(default = "default_tunnels_max")]
    pub tunnels_max: u32,
}

/// The WAN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outside {
    pub device: String,
    #[serde(default)]
    pub dont_fragment: DontFragment,
}

/// RFC 4301 §8.1: the DF bit of ESP's outer IPv4 header. IKE goes without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DontFragment {
    /// What is too large for a link further on comes to a peer that reassembles in fragments.
    #[default]
    Clear,
    Set,
    /// Of the inner packet.
    Copy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Inside {
    /// A veth pair made by the dataplane; its kernel end is the sVTI, always UP, to which ordinary routes point.
    Host {
        device: String,
        /// Of the kernel end; what the outside device's carries of ESP in UDP over IPv4 unless given.
        #[serde(default)]
        mtu: Option<u16>,
    },
    /// XDP on the LAN device: tunnel prefixes go to the dataplane, everything else to the kernel.
    Router {
        device: String,
        /// Ethernet address of the LAN's router, which gets what comes out of the tunnels. Not optional, but its absence
        /// is a problem to be named.
        #[serde(default)]
        next_hop: Option<String>,
    },
}

impl Inside {
    #[must_use]
    pub fn device(&self) -> &str {
        match self {
            Self::Host { device, .. } | Self::Router { device, .. } => device,
        }
    }

    /// Of router mode, if it is an address.
    #[must_use]
    pub fn next_hop(&self) -> Option<MacAddr> {
        match self {
            Self::Router { next_hop, .. } => next_hop.as_deref().and_then(parse_mac),
            Self::Host { .. } => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Workers; more than one is not offered yet.
    pub count: u16,
    /// The processor the worker is pinned to; not pinned unless given.
    pub core: Option<u16>,
    pub idle: Idle,
    /// How long `adaptive` looks for work before it sleeps.
    pub spin_us: u32,
    /// SCHED_FIFO at this priority; ordinary scheduling unless given.
    pub fifo_priority: Option<u8>,
}

impl Default for Worker {
    fn default() -> Self {
        Self { count: 1, core: None, idle: Idle::Adaptive, spin_us: 50, fifo_priority: None }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// Never sleeps: lowest latency, one whole core.
    Spin,
    /// Looks for work for `spin_us`, then sleeps until a packet, a command or a deadline.
    #[default]
    Adaptive,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// The fastest on this machine, timed at start.
    #[default]
    Auto,
    Ring,
    AesGcm,
    /// Intel's ipsec-mb, if `libIPSec_MB.so.1` is installed.
    IpsecMb,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum XdpMode {
    /// Driver mode where the device has it, generic otherwise.
    #[default]
    Auto,
    Driver,
    Generic,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindMode {
    /// Zero copy where both devices have it, copying otherwise.
    #[default]
    Auto,
    Zerocopy,
    Copy,
}

const fn default_frames() -> u32 {
    4096
}

const fn default_tunnels_max() -> u32 {
    1024
}

/// A value that cannot be obeyed, where it stands, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {value}: {cure}")]
pub struct Problem {
    /// Dotted path from the top of the profile.
    pub path: &'static str,
    pub value: String,
    pub cure: String,
}

impl ProfileHead {
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        if self.version != PROFILE_VERSION {
            out.push(Problem {
                path: "version",
                value: self.version.to_string(),
                cure: format!("this release reads version {PROFILE_VERSION}"),
            });
        }
        // The name becomes a directory below /run.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.gateway.is_empty() || self.gateway.len() > 64 || !self.gateway.chars().all(plain) {
            out.push(Problem {
                path: "gateway",
                value: format!("{:?}", self.gateway),
                cure: "use 1 to 64 letters, digits, '-' and '_'".into(),
            });
        }
        let dir = self.runtime_dir();
        if !dir.is_absolute() || self.dataplane_socket().as_os_str().len() > SOCKET_PATH_MAX {
            let room = SOCKET_PATH_MAX - "/dataplane.sock".len();
            out.push(Problem {
                path: "runtime_dir",
                value: format!("{dir:?}"),
                cure: format!("write an absolute path of at most {room} bytes: sockets are made in it"),
            });
        }
        out.extend(self.dataplane.problems());
        out
    }
}

impl Dataplane {
    /// Everything wrong with it, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        device(&mut out, "dataplane.outside.device", &self.outside.device, 0);
        let suffix = if matches!(self.inside, Inside::Host { .. }) { PEER_SUFFIX.len() } else { 0 };
        device(&mut out, "dataplane.inside.device", self.inside.device(), suffix);
        if self.outside.device == self.inside.device() {
            out.push(Problem {
                path: "dataplane.inside.device",
                value: self.inside.device().to_owned(),
                cure: "inside and outside must be two devices".into(),
            });
        }
        if let Inside::Host { mtu: Some(mtu), .. } = self.inside {
            range(&mut out, "dataplane.inside.mtu", u32::from(mtu), u32::from(MTU_MIN)..=u32::from(MTU_MAX));
        }
        if let Inside::Router { next_hop, .. } = &self.inside
            && self.inside.next_hop().is_none_or(|mac| mac.0[0] & 1 != 0)
        {
            out.push(Problem {
                path: "dataplane.inside.next_hop",
                value: next_hop.as_ref().map_or_else(|| "nothing".into(), |text| format!("{text:?}")),
                cure: "write the Ethernet address of the LAN's router, such as 02:00:5e:10:00:01".into(),
            });
        }
        if self.worker.count != 1 {
            out.push(Problem {
                path: "dataplane.worker.count",
                value: self.worker.count.to_string(),
                cure: "this release forwards with exactly one worker; write 1 or leave it out".into(),
            });
        }
        if let Some(core) = self.worker.core {
            range(&mut out, "dataplane.worker.core", core.into(), 0..=CORE_MAX);
        }
        range(&mut out, "dataplane.worker.spin_us", self.worker.spin_us, 0..=SPIN_US_MAX);
        if let Some(p) = self.worker.fifo_priority {
            range(&mut out, "dataplane.worker.fifo_priority", u32::from(p), 1..=u32::from(FIFO_PRIORITY_MAX));
        }
        range(&mut out, "dataplane.frames", self.frames, FRAMES_MIN..=FRAMES_MAX);
        range(&mut out, "dataplane.tunnels_max", self.tunnels_max, 1..=TUNNELS_MAX);
        out
    }
}

fn parse_mac(text: &str) -> Option<MacAddr> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = parts.next().filter(|p| p.len() == 2).and_then(|p| u8::from_str_radix(p, 16).ok())?;
    }
    parts.next().is_none().then_some(MacAddr(mac))
}

fn device(out: &mut Vec<Problem>, path: &'static str, name: &str, suffix: usize) {
    let max = DEVICE_NAME_MAX - suffix;
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > max || name == "." || name == ".." || name.contains(bad) {
        out.push(Problem {
            path,
            value: format!("{name:?}"),
            cure: format!("a device name has 1 to {max} bytes without '/', ':' or spaces"),
        });
    }
}

fn range(out: &mut Vec<Problem>, path: &'static str, value: u32, allowed: std::ops::RangeInclusive<u32>) {
    if !allowed.contains(&value) {
        out.push(Problem {
            path,
            value: value.to_string(),
            cure: format!("must be {} to {}", allowed.start(), allowed.end()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
version: 1
gateway: branch
sip: { registrar: "198.51.100.1:5060" }
dataplane: { outside: { device: wan0 }, inside: { mode: host, device: svti0 }, worker: { core: 1, idle: adaptive },
             engine: aes-gcm, xdp_mode: auto, huge_pages: false, frames: 4096 }
"#;

    fn parse(text: &str) -> ProfileHead {
        serde_yaml::from_str(text).expect("syntax")
    }

    #[test]
    fn the_documented_example_is_read_and_has_no_problem() {
        let p = parse(EXAMPLE);
        assert_eq!(p.problems(), vec![]);
        assert_eq!(p.dataplane.inside, Inside::Host { device: "svti0".into(), mtu: None });
        assert_eq!(p.dataplane.engine, Engine::AesGcm);
        assert_eq!(p.dataplane.worker.core, Some(1));
        assert_eq!(p.dataplane_socket(), PathBuf::from("/run/sipsec/branch/dataplane.sock"));
    }

    #[test]
    fn each_problem_names_its_place() {
        let mut p = parse(EXAMPLE);
        p.version = 2;
        p.gateway = "../etc".into();
        p.dataplane.outside.device = "a-name-far-too-long".into();
        p.dataplane.inside = Inside::Host { device: "fourteen-bytes".into(), mtu: Some(9000) };
        p.dataplane.worker.count = 2;
        p.dataplane.frames = 1;
        let paths: Vec<_> = p.problems().into_iter().map(|x| x.path).collect();
        assert_eq!(
            paths,
            [
                "version",
                "gateway",
                "dataplane.outside.device",
                "dataplane.inside.device",
                "dataplane.inside.mtu",
                "dataplane.worker.count",
                "dataplane.frames"
            ]
        );
    }

    #[test]
    fn a_router_needs_a_unicast_next_hop() {
        let text = |mac: &str| {
            EXAMPLE.replace(
                "mode: host, device: svti0",
                &format!("mode: router, device: lan0, next_hop: {mac:?}"),
            )
        };
        let good = parse(&text("02:00:5e:10:00:01"));
        assert_eq!(good.problems(), vec![]);
        assert_eq!(good.dataplane.inside.next_hop(), Some(MacAddr([2, 0, 0x5e, 0x10, 0, 1])));
        for bad in ["02:00:5e:10:00", "02:00:5e:10:00:01:02", "01:00:5e:10:00:01", "+2:00:5e:10:00:01x"] {
            let problems = parse(&text(bad)).problems();
            assert!(matches!(&problems[..], [p] if p.path == "dataplane.inside.next_hop"), "{bad}");
        }
        let none = parse(&EXAMPLE.replace("mode: host, device: svti0", "mode: router, device: lan0"));
        let problems: Vec<String> = none.problems().iter().map(ToString::to_string).collect();
        assert!(matches!(&problems[..], [p] if p.starts_with("dataplane.inside.next_hop: nothing: write ")));
    }

    #[test]
    fn the_df_bit_is_clear_unless_told() {
        assert_eq!(parse(EXAMPLE).dataplane.outside.dont_fragment, DontFragment::Clear);
        for (text, expected) in
            [("clear", DontFragment::Clear), ("set", DontFragment::Set), ("copy", DontFragment::Copy)]
        {
            let text = EXAMPLE.replace("device: wan0", &format!("device: wan0, dont_fragment: {text}"));
            assert_eq!(parse(&text).dataplane.outside.dont_fragment, expected);
        }
        let text = EXAMPLE.replace("device: wan0", "device: wan0, dont_fragment: maybe");
        assert!(serde_yaml::from_str::<ProfileHead>(&text).is_err());
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let text = EXAMPLE.replace("huge_pages", "hugepages");
        assert!(serde_yaml::from_str::<ProfileHead>(&text).is_err());
    }
}
