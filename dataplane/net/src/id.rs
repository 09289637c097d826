//! Identifiers. Each is its own type, so that an SPI is never taken for a tunnel.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id!(
    /// A configured tunnel, numbered by the control plane; the same number for the life of the configuration.
    TunnelId(u32)
);
id!(
    /// A security association in the dataplane, numbered by the control plane and never reused while it runs.
    /// (Outbound SPIs are chosen by peers and may be equal for two tunnels, so they are no key.)
    SaId(u32)
);
id!(
    /// A command transaction on the ring. Strictly rising; a repeated id is answered, not applied again.
    TxnId(u64)
);
id!(
    /// A UDP port of the outside interface named in our SDP: the only way in for a call's IKE and ESP.
    MediaPort(u16)
);

/// Security Parameters Index. RFC 4303 §2.1: 1..=255 are reserved by IANA, 0 is local use and must not go on the wire;
/// RFC 3948 §2.1: an SPI of 0 would be taken for the non-ESP marker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(u32);

impl Spi {
    pub const MIN: u32 = 256;

    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        if value >= Self::MIN { Some(Self(value)) } else { None }
    }

    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spi(0x{:08x})", self.0)
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_spis_are_refused() {
        assert_eq!(Spi::new(0), None);
        assert_eq!(Spi::new(255), None);
        assert_eq!(Spi::new(256).map(Spi::get), Some(256));
    }
}
