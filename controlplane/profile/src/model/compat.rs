//! `compat:`

use super::words::words;

words! {
    /// Whose rules a profile keeps besides those of the gateway.
    pub enum Compat {
        None = "none", "those of the gateway alone";
        Cisco = "cisco", "what VPN-SIP of IOS refuses is refused, with IOS's reason: in `check`, and in `apply`, where the parameters of a tunnel and the tunnel source are locked while the tunnel is there";
    }
}
