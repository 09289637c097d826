//! Offloads that hide a part of a frame from XDP. They are off while a program is attached, and as they were afterwards.
//!
//! A VLAN tag that the device takes out of the frame is kept beside it, where XDP programs do not see it: the frame of another
//! LAN looks like one of this LAN. Frames that were merged are larger than an AF_XDP frame. A checksum that is still to be
//! computed would be sealed as it stands.

use crate::attach::XdpMode;
use crate::error::SteeringError;
use crate::ethtool::Ethtool;
use crate::link::{Link, VethPeer};

/// Features of the device itself.
const OWN: &[&str] = &["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse", "rx-gro-hw", "rx-lro"];
/// Generic mode sees frames after the kernel has merged them.
const OWN_GENERIC: &[&str] = &["rx-gro", "rx-gro-list", "rx-udp-gro-forwarding"];
/// A veth hands over what its other end sends, with the tag and the checksum that the other end left to a device.
const VETH_PEER: &[&str] =
    &["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert", "tx-checksum-ip-generic", "tx-checksum-sctp"];

/// Puts back what it has switched off when it is dropped.
#[derive(Debug)]
pub(crate) struct OffloadsOff {
    ethtool: Ethtool,
    /// Index of the device and name of the feature, in the order in which they were switched off.
    changed: Vec<(u32, &'static str)>,
}

impl OffloadsOff {
    /// Before a program is attached to `link`, whose index is `index`.
    pub(crate) fn before_attach(index: u32, link: &Link) -> Result<Self, SteeringError> {
        let ethtool = Ethtool::open().map_err(|source| SteeringError::Link { ifindex: index, source })?;
        let mut off = Self { ethtool, changed: Vec::new() };
        off.switch_off(index, &link.name, OWN)?;
        if let Some(VethPeer::Here(peer)) = link.peer
            && let Ok(name) = off.ethtool.device_name(peer)
        {
            off.switch_off(peer, &name, VETH_PEER)?;
        }
        Ok(off)
    }

    /// What a process that was killed has switched off (the index of a device and the name of a feature), as far as it is still
    /// off.
    pub(crate) fn left_behind(left: &[(u32, String)]) -> std::io::Result<Self> {
        let ethtool = Ethtool::open()?;
        let known = |name: &str| [OWN, OWN_GENERIC, VETH_PEER].concat().into_iter().find(|k| *k == name);
        let is_off = |index: u32, name: &str| {
            let features = ethtool.device_name(index).and_then(|device| ethtool.features(&device));
            features.is_ok_and(|f| f.is_on(name) == Some(false))
        };
        let changed = left.iter().filter(|(index, name)| is_off(*index, name));
        let changed = changed.filter_map(|(index, name)| Some((*index, known(name)?))).collect();
        Ok(Self { ethtool, changed })
    }

    pub(crate) fn changed(&self) -> &[(u32, &'static str)] {
        &self.changed
    }

    /// When the mode is known.
    pub(crate) fn after_attach(
        &mut self,
        index: u32,
        link: &Link,
        mode: XdpMode,
    ) -> Result<(), SteeringError> {
        match mode {
            XdpMode::Driver => Ok(()),
            XdpMode::Generic => self.switch_off(index, &link.name, OWN_GENERIC),
        }
    }

    fn switch_off(
        &mut self,
        index: u32,
        device: &str,
        names: &'static [&'static str],
    ) -> Result<(), SteeringError> {
        // A device without ethtool has no offloads that a driver could do.
        let Ok(before) = self.ethtool.features(device) else { return Ok(()) };
        let on: Vec<_> = names.iter().copied().filter(|name| before.is_on(name) == Some(true)).collect();
        for &name in &on {
            let fail = |source| SteeringError::Offload { device: device.to_owned(), offload: name, source };
            self.ethtool.switch(device, &before, name, false).map_err(fail)?;
            self.changed.push((index, name));
            let refused = self.ethtool.features(device).map_err(fail)?.is_on(name) == Some(true);
            if refused {
                return Err(fail(std::io::Error::other("the driver keeps it on")));
            }
        }
        Ok(())
    }
}

impl Drop for OffloadsOff {
    fn drop(&mut self) {
        for (index, feature) in self.changed.iter().rev() {
            // A device that has gone took its features with it.
            let Ok(device) = self.ethtool.device_name(*index) else { continue };
            if let Ok(features) = self.ethtool.features(&device) {
                let _ = self.ethtool.switch(&device, &features, feature, true);
            }
        }
    }
}
