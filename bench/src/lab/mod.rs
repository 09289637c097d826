//! The lab: network namespaces, a carrier, two gateways and what is asked of them.

/// Prints a line. A reader that goes away does not keep the lab from cleaning up.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

pub mod account;
pub mod api;
pub mod carrier;
pub mod clock;
pub mod compare;
pub mod demo;
pub mod demo_failover;
pub mod drops;
pub mod error;
pub mod failover;
pub mod gateway;
pub mod interrupt;
pub mod iperf;
pub mod ladder;
pub mod measure;
pub mod measure_failover;
pub mod measure_scale;
pub mod measure_shaper;
pub mod needs;
pub mod netns;
pub mod observe;
pub mod peer;
pub mod primary;
pub mod probe;
pub mod process;
pub mod profile;
pub mod scenario;
pub mod share;
pub mod sys;
pub mod topology;
pub mod unit;
pub mod world;

pub use error::LabError;
