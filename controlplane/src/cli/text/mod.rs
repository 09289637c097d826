//! The shows as text, in the words and the layout of the IOS commands that they replace.

mod calls;
mod change;
mod crypto;
mod csv;
mod dataplane;
mod dhcp;
mod event;
mod interface;
mod nat;
mod overview;
mod qos;
mod registration;
mod route;
mod session;
mod sla;
mod table;
mod topology;
mod track;

use crate::api::model::Unconfirmed;

pub use calls::{history, ladder, messages};
pub use change::{applied, preview, versions};
pub use crypto::crypto_sessions;
pub use csv::history_csv;
pub use dataplane::{control, dataplane};
pub use dhcp::dhcp;
pub use event::event;
pub use interface::{interfaces, without_vpn_sip};
pub use nat::{nat_statistics, translations};
pub use overview::{Level, brief, cleared, counted, health, summary};
pub use qos::policy_maps;
pub use registration::{registrar, registration_status};
pub use route::routes;
pub use session::sessions;
pub use sla::{sla_configuration, sla_statistics};
pub use topology::topology;
pub use track::{track, track_brief};

/// `HH:MM:SS`, and days before it when there are some.
fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let hms = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days == 0 { hms } else { format!("{days}d {hms}") }
}

/// One call that was hung up without a confirmation.
fn unconfirmed(call: &Unconfirmed) -> String {
    let mut parts =
        vec![format!("call with {}", call.remote_number.as_deref().unwrap_or("an unknown number"))];
    if call.recovered {
        parts.push("of an earlier run".to_owned());
    }
    if let Some(s) = call.charged_s {
        parts.push(format!("answered {s} s ago"));
    }
    parts.push(format!("hung up {} s ago", call.hung_up_s));
    let bye =
        call.refused.map_or("BYE not answered".to_owned(), |status| format!("BYE refused with {status}"));
    let next = call.next_bye_s.map(|s| format!(", next in {s} s")).unwrap_or_default();
    format!("{}; {bye}{next} (Call-ID {})", parts.join(", "), call.call_id)
}

#[cfg(test)]
pub mod tests {
    use std::path::Path;

    /// Compares with a file below `tests/golden/show`; `UPDATE_GOLDEN=1` rewrites it.
    pub fn golden(name: &str, actual: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/show").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, actual).expect("writable");
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(expected, actual, "{name} differs; UPDATE_GOLDEN=1 accepts");
    }

    /// Lines with their blanks squeezed: for comparison with the printed IOS output, whose layout was lost.
    pub fn words(text: &str) -> Vec<String> {
        let squeeze = |l: &str| l.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(squeeze).filter(|l| !l.is_empty()).collect()
    }

    #[test]
    fn a_clock_counts_days_apart() {
        assert_eq!(super::clock(42), "00:00:42");
        assert_eq!(super::clock(86_399), "23:59:59");
        assert_eq!(super::clock(2 * 86_400 + 3661), "2d 01:01:01");
    }
}
