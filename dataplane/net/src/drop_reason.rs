//! Every early end of a packet is exactly one of these, with a counter.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a packet went no further. The discriminant is the counter's index in shared memory.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u16)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            pub const COUNT: usize = Self::ALL.len();

            /// The counter's name in `show dataplane`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// The frame is shorter than its headers say, or not IP.
    MalformedFrame = "malformed-frame",
    /// Tun mode: the kernel's virtio header does not fit the frame behind it.
    VirtioMalformed = "virtio-malformed",
    /// Tun mode: the kernel did not take a frame, because the sVTI is down or gone, or there is no memory.
    SvtiRefused = "svti-refused",
    /// Bad version, length or IPv4 header checksum.
    MalformedIp = "malformed-ip",
    /// UDP length and IP length disagree.
    MalformedUdp = "malformed-udp",
    /// A UDP payload that is neither IKE, ESP nor a keepalive.
    MalformedEncap = "malformed-encap",
    /// Neither IPv4 nor IPv6.
    UnsupportedEtherType = "unsupported-ether-type",
    /// Router mode: the frame is for another station of the LAN, or for all of them.
    ForeignMac = "foreign-mac",
    /// TTL or hop limit ran out at this hop; the sender gets Time Exceeded.
    TtlExpired = "ttl-expired",
    /// No tunnel prefix covers the destination.
    NoRoute = "no-route",
    /// The tunnel has no SA, and its trigger filter says that the packet is not worth a call.
    TriggerFiltered = "trigger-filtered",
    /// A better route than the tunnel's leads outside: the packet was taken off the LAN just before, and the tunnel has no SA.
    RoutedOutside = "routed-outside",
    /// The route of its destination discards.
    RouteDiscards = "route-discards",
    /// The FIB named a tunnel that is gone (a broken invariant, counted so that it is seen).
    TunnelUnknown = "tunnel-unknown",
    /// Multicast, broadcast or martian address into a tunnel.
    NotUnicast = "not-unicast",
    /// A routing protocol's hello for a tunnel without an SA; it asks for no call.
    HelloWithoutSa = "hello-without-sa",
    /// Larger than the tunnel MTU with DF set (or IPv6); the sender gets Packet Too Big.
    TooBigDf = "too-big-df",
    /// Could not be cut into fragments.
    FragmentFailed = "fragment-failed",
    /// An outer fragment without data, beyond the longest datagram, or of a length that only the last one may have.
    FragmentMalformed = "fragment-malformed",
    /// RFC 5722: outer fragments that overlap, or disagree about the end, are dropped with all others of their datagram.
    FragmentOverlap = "fragment-overlap",
    /// A copy of an outer fragment that has come before.
    FragmentDuplicate = "fragment-duplicate",
    /// Other fragments of the outer datagram did not come in time.
    FragmentTimeout = "fragment-timeout",
    /// More fragments than one datagram may have, or no room for more datagrams: of the peer, or of all.
    FragmentLimit = "fragment-limit",
    /// Not lost: its bytes went on with the outer fragment that completed their datagram.
    FragmentTaken = "fragment-taken",
    /// An outer datagram that was put together is longer than a frame.
    OuterTooLong = "outer-too-long",
    /// The kernel has more ICMP errors than the worker takes at a time.
    OuterQueueFull = "outer-queue-full",
    /// To a live media port, but left to the kernel by XDP: in fragments from another address than the peer's, or behind IPv6
    /// extension headers.
    KernelDatagram = "kernel-datagram",
    /// An ICMP error about a packet that no live call has sent, or that names no smaller MTU (RFC 4301 §8.2).
    PathMtuIgnored = "path-mtu-ignored",
    /// No traffic selector of the SA covers the packet (RFC 4301 §5.1).
    SelectorMismatchOut = "selector-mismatch-out",
    /// No SA yet and the trigger queue, or all of them together, are at their bound.
    TriggerQueueFull = "trigger-queue-full",
    /// Waited longer for an SA than the trigger queue allows.
    TriggerExpired = "trigger-expired",
    /// The call failed; what waited for it was dropped.
    TriggerFlushed = "trigger-flushed",
    /// Above the negotiated rate and the queue is full.
    ShaperQueueFull = "shaper-queue-full",
    /// The shaper's queue delay stayed above its target (CoDel, RFC 8289), and the packet is no ECN transport's.
    ShaperAqm = "shaper-aqm",
    /// IKE above its bound in the shaper.
    ShaperIkeQueueFull = "shaper-ike-queue-full",
    /// RFC 4303 §3.3.3: the outbound counter must not cycle.
    SequenceExhausted = "sequence-exhausted",
    /// The AEAD engine refused to seal.
    SealFailed = "seal-failed",
    /// The SA is past its hard limit.
    SaHardExpired = "sa-hard-expired",
    /// UDP to a port for which no call is live.
    MediaPortClosed = "media-port-closed",
    /// To a live media port, but not from the address and port in SDP.
    WrongSource = "wrong-source",
    /// No inbound SA has this SPI on this port.
    UnknownSpi = "unknown-spi",
    /// RFC 4303 §3.4.3: left of the replay window.
    ReplayOld = "replay-old",
    /// RFC 4303 §3.4.3: already received.
    ReplayDuplicate = "replay-duplicate",
    /// RFC 4303 §3.4.4.1: the integrity check failed.
    IcvFailed = "icv-failed",
    /// ESP too short, or its padding is not what RFC 4303 §2.4 says.
    EspMalformed = "esp-malformed",
    /// RFC 4303 §2.6: next header 59, discarded silently.
    DummyPacket = "dummy-packet",
    /// Next header of a tunnel-mode SA is not IP.
    InnerNotIp = "inner-not-ip",
    /// RFC 4301 §5.2: the inner packet is not of this SA's selectors.
    SelectorMismatchIn = "selector-mismatch-in",
    /// RFC 4301 §5.2, RFC 3704 §2.2: the inner source is not behind the tunnel that the packet came through.
    SourceNotRouted = "source-not-routed",
    /// RFC 6040 §4.2: inner Not-ECT with outer CE. RFC 3168 §5.3: outer fragments with CE and with Not-ECT.
    EcnIllegal = "ecn-illegal",
    /// Arrived above the negotiated rate, and the tunnel's policer drops.
    PolicedIn = "policed-in",
    /// More IKE messages than a peer may send at once, or than the control plane takes.
    IkePuntFull = "ike-punt-full",
    /// IKE message larger than a punt slot.
    IkeTooLong = "ike-too-long",
    /// An IKE message to send for a media port that is closed.
    IkeNoBinding = "ike-no-binding",
    /// RFC 3948 §2.3 keepalive: counted, then discarded.
    Keepalive = "keepalive",
    /// Translation: the packet is too short for its protocol, or an ICMP error quotes too little of one.
    NatMalformed = "nat-malformed",
    /// Translation: neither TCP, UDP nor ICMP, so there is no port to share an address by.
    NatProtocol = "nat-protocol",
    /// Translation: to a global address, but there is no translation; or an ICMP error about a packet that was none's.
    NatNoTranslation = "nat-no-translation",
    /// RFC 4787 §5: the translation takes no packets from this sender.
    NatFiltered = "nat-filtered",
    /// Translation: a later fragment whose first one did not come in time, or no room to wait for it.
    NatFragment = "nat-fragment",
    /// RFC 6888 REQ-4: the host has as many translations as it may have.
    NatHostLimit = "nat-host-limit",
    /// No port of the pool is left for the host.
    NatPortsExhausted = "nat-ports-exhausted",
    /// The translation table is full.
    NatTableFull = "nat-table-full",
    /// The next hop's layer-2 address is not known.
    NoNextHop = "no-next-hop",
    /// Came to one worker, and the queue to the worker that owns its tunnel was full.
    HandOffFull = "hand-off-full",
    /// Handed to the worker that owned its tunnel until just now.
    HandOffStale = "hand-off-stale",
    /// The device took no more frames.
    TxRingFull = "tx-ring-full",
    /// No free frame in the UMEM.
    FrameExhausted = "frame-exhausted",
}

impl DropReason {
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_and_position_agree() {
        for (i, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(r.index(), i);
        }
    }
}
