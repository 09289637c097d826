//! What DHCP has said of the line so far.

use super::Change;
use sipsec_dhcp::{SipData, v4, v6};
use sipsec_profile::Profile;
use sipsec_profile::model::limits::SIP_PORT;
use std::net::SocketAddr;

/// The newest word of each family.
#[derive(Clone, Debug, Default)]
pub struct Learnt {
    v4: Option<Result<Box<v4::Lease>, String>>,
    v6: Option<Result<Box<v6::Lease>, String>>,
}

impl Learnt {
    pub fn take(&mut self, change: Change) {
        match change {
            Change::V4(lease) => self.v4 = Some(lease),
            Change::V6(lease) => self.v6 = Some(lease),
        }
    }

    #[must_use]
    pub const fn v4(&self) -> Option<&Result<Box<v4::Lease>, String>> {
        self.v4.as_ref()
    }

    #[must_use]
    pub const fn v6(&self) -> Option<&Result<Box<v6::Lease>, String>> {
        self.v6.as_ref()
    }

    /// The registrar and the domain: those of the profile, or of DHCP where the profile says so.
    ///
    /// # Errors
    /// What is still missing, and why.
    pub fn server(&self, profile: &Profile) -> Result<(SocketAddr, String), String> {
        let sip = || self.sip(profile.wan.sip_by_v6());
        let registrar = match profile.sip.registrar.given() {
            Some(registrar) => *registrar,
            None => {
                let servers = &sip()?.servers;
                let address = servers.addresses.first().ok_or_else(|| match servers.names.first() {
                    Some(name) => format!(
                        "DHCP names the SIP server {name} and no address: names are not resolved, so write `sip.registrar`"
                    ),
                    None => "DHCP names no SIP server: write `sip.registrar`".to_owned(),
                })?;
                SocketAddr::new(*address, SIP_PORT)
            }
        };
        let domain = match profile.sip.domain.given() {
            Some(domain) => domain.clone(),
            None => sip()?.vendor.sip_domain.clone().ok_or_else(|| {
                "DHCP names no SIP domain: write `sip.domain`, or `wan.vendor_class: ntt` if the line wants it"
                    .to_owned()
            })?,
        };
        Ok((registrar, domain))
    }

    fn sip(&self, by_v6: bool) -> Result<&SipData, String> {
        let waits = || "DHCP has not answered yet".to_owned();
        if by_v6 {
            self.v6.as_ref().ok_or_else(waits)?.as_ref().map(|lease| &lease.sip).map_err(Clone::clone)
        } else {
            self.v4.as_ref().ok_or_else(waits)?.as_ref().map(|lease| &lease.sip).map_err(Clone::clone)
        }
    }
}
