//! Registrations and their bindings.

use super::config::BINDINGS_MAX;
use super::message::address_of;
use sipsec_net::Instant;
use std::collections::HashMap;
use std::net::SocketAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// One at least.
    pub contacts: Vec<String>,
    /// Where the REGISTER came from.
    pub source: SocketAddr,
    /// Its REGISTER said `Supported: path`.
    pub path: bool,
    pub expires_at: Instant,
}

impl Binding {
    /// The contact for calls of this IP version; the first if there is none.
    #[must_use]
    pub fn contact(&self, v4: bool) -> &str {
        let fits = |c: &&String| address_of(c).is_some_and(|a| a.is_ipv4() == v4);
        self.contacts.iter().find(fits).or(self.contacts.first()).map_or("", String::as_str)
    }
}

/// By telephone number; the newest contact counts.
#[derive(Debug, Default)]
pub struct Location {
    bindings: HashMap<String, Binding>,
}

impl Location {
    /// False if there is no room for another number.
    pub fn register(&mut self, number: &str, binding: Binding) -> bool {
        if self.bindings.len() >= BINDINGS_MAX && !self.bindings.contains_key(number) {
            return false;
        }
        self.bindings.insert(number.to_owned(), binding);
        true
    }

    pub fn unregister(&mut self, number: &str) {
        self.bindings.remove(number);
    }

    #[must_use]
    pub fn find(&self, now: Instant, number: &str) -> Option<&Binding> {
        self.bindings.get(number).filter(|b| b.expires_at > now)
    }

    /// Whether the number is registered with this contact, by a REGISTER that said `Supported: path`.
    #[must_use]
    pub fn is_terminal(&self, number: &str, contact: &str) -> bool {
        self.bindings.get(number).is_some_and(|b| b.path && b.contacts.iter().any(|c| c == contact))
    }

    /// Numbers registered from this address, in order.
    #[must_use]
    pub fn numbers_at(&self, now: Instant, source: SocketAddr) -> Vec<String> {
        let mut out: Vec<_> = self
            .bindings
            .iter()
            .filter(|(_, b)| b.source == source && b.expires_at > now)
            .map(|(n, _)| n.clone())
            .collect();
        out.sort();
        out
    }

    #[must_use]
    pub fn registered(&self, now: Instant) -> Vec<String> {
        let mut out: Vec<_> =
            self.bindings.iter().filter(|(_, b)| b.expires_at > now).map(|(n, _)| n.clone()).collect();
        out.sort();
        out
    }
}
