//! The ladder of attach modes.

use crate::error::{Program, SteeringError};
use crate::link::{Link, VethPeer};
use crate::offload::OffloadsOff;
use aya::programs::xdp::{XdpError, XdpMode as AyaMode};
use aya::programs::{ProgramError, Xdp};
use core::fmt;

const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const EPERM: i32 = 1;
const ENODEV: i32 = 19;

/// Where the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XdpMode {
    /// In the driver, before the kernel has allocated anything for the packet.
    Driver,
    /// In the network stack: works on every device.
    Generic,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Driver => "driver",
            Self::Generic => "generic",
        })
    }
}

/// What the profile's `xdp_mode` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpLadder {
    /// Driver mode, then generic.
    #[default]
    Auto,
    Only(XdpMode),
}

impl XdpLadder {
    const fn steps(self) -> &'static [XdpMode] {
        match self {
            Self::Auto => &[XdpMode::Driver, XdpMode::Generic],
            Self::Only(XdpMode::Driver) => &[XdpMode::Driver],
            Self::Only(XdpMode::Generic) => &[XdpMode::Generic],
        }
    }
}

/// How a program got attached, for the log and `show dataplane`.
#[derive(Debug)]
pub struct Attached {
    pub ifindex: u32,
    pub mode: XdpMode,
    /// Why driver mode was not had, where the ladder went on to generic.
    pub driver_refused: Option<Box<ProgramError>>,
    /// A veth whose other end is in another network namespace: that end may leave VLAN tags and checksums beside its frames,
    /// and its offloads cannot be turned off from here.
    pub veth_peer_elsewhere: bool,
}

/// Attaches the program with the offloads off that would hide a part of a frame from it. The guard puts them back.
pub(crate) fn attach(
    program: &mut Xdp,
    ifindex: u32,
    ladder: XdpLadder,
) -> Result<(Attached, OffloadsOff), SteeringError> {
    let link = Link::find(ifindex).map_err(|source| SteeringError::Link { ifindex, source })?;
    if link.program.is_some() {
        return Err(busy(link));
    }
    let mut offloads = OffloadsOff::before_attach(ifindex, &link)?;
    let (mode, driver_refused) = climb(program, ifindex, &link, ladder)?;
    offloads.after_attach(ifindex, &link, mode)?;
    let veth_peer_elsewhere = link.peer == Some(VethPeer::OtherNamespace);
    Ok((Attached { ifindex, mode, driver_refused, veth_peer_elsewhere }, offloads))
}

type Climbed = (XdpMode, Option<Box<ProgramError>>);

fn climb(program: &mut Xdp, ifindex: u32, link: &Link, ladder: XdpLadder) -> Result<Climbed, SteeringError> {
    let mut driver_refused = None;
    let mut steps = ladder.steps().iter().copied().peekable();
    while let Some(mode) = steps.next() {
        let aya_mode = match mode {
            XdpMode::Driver => AyaMode::Driver,
            XdpMode::Generic => AyaMode::Skb,
        };
        let source = match program.attach_to_if_index(ifindex, aya_mode) {
            Ok(_) => return Ok((mode, driver_refused)),
            Err(e) => Box::new(e),
        };
        match os_error(&source) {
            // EEXIST: attached in the other mode.
            Some(EBUSY | EEXIST) => return Err(busy(Link::find(ifindex).unwrap_or_else(|_| link.clone()))),
            // No other mode would help.
            Some(EPERM | ENODEV) => {
                return Err(SteeringError::Attach { device: link.name.clone(), mode, source });
            }
            _ if steps.peek().is_some() => driver_refused = Some(source),
            _ => return Err(SteeringError::Attach { device: link.name.clone(), mode, source }),
        }
    }
    unreachable!("the last step of every ladder returns")
}

fn busy(link: Link) -> SteeringError {
    let program = link.program.map(Program::with_id).unwrap_or_default();
    SteeringError::Busy { device: link.name, program }
}

fn os_error(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(e) => e.io_error.raw_os_error(),
        ProgramError::XdpError(XdpError::NetlinkError(e)) => e.raw_os_error(),
        _ => None,
    }
}
