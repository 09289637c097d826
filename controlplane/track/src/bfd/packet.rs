//! The mandatory section of a BFD control packet (RFC 5880 §4.1). Authentication is not used.

use std::time::Duration;

/// Length without authentication, which is what this end sends.
pub const LEN: usize = 24;
const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    AdminDown,
    Down,
    Init,
    Up,
}

impl SessionState {
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        }
    }
}

/// Why the session last went down: the numbers of RFC 5880 §4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Diagnostic(pub u8);

impl Diagnostic {
    pub const NONE: Self = Self(0);
    pub const DETECTION_EXPIRED: Self = Self(1);
    pub const NEIGHBOUR_DOWN: Self = Self(3);

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "No Diagnostic",
            1 => "Control Detection Time Expired",
            2 => "Echo Function Failed",
            3 => "Neighbor Signaled Session Down",
            4 => "Forwarding Plane Reset",
            5 => "Path Down",
            6 => "Concatenated Path Down",
            7 => "Administratively Down",
            8 => "Reverse Concatenated Path Down",
            _ => "Reserved",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub diagnostic: Diagnostic,
    pub state: SessionState,
    pub poll: bool,
    pub final_: bool,
    pub demand: bool,
    pub multiplier: u8,
    pub my_discriminator: u32,
    pub your_discriminator: u32,
    pub desired_min_tx: Duration,
    pub required_min_rx: Duration,
}

/// Why a packet is discarded (RFC 5880 §6.8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the packet is shorter than its fields")]
    Short,
    #[error("the version is not 1")]
    Version,
    #[error("the detection multiplier is 0")]
    Multiplier,
    #[error("the Multipoint bit is set")]
    Multipoint,
    #[error("My Discriminator is 0")]
    Discriminator,
    #[error("Your Discriminator is 0 in state Init or Up")]
    State,
    #[error("the packet is authenticated, and authentication is not configured")]
    Authenticated,
}

impl Packet {
    /// # Errors
    /// If RFC 5880 §6.8.6 wants the packet to be discarded.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let fields: &[u8; LEN] = bytes.first_chunk().ok_or(Malformed::Short)?;
        let [first, flags, multiplier, length, ..] = *fields;
        let word =
            |at: usize| u32::from_be_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]);
        if first >> 5 != VERSION {
            return Err(Malformed::Version);
        }
        let length = usize::from(length);
        if length < LEN || length > bytes.len() {
            return Err(Malformed::Short);
        }
        if multiplier == 0 {
            return Err(Malformed::Multiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(Malformed::Multipoint);
        }
        if flags & AUTHENTICATED != 0 {
            return Err(Malformed::Authenticated);
        }
        let packet = Self {
            diagnostic: Diagnostic(first & 0x1f),
            state: SessionState::from_bits(flags >> 6),
            poll: flags & POLL != 0,
            final_: flags & FINAL != 0,
            demand: flags & DEMAND != 0,
            multiplier,
            my_discriminator: word(4),
            your_discriminator: word(8),
            desired_min_tx: Duration::from_micros(word(12).into()),
            required_min_rx: Duration::from_micros(word(16).into()),
        };
        if packet.my_discriminator == 0 {
            return Err(Malformed::Discriminator);
        }
        let early = matches!(packet.state, SessionState::Down | SessionState::AdminDown);
        if packet.your_discriminator == 0 && !early {
            return Err(Malformed::State);
        }
        Ok(packet)
    }

    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut flags = self.state.bits() << 6;
        for (set, bit) in [(self.poll, POLL), (self.final_, FINAL), (self.demand, DEMAND)] {
            flags |= if set { bit } else { 0 };
        }
        let micros = |d: Duration| u32::try_from(d.as_micros()).unwrap_or(u32::MAX).to_be_bytes();
        let mut out = vec![VERSION << 5 | (self.diagnostic.0 & 0x1f), flags, self.multiplier, LEN as u8];
        out.extend(self.my_discriminator.to_be_bytes());
        out.extend(self.your_discriminator.to_be_bytes());
        out.extend(micros(self.desired_min_tx));
        out.extend(micros(self.required_min_rx));
        out.extend([0; 4]); // Required Min Echo RX Interval: no echo packets are wanted.
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet() -> Packet {
        Packet {
            diagnostic: Diagnostic::DETECTION_EXPIRED,
            state: SessionState::Init,
            poll: true,
            final_: false,
            demand: false,
            multiplier: 3,
            my_discriminator: 0x0102_0304,
            your_discriminator: 0x0506_0708,
            desired_min_tx: Duration::from_millis(1000),
            required_min_rx: Duration::from_millis(50),
        }
    }

    const BYTES: [u8; 24] =
        [0x21, 0xa0, 3, 24, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0x0f, 0x42, 0x40, 0, 0, 0xc3, 0x50, 0, 0, 0, 0];

    #[test]
    fn the_bytes_are_those_of_the_rfc() {
        assert_eq!(packet().write(), BYTES);
        assert_eq!(Packet::read(&BYTES), Ok(packet()));
    }

    #[test]
    fn each_rule_of_reception_is_applied() {
        let with = |at: usize, byte: u8| {
            let mut bytes = BYTES;
            bytes[at] = byte;
            Packet::read(&bytes)
        };
        assert_eq!(Packet::read(&BYTES[..23]), Err(Malformed::Short));
        assert_eq!(with(0, 0x41), Err(Malformed::Version));
        assert_eq!(with(3, 23), Err(Malformed::Short));
        assert_eq!(with(3, 25), Err(Malformed::Short));
        assert_eq!(with(2, 0), Err(Malformed::Multiplier));
        assert_eq!(with(1, 0xa1), Err(Malformed::Multipoint));
        assert_eq!(with(1, 0xa4), Err(Malformed::Authenticated));
        let mut bytes = BYTES;
        bytes[4..8].fill(0);
        assert_eq!(Packet::read(&bytes), Err(Malformed::Discriminator));
        let mut bytes = BYTES;
        bytes[8..12].fill(0);
        assert_eq!(Packet::read(&bytes), Err(Malformed::State));
        bytes[1] = 0x40;
        assert!(Packet::read(&bytes).is_ok(), "Down without Your Discriminator");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(read) = Packet::read(&bytes) {
                prop_assert_eq!(Packet::read(&read.write()), Ok(read));
            }
        }
    }
}
