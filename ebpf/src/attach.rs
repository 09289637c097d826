//! The ladder of attach modes.

use crate::error::SteeringError;
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
}

pub(crate) fn attach(program: &mut Xdp, ifindex: u32, ladder: XdpLadder) -> Result<Attached, SteeringError> {
    let mut driver_refused = None;
    let mut steps = ladder.steps().iter().copied().peekable();
    while let Some(mode) = steps.next() {
        let aya_mode = match mode {
            XdpMode::Driver => AyaMode::Driver,
            XdpMode::Generic => AyaMode::Skb,
        };
        let source = match program.attach_to_if_index(ifindex, aya_mode) {
            Ok(_) => return Ok(Attached { ifindex, mode, driver_refused }),
            Err(e) => Box::new(e),
        };
        match os_error(&source) {
            // EEXIST: attached in the other mode.
            Some(EBUSY | EEXIST) => return Err(SteeringError::Busy { ifindex }),
            // No other mode would help.
            Some(EPERM | ENODEV) => return Err(SteeringError::Attach { ifindex, mode, source }),
            _ if steps.peek().is_some() => driver_refused = Some(source),
            _ => return Err(SteeringError::Attach { ifindex, mode, source }),
        }
    }
    unreachable!("the last step of every ladder returns")
}

fn os_error(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(e) => e.io_error.raw_os_error(),
        ProgramError::XdpError(XdpError::NetlinkError(e)) => e.raw_os_error(),
        _ => None,
    }
}
