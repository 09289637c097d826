//! Two devices with an AF_XDP socket each, to which every received frame goes.

use super::error::PktgenError;
use sipsec_ebpf::{InsideProgram, Limits, Port as Side, Steering, XdpLadder};
use sipsec_net::MacAddr;
use sipsec_xsk::{BindMode, Config, Pool, PortSpec, XskPort, open};
use std::rc::Rc;
use std::{fmt, fs};

/// Frames of the UMEM. Half of them wait in the receive rings.
const FRAMES: u32 = 8_192;
const FRAME_LEN_MAX: usize = 14 + super::packet::LEN_MAX as usize;
/// Frames of a device with the usual MTU; larger ones halve the number of chunks per page.
const FRAME_LEN_USUAL: usize = 1_514;

/// A pair of devices; dropped, the programs are detached.
pub struct Ports {
    pub pool: Rc<Pool>,
    pub ports: [XskPort; 2],
    /// How the kernel moves frames: zero copy or copying.
    pub mode: BindMode,
    _steering: [Steering; 2],
}

impl Ports {
    /// Takes queue 0 of both devices. The kernel gets no frame of either any more.
    pub fn open(devices: [&str; 2], large: bool) -> Result<Self, PktgenError> {
        let steer = |device: &str| {
            let failed =
                |source| PktgenError::Steering { device: device.to_owned(), source: Box::new(source) };
            let mut steering =
                Steering::load(Limits { media_ports_max: 1, prefixes_max: 1 }).map_err(failed)?;
            steering.attach_inside(index(device)?, InsideProgram::All, XdpLadder::Auto).map_err(failed)?;
            Ok::<_, PktgenError>(steering)
        };
        let mut steering = [steer(devices[0])?, steer(devices[1])?];
        let frame_len_max = if large { FRAME_LEN_MAX } else { FRAME_LEN_USUAL };
        let config = Config {
            frames: FRAMES,
            frame_len_max,
            huge_pages: false,
            bind: BindMode::Auto,
            busy_poll_us: None,
        };
        let spec = |device: &str| PortSpec { device: device.to_owned(), queues: 1 };
        let opened = open(&config, &[spec(devices[0]), spec(devices[1])])?;
        for (port, (steering, device)) in steering.iter_mut().zip(devices).enumerate() {
            for (queue, fd) in (0..).zip(opened.fds(port)) {
                steering.xsk_set(Side::Inside, queue, fd).map_err(|source| PktgenError::Steering {
                    device: device.to_owned(),
                    source: Box::new(source),
                })?;
            }
        }
        let mode = opened.mode();
        let (pool, ports) = opened.into_ports();
        Ok(Self { pool, ports, mode, _steering: steering })
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("mode", &self.mode).field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// Refuses packets that the device does not carry: the kernel would drop each of them.
pub fn check_mtu(device: &str, len: u16) -> Result<(), PktgenError> {
    let Ok(text) = fs::read_to_string(format!("/sys/class/net/{device}/mtu")) else { return Ok(()) };
    match text.trim().parse::<u32>() {
        Ok(mtu) if u32::from(len) > mtu => Err(PktgenError::Arguments(format!(
            "packets of {len} bytes: {device} has an MTU of {mtu}; choose smaller --sizes or raise the MTU"
        ))),
        _ => Ok(()),
    }
}

fn index(device: &str) -> Result<u32, PktgenError> {
    let failed =
        |source: rustix::io::Errno| PktgenError::Device { device: device.to_owned(), source: source.into() };
    let any = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .map_err(failed)?;
    rustix::net::netdevice::name_to_index(&any, device).map_err(failed)
}

/// The device's own MAC address. `option` gives it where sysfs shows another namespace.
pub fn mac_of(device: &str, option: &'static str) -> Result<MacAddr, PktgenError> {
    let failed = |reason: String| PktgenError::Mac { device: device.to_owned(), option, reason };
    let path = format!("/sys/class/net/{device}/address");
    let text = fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    parse_mac(text.trim()).ok_or_else(|| failed(format!("`{}`", text.trim())))
}

/// Six octets in hexadecimal with colons.
#[must_use]
pub fn parse_mac(text: &str) -> Option<MacAddr> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(MacAddr(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_has_six_octets() {
        assert_eq!(parse_mac("02:00:00:00:00:ff"), Some(MacAddr([2, 0, 0, 0, 0, 255])));
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:ff:00",
            "2:0:0:0:0:ff",
            "02:00:00:00:00:gg",
            "+2:00:00:00:00:ff",
        ] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }
}
