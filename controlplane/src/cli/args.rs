//! The words of the command line.

use super::pki::Pki;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// VPN gateway that opens IPsec tunnels by telephone number.
#[derive(Debug, Parser)]
#[command(name = "sipsec", version, infer_subcommands = true, disable_help_subcommand = true)]
pub struct Args {
    /// The gateway with this profile
    #[arg(long, global = true, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// The gateway behind this socket
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "profile")]
    pub socket: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// What is
    #[command(subcommand, infer_subcommands = true)]
    Show(Show),
    /// End calls
    #[command(subcommand, infer_subcommands = true)]
    Clear(Clear),
    /// Events as they happen, until Ctrl-C
    Monitor,
    /// Check a profile: every problem with its place and its cure
    Check { file: PathBuf },
    /// Make, import and show certificates
    #[command(infer_subcommands = true)]
    Pki(Pki),
    /// Change the log filter of the running gateway (`info`, `info,sipsec::sip=debug,sipsec::ike=debug` for messages)
    Log { filter: String },
}

#[derive(Debug, Subcommand)]
pub enum Show {
    /// Sessions and registrations
    #[command(subcommand, infer_subcommands = true)]
    VpnSip(VpnSip),
    /// IKE and IPsec
    #[command(subcommand, infer_subcommands = true)]
    Crypto(Crypto),
    /// Address translations
    #[command(subcommand, infer_subcommands = true)]
    Ip(Ip),
    /// Ports, drops by reason, cycles per stage, counters
    Dataplane,
    /// The control plane itself: WAN address, sockets, kernel routes
    Control,
}

#[derive(Debug, Subcommand)]
pub enum VpnSip {
    /// [detail] [remote-number NUMBER]
    Session { words: Vec<String> },
    /// Whether each line is registered, and why not
    RegistrationStatus,
    #[command(subcommand, infer_subcommands = true)]
    Sip(Sip),
}

#[derive(Debug, Subcommand)]
pub enum Sip {
    /// Registered lines with contact, expiry and Call-ID
    Registrar,
}

#[derive(Debug, Subcommand)]
pub enum Crypto {
    /// [detail]
    Session {
        #[arg(value_parser = prefix_of("detail"))]
        detail: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Ip {
    /// translations
    Nat {
        #[arg(value_parser = prefix_of("translations"), default_value = "translations")]
        what: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Clear {
    /// session [remote-number NUMBER]
    VpnSip {
        #[arg(value_parser = prefix_of("session"))]
        session: String,
        words: Vec<String>,
    },
}

/// Accepts a word or its beginning.
fn prefix_of(word: &'static str) -> impl Fn(&str) -> Result<String, String> + Clone {
    move |given| {
        if !given.is_empty() && word.starts_with(given) {
            Ok(word.to_owned())
        } else {
            Err(format!("expected `{word}`"))
        }
    }
}

/// `[detail] [remote-number N]` in either order, as IOS takes them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SessionArgs {
    pub detail: bool,
    pub remote_number: Option<String>,
}

impl SessionArgs {
    /// # Errors
    /// A sentence about the word that is not understood.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        const USAGE: &str = "usage: sipsec show vpn-sip session [detail] [remote-number NUMBER]";
        let mut out = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if "detail".starts_with(word.as_str()) {
                out.detail = true;
            } else if "remote-number".starts_with(word.as_str()) {
                let number =
                    words.next().ok_or_else(|| format!("a number belongs after `{word}`\n{USAGE}"))?;
                let parsed = number.parse::<sipsec_net::TelNumber>();
                let parsed =
                    parsed.map_err(|_| format!("\"{number}\" is not a telephone number\n{USAGE}"))?;
                out.remote_number = Some(parsed.to_string());
            } else {
                return Err(format!("unknown word `{word}`\n{USAGE}"));
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn session(words: &[&str]) -> Result<SessionArgs, String> {
        SessionArgs::parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_seeds_commands_are_understood_in_full_and_shortened() {
        Args::command().debug_assert();
        for line in [
            "show vpn-sip session",
            "show vpn-sip session detail",
            "show vpn-sip session remote-number 0612349999 detail",
            "show vpn-sip registration-status",
            "show vpn-sip sip registrar",
            "show crypto session detail",
            "sh ip nat translations",
            "sh vpn ses d",
            "show dataplane --json",
            "--profile x.yaml show crypto session",
            "clear vpn-sip session remote-number 0612349999",
            "monitor --json",
            "pki self-signed branch --key-type rsa-3072 --days 30 --force",
            "pki fing x.crt --json",
        ] {
            let words = std::iter::once("sipsec").chain(line.split(' '));
            assert!(Args::try_parse_from(words).is_ok(), "{line}");
        }
        assert!(Args::try_parse_from(["sipsec", "show", "crypto", "session", "brief"]).is_err());
    }

    #[test]
    fn detail_and_number_come_in_either_order() {
        let wanted = SessionArgs { detail: true, remote_number: Some("0612349999".into()) };
        assert_eq!(session(&["detail", "remote-number", "06-1234-9999"]), Ok(wanted));
        assert_eq!(session(&["rem", "0612349999"]).map(|a| a.detail), Ok(false));
        assert!(session(&["remote-number"]).is_err());
        assert!(session(&["remote-number", "x"]).is_err());
        assert!(session(&["everything"]).is_err());
    }
}
