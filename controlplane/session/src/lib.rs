//! VPN-SIP sessions: joins SIP, IKE and the dataplane in one deterministic core.
