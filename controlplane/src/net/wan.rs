//! The WAN's addresses as the kernel has them, of each family that SIP uses.

use sipsec_session::WanAddresses;
use std::net::IpAddr;

/// An address, or why there is none; `None` for a family that is not used.
type Known = Option<Result<IpAddr, String>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wan {
    v4: Known,
    v6: Known,
}

impl Wan {
    #[must_use]
    pub fn new(device: &str, families: (bool, bool)) -> Self {
        let unknown = |used: bool| used.then(|| Err(format!("{device} has not been looked at yet")));
        Self { v4: unknown(families.0), v6: unknown(families.1) }
    }

    /// `false` if that was known.
    pub fn set(&mut self, v6: bool, address: Result<IpAddr, String>) -> bool {
        let known = if v6 { &mut self.v6 } else { &mut self.v4 };
        let news = known.as_ref() != Some(&address);
        *known = Some(address);
        news
    }

    #[must_use]
    pub fn addresses(&self) -> WanAddresses {
        let of = |known: &Known| known.as_ref().and_then(|k| k.as_ref().ok()).copied();
        WanAddresses { v4: of(&self.v4), v6: of(&self.v6) }
    }

    /// The first address, or why there is none.
    ///
    /// # Errors
    /// The reasons of all families.
    pub fn first(&self) -> Result<IpAddr, String> {
        if let Some(ip) = self.addresses().any() {
            return Ok(ip);
        }
        let why: Vec<_> =
            [&self.v4, &self.v6].into_iter().flatten().filter_map(|k| k.clone().err()).collect();
        Err(why.join("; "))
    }

    /// Why a family that is used has no address.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        [&self.v4, &self.v6].into_iter().flatten().find_map(|k| k.clone().err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_enough_and_what_lacks_is_told() {
        let mut wan = Wan::new("wan0", (true, true));
        assert!(wan.first().is_err_and(|why| why.matches("wan0").count() == 2));
        let v6: IpAddr = "2001:db8::1".parse().expect("address");
        assert!(wan.set(true, Ok(v6)) && !wan.set(true, Ok(v6)));
        assert_eq!((wan.first(), wan.addresses()), (Ok(v6), WanAddresses::of(Some(v6))));
        assert!(wan.missing().is_some());
        let mut one = Wan::new("wan0", (true, false));
        one.set(false, Ok("192.0.2.1".parse().expect("address")));
        assert_eq!(one.missing(), None);
    }
}
