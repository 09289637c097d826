//! The path of a call: how large the datagrams on it may be, as far as answers tell.
//!
//! IKE messages begin at the configured size, and go on in smaller fragments when they are not answered (RFC 7383 §2.5.2). The
//! size that was answered holds for the rest of the call. Larger packets are probed for ([`Search`], RFC 8899).

pub(crate) mod search;

use core::net::IpAddr;
pub(crate) use search::{PathView, Search};
use sipsec_net::udp_encap::NON_ESP_MARKER;
use sipsec_net::{Instant, ipv4, ipv6, udp};

/// RFC 7383 §2.5.1: what is recommended where nothing is known, in bytes of the IP datagram, and what IPv6 carries everywhere.
const SIZES_V4: [usize; 2] = [1280, 576];
const SIZES_V6: [usize; 1] = [1280];

pub(crate) struct Path {
    /// The outer family.
    v6: bool,
    /// IP and UDP headers and the marker in front of an IKE message.
    headers: usize,
    sizes: &'static [usize],
    /// The largest IKE message that was answered after a larger one was not.
    learnt: Option<usize>,
    pub search: Search,
}

/// How an answered request went out, in bytes of its IKE datagrams.
#[derive(Clone, Copy)]
pub(crate) struct Answered {
    /// The largest of the last transmission.
    pub largest: usize,
    /// The largest of the transmissions before, which were larger and had no answer.
    pub refused: Option<usize>,
    /// It was a probe.
    pub probe: bool,
}

impl Path {
    pub fn new(remote: IpAddr, probes: bool) -> Self {
        let v6 = remote.is_ipv6();
        let (ip, sizes): (usize, &[usize]) =
            if v6 { (ipv6::HEADER_LEN, &SIZES_V6) } else { (ipv4::HEADER_LEN, &SIZES_V4) };
        let headers = ip + udp::HEADER_LEN + NON_ESP_MARKER.len();
        Self { v6, headers, sizes, learnt: None, search: Search::new(v6, probes) }
    }

    /// The longest IKE message that goes out whole, where `configured` is the longest that the profile allows.
    pub fn message_max(&self, configured: usize) -> usize {
        let probed = self.search.bound().map(|ip_len| self.message_len(ip_len));
        [self.learnt, probed].into_iter().flatten().fold(configured, usize::min)
    }

    /// The sizes of IKE messages to try after `largest` had no answer, the largest first.
    pub fn smaller(&self, largest: usize) -> impl Iterator<Item = usize> {
        self.sizes.iter().map(|ip| ip - self.headers).filter(move |size| *size < largest)
    }

    /// Bytes of an IKE message that fills an IP datagram of `ip_len`.
    pub fn message_len(&self, ip_len: u16) -> usize {
        usize::from(ip_len).saturating_sub(self.headers)
    }

    /// The IKE message to probe with now. `fits` says how long the longest probe within its argument is.
    pub fn next_probe(&mut self, now: Instant, fits: impl Fn(usize) -> usize) -> Option<usize> {
        let headers = self.headers;
        let fit = |ip_len: u16| {
            let message = fits(usize::from(ip_len).saturating_sub(headers));
            u16::try_from(message + headers).unwrap_or(u16::MAX)
        };
        let size = self.search.next(now, fit)?;
        Some(self.message_len(size))
    }

    fn ip_len(&self, message: usize) -> u16 {
        u16::try_from(message + self.headers).unwrap_or(u16::MAX)
    }

    /// A request of ours was answered.
    pub fn answered(&mut self, now: Instant, how: Answered) {
        let proved = self.ip_len(how.largest);
        match how.refused.map(|refused| self.ip_len(refused)) {
            Some(refused) if how.probe => self.search.too_large(now, refused, proved),
            Some(_) => self.learn(how.largest),
            None if how.probe => {
                self.learnt = self.learnt.map(|before| before.max(how.largest));
                self.search.confirmed(now, proved);
            }
            None if self.v6 => self.search.proved(proved),
            // Over IPv4 all but probes goes without DF, so it may have passed in fragments (RFC 8899 §3).
            None => {}
        }
    }

    /// A message of this size arrived, and a larger one may not have.
    pub fn learn(&mut self, largest: usize) {
        self.learnt = Some(self.learnt.map_or(largest, |before| before.min(largest)));
    }
}
