//! The words of the command line.

mod session;

pub use session::{ClearArgs, SessionArgs, Style};

use super::import::Import;
use super::pki::Pki;
use clap::{Parser, Subcommand};
use sipsec_net::TelNumber;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  sipsec show vpn-sip session        state of every tunnel
  sipsec check /etc/sipsec/x.yaml    find the mistakes of a profile
  sipsec monitor                     watch calls come and go

Commands and words may be shortened: `sipsec sh vpn ses d`.

Environment:
  SIPSEC_GATEWAY  the gateway, as with -g
  NO_COLOR        no colours

Exit codes:
  0  done; of `check`: no error; of `health`: all is well
  1  of `check`: errors were found; of `health`: a warning
  2  the command failed, or its words are wrong; of `health`: critical
  3  of `health`: unknown";

const CALL: &str = "\
Examples:
  sipsec call 0388882001 -- scp backup.tar 10.2.0.2:
  sipsec --profile branch.yaml call 0388882001 --dry-run
  sipsec call 0388882001 -- ping -c 3 10.2.0.2

Exit codes, besides those of the command:
  2    no gateway runs, or the words are wrong
  70   no call can be placed now: not registered, a pause, no key
  71   the carrier or the peer refused the call
  72   no answer
  73   answered, but the session did not come up
  74   the session ended before the command
  127  the command cannot be run";

/// VPN gateway that opens IPsec tunnels by telephone number.
#[derive(Debug, Parser)]
#[command(name = "sipsec", version = crate::version::line(), infer_subcommands = true, after_help = EXAMPLES)]
pub struct Args {
    /// The gateway of this name
    #[arg(short, long, global = true, value_name = "NAME", env = "SIPSEC_GATEWAY", conflicts_with_all = ["profile", "socket"])]
    pub gateway: Option<String>,
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
pub enum Explain {
    /// The largest packet through a tunnel: what the WAN, IP, UDP, ESP and each suite take, and how long it is on the line
    #[command(after_help = "\
Examples:
  sipsec --profile branch.yaml explain mtu Tunnel1
  sipsec --profile branch.yaml explain mtu Tunnel1 --wan-mtu 1454")]
    Mtu {
        /// The name of a tunnel in the profile
        #[arg(value_name = "TUNNEL")]
        tunnel: String,
        /// The MTU of the WAN; without it that of the device, if it is on this machine
        #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..))]
        wan_mtu: Option<u16>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the state
    #[command(
        subcommand,
        infer_subcommands = true,
        after_help = "\
Examples:
  sipsec show vpn-sip summary
  sipsec show vpn-sip session detail
  sipsec show control"
    )]
    Show(Show),
    /// Show how a value of the gateway comes about
    #[command(
        subcommand,
        infer_subcommands = true,
        after_help = "\
Examples:
  sipsec --profile branch.yaml explain mtu Tunnel1
  sipsec --profile branch.yaml explain mtu Tunnel1 --wan-mtu 1454
  sipsec --profile branch.yaml --json explain mtu Tunnel1"
    )]
    Explain(Explain),
    /// Hang up calls, or end address translations
    #[command(
        subcommand,
        infer_subcommands = true,
        after_help = "\
Examples:
  sipsec clear vpn-sip session Tunnel1
  sipsec clear vpn-sip session remote-number 0388882001
  sipsec clear ip nat translation all"
    )]
    Clear(Clear),
    /// Show events as they happen, until Ctrl-C
    #[command(after_help = "\
Examples:
  sipsec monitor
  sipsec monitor --tunnel Tunnel1 --since 12h
  sipsec monitor --utc --json")]
    Monitor {
        /// Show this tunnel only
        #[arg(long, value_name = "NAME")]
        tunnel: Option<String>,
        /// Begin with the events of the last 10m, 12h, …; the latest 4096 are kept
        #[arg(long, value_name = "TIME", value_parser = period)]
        since: Option<Duration>,
        /// Times in UTC instead of local time
        #[arg(long)]
        utc: bool,
    },
    /// Check a profile: every problem with its place and its remedy
    #[command(after_help = "\
Examples:
  sipsec check /etc/sipsec/branch.yaml
  sipsec check branch.yaml headend.yaml
  sipsec check --explain tunnels.idle_s")]
    Check {
        /// The profile; `-` for standard input. Two profiles are compared as the ends of a tunnel, too
        #[arg(value_name = "FILE", num_args = 0..=2)]
        files: Vec<PathBuf>,
        /// Print what a key means, its bounds and its default
        #[arg(long, value_name = "KEY", conflicts_with = "files")]
        explain: Option<String>,
    },
    /// Call a number and run a command while the call is up, or only show what would leave
    #[command(after_help = CALL)]
    Call {
        /// The remote number of a tunnel
        #[arg(value_parser = number)]
        number: TelNumber,
        /// Send nothing: print targets, INVITE and SDP as they would leave. Needs --profile and no gateway
        #[arg(long, conflicts_with = "command")]
        dry_run: bool,
        /// The command and its arguments, after `--`; the call is hung up when it ends
        #[arg(last = true, required_unless_present = "dry_run")]
        command: Vec<String>,
    },
    /// Register every line once, print each step, and remove the bindings. Needs --profile, and the gateway stopped
    #[command(after_help = "\
Examples:
  sipsec --profile /etc/sipsec/branch.yaml register --once
  sipsec -g branch register --once
  sipsec --profile branch.yaml register --once && systemctl start sipsec-controlplane@branch

Exit codes: 0 every line registers; 1 one does not; 2 it could not be tried.")]
    Register {
        /// There is no other way: a gateway that runs registers by itself
        #[arg(long, required = true)]
        once: bool,
    },
    /// Show what a profile would change in the running gateway, and which calls it would hang up
    #[command(after_help = "\
Examples:
  sipsec diff /etc/sipsec/branch.yaml
  sipsec -g branch diff new.yaml
  sipsec diff new.yaml --json | jq .data.calls")]
    Diff {
        /// The profile
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Bring a profile into force, without touching the calls that it does not concern
    #[command(after_help = "\
Examples:
  sipsec apply new.yaml
  sipsec apply new.yaml --confirm 300
  sipsec apply new.yaml --save

It is all or nothing: what the gateway or its dataplane refuses changes nothing. The file that the gateway was started
with stays as it is, unless --save writes the profile over it.")]
    Apply(ApplyArgs),
    /// Keep a change that was applied with --confirm
    #[command(after_help = "\
Examples:
  sipsec confirm
  sipsec -g branch confirm
  sipsec confirm --json")]
    Confirm,
    /// Bring an earlier profile into force again
    #[command(after_help = "\
Examples:
  sipsec rollback
  sipsec rollback 12
  sipsec show configuration history")]
    Rollback {
        /// Its number in the history; the one before without it
        #[arg(value_name = "NUMBER")]
        number: Option<u64>,
        /// For the history, instead of the name of the user
        #[arg(long, value_name = "NAME")]
        author: Option<String>,
    },
    /// Print the JSON schema of profiles, for editors
    #[command(after_help = "\
Examples:
  sipsec schema
  sipsec schema > sipsec.schema.json
  sipsec schema | jq .properties.tunnels

An editor with a YAML language server takes `# yaml-language-server: $schema=sipsec.schema.json` as the first line of a profile.")]
    Schema,
    /// Turn the configuration of another product into a profile
    #[command(
        subcommand,
        infer_subcommands = true,
        after_help = "\
Examples:
  sipsec import ios running-config.txt
  sipsec import ios running-config.txt --ifmap Gi8=wan0 -o branch.yaml
  sipsec import ios a.txt b.txt --html report.html"
    )]
    Import(Import),
    /// Make, import and show certificates
    #[command(
        infer_subcommands = true,
        after_help = "\
Examples:
  sipsec pki self-signed branch
  sipsec pki csr branch --common-name branch.example
  sipsec pki fingerprint branch.crt"
    )]
    Pki(Pki),
    /// Show or change what the running gateway logs
    #[command(after_help = "\
Examples:
  sipsec log
  sipsec log debug --for 10m
  sipsec log info,sipsec::sip=debug,sipsec::ike=debug")]
    Log {
        /// info, debug, trace, or targets as in `info,sipsec::sip=debug`; nothing shows the filter
        filter: Option<String>,
        /// For 90s, 10m, 2h, …; then the filter of the start is in force again
        #[arg(long = "for", value_name = "TIME", value_parser = period, requires = "filter")]
        period: Option<Duration>,
    },
    /// One line and an exit code as Nagios expects: 0 OK, 1 warning, 2 critical, 3 unknown
    #[command(after_help = "\
Examples:
  sipsec health
  sipsec -g branch health
  sipsec health || logger -p daemon.err 'sipsec is unwell'")]
    Health,
    /// Completion script for a shell: `sipsec completions bash > /etc/bash_completion.d/sipsec`
    #[command(hide = true)]
    Completions { shell: clap_complete::Shell },
    /// Manual pages into a directory
    #[command(hide = true)]
    Man { directory: PathBuf },
}

#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    /// The profile
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The profile before comes back after so many seconds, unless `sipsec confirm` comes first
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..=86_400))]
    pub confirm: Option<u64>,
    /// For the history, instead of the name of the user
    #[arg(long, value_name = "NAME")]
    pub author: Option<String>,
    /// Without what needs a restart, instead of refusing it
    #[arg(long)]
    pub partial: bool,
    /// Write the profile over the file that the gateway was started with, too
    #[arg(long, conflicts_with = "confirm")]
    pub save: bool,
}

#[derive(Debug, Subcommand)]
pub enum Show {
    /// Sessions, history and registrations
    #[command(
        subcommand,
        infer_subcommands = true,
        after_help = "\
Examples:
  sipsec show vpn-sip session brief
  sipsec show vpn-sip history Tunnel1 --since 24h
  sipsec show vpn-sip registration-status"
    )]
    VpnSip(VpnSip),
    /// IKE and IPsec
    #[command(subcommand, infer_subcommands = true)]
    Crypto(Crypto),
    /// Address translations, operations, routes and interfaces
    #[command(
        subcommand,
        infer_subcommands = true,
        after_help = "\
Examples:
  sipsec show ip sla statistics
  sipsec show ip route
  sipsec show ip interface brief"
    )]
    Ip(Ip),
    /// Track objects, the routes that follow them, and why: [brief] [NUMBER]
    #[command(after_help = "\
Examples:
  sipsec show track
  sipsec show track 1
  sipsec show track brief")]
    Track {
        /// brief, the number of a track object, or both
        words: Vec<String>,
    },
    /// Ports, drops by reason, cycles per stage, counters; or where it runs: [topology]
    #[command(after_help = "\
Examples:
  sipsec show dataplane
  sipsec show dataplane topology
  sipsec show dataplane topology --json | jq .data.verdicts")]
    Dataplane {
        /// Devices, queues, interrupts, cores and NUMA nodes, with a verdict on each
        #[arg(value_parser = prefix_of("topology"))]
        topology: Option<String>,
    },
    /// Classes of tunnels: queue depth, drops, ECN marks, delay; and the policer of what arrives
    #[command(
        subcommand,
        infer_subcommands = true,
        after_help = "\
Examples:
  sipsec show policy-map interface
  sipsec show policy-map interface Tunnel1
  sipsec show policy-map interface Tunnel1 --json"
    )]
    PolicyMap(PolicyMap),
    /// The control plane itself: WAN address, sockets, kernel routes
    Control,
    /// Profiles that were applied: number, time, author, summary
    #[command(subcommand, infer_subcommands = true)]
    Configuration(Configuration),
    /// The profile in force, or that of --profile, in the words of IOS and without keys: [interface NAME]
    RunningConfig {
        /// YAML, complete and with every key of the profile, instead of the words of IOS
        #[arg(long)]
        yaml: bool,
        /// interface NAME
        words: Vec<String>,
    },
    /// Release, commit and build of this command and of the running gateway
    Version,
}

#[derive(Debug, Subcommand)]
pub enum PolicyMap {
    /// Of all tunnels, or of one
    Interface {
        /// A tunnel
        tunnel: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum VpnSip {
    /// How many tunnels are up, dialling or failed
    Summary,
    /// Each tunnel: [brief | detail] [failed] [NAME | remote-number NUMBER]
    #[command(after_help = "\
Examples:
  sipsec show vpn-sip session Tunnel1 detail
  sipsec show vpn-sip session brief
  sipsec show vpn-sip session failed")]
    Session {
        /// brief, detail, failed, a tunnel's name, or remote-number NUMBER
        words: Vec<String>,
    },
    /// Calls that have ended: when, why, how much they carried, what they cost
    #[command(after_help = "\
Examples:
  sipsec show vpn-sip history Tunnel1
  sipsec show vpn-sip history --since 30d --csv > calls.csv
  sipsec show vpn-sip history --since 24h --utc")]
    History {
        /// Show this tunnel only
        tunnel: Option<String>,
        /// Show the last 10m, 24h, …
        #[arg(long, value_name = "TIME", value_parser = period)]
        since: Option<Duration>,
        /// Times in UTC instead of local time
        #[arg(long)]
        utc: bool,
        /// Every field, as CSV (RFC 4180)
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
    /// The SIP messages of one of the last calls: CALL-ID [ladder]
    Call {
        /// The Call-ID, or the beginning of it
        call_id: String,
        /// One line for each message instead of its text
        #[arg(value_parser = prefix_of("ladder"))]
        ladder: Option<String>,
    },
    /// Whether each line is registered, and why not
    RegistrationStatus,
    /// The registrar
    #[command(subcommand, infer_subcommands = true)]
    Sip(Sip),
}

#[derive(Debug, Subcommand)]
pub enum Configuration {
    /// The latest first; `sipsec rollback NUMBER` brings one back
    History {
        /// Times in UTC instead of local time
        #[arg(long)]
        utc: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Sip {
    /// Registered lines with contact, expiry and Call-ID
    Registrar,
    /// What DHCP has said: address, lease, SIP servers, numbers and domain
    Dhcp,
}

#[derive(Debug, Subcommand)]
pub enum Crypto {
    /// IKE and IPsec security associations: [detail]
    Session {
        /// With SPIs, algorithms and identities
        #[arg(value_parser = prefix_of("detail"))]
        detail: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Ip {
    /// Address translations, media ports of live calls among them: translations [verbose] | statistics
    Nat {
        #[arg(value_parser = one_of(&["translations", "statistics"]), default_value = "translations")]
        what: String,
        /// With state, age and time left
        #[arg(value_parser = prefix_of("verbose"))]
        verbose: Option<String>,
    },
    /// Operations: probes that measure whether a path is usable
    #[command(subcommand, infer_subcommands = true)]
    Sla(Sla),
    /// Routes of the gateway beside those of the kernel: why each is the best, or is not
    Route {
        /// Show this prefix only
        prefix: Option<String>,
    },
    /// Devices and tunnels: brief
    Interface {
        #[arg(value_parser = prefix_of("brief"), default_value = "brief")]
        what: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Sla {
    /// What the last probes have measured: [NUMBER]
    Statistics {
        /// Show this operation only
        id: Option<u32>,
    },
    /// What is probed, how often, and with which limits: [NUMBER]
    Configuration {
        /// Show this operation only
        id: Option<u32>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Clear {
    /// Hang up and end the pause after failures: session [NAME | remote-number NUMBER]
    VpnSip {
        #[arg(value_parser = prefix_of("session"))]
        session: String,
        /// A tunnel's name, or remote-number NUMBER; all calls without either
        words: Vec<String>,
        /// Do not ask, however many calls end
        #[arg(short, long)]
        yes: bool,
    },
    /// End address translations: nat translation all | inside ADDRESS
    #[command(subcommand, infer_subcommands = true)]
    Ip(ClearIp),
}

#[derive(Debug, Subcommand)]
pub enum ClearIp {
    /// All, or those of a host of the LAN; calls and static entries stay
    Nat {
        #[arg(value_parser = prefix_of("translation"))]
        what: String,
        /// `*` (in quotes, or the shell takes it), which `all` stands for, or `inside`
        #[arg(value_parser = one_of(&["*", "all", "inside"]))]
        which: String,
        /// The host
        #[arg(required_if_eq("which", "inside"))]
        address: Option<std::net::Ipv4Addr>,
    },
}

impl Show {
    /// Whether the output is for programs.
    #[must_use]
    pub const fn is_raw(&self) -> bool {
        matches!(self, Self::VpnSip(VpnSip::History { csv: true, .. }))
    }
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

/// Accepts one of these words, or its beginning.
fn one_of(words: &'static [&'static str]) -> impl Fn(&str) -> Result<String, String> + Clone {
    move |given| {
        let found = words.iter().find(|word| !given.is_empty() && word.starts_with(given));
        found.map(|word| (*word).to_owned()).ok_or_else(|| format!("expected `{}`", words.join("`, `")))
    }
}

fn number(text: &str) -> Result<TelNumber, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not a telephone number"))
}

/// `90s`, `10m`, `12h`, `7d`, or seconds.
fn period(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a number and s, m, h or d, as in 10m".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "write a number and s, m, h or d, as in 10m".to_owned())?;
    match number.checked_mul(seconds) {
        Some(0) | None => Err("it must be between one second and some years".to_owned()),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_understood_in_full_and_shortened() {
        Args::command().debug_assert();
        for line in [
            "show vpn-sip session",
            "show vpn-sip session detail",
            "show vpn-sip session remote-number 0612349999 detail",
            "show vpn-sip session failed",
            "show vpn-sip summary",
            "show vpn-sip history Tunnel1 --since 24h --utc",
            "show vpn-sip history --csv",
            "show vpn-sip call abc@host ladder",
            "sh vpn call abc",
            "show vpn-sip registration-status",
            "show vpn-sip sip registrar",
            "show vpn-sip sip dhcp",
            "show crypto session detail",
            "sh ip nat translations",
            "show ip nat",
            "show ip nat translations verbose --json",
            "sh ip nat stat",
            "clear ip nat translation *",
            "clear ip nat translation all",
            "clear ip nat trans inside 192.168.1.9",
            "show track",
            "show track brief",
            "sh tr 1",
            "show ip sla statistics",
            "show ip sla statistics 1",
            "sh ip sla conf 1",
            "show ip route",
            "show ip route 10.0.0.0/8",
            "show ip interface brief",
            "sh ip int b",
            "sh vpn ses d",
            "show dataplane --json",
            "show dataplane topology",
            "sh data topo --json",
            "show version",
            "-g branch health",
            "--profile x.yaml show crypto session",
            "clear vpn-sip session remote-number 0612349999",
            "clear vpn-sip session Tunnel1 --yes",
            "monitor --json --tunnel Tunnel1 --since 10m",
            "log",
            "diff new.yaml --json",
            "apply new.yaml --confirm 300 --author ada",
            "-g branch apply new.yaml --partial --save",
            "confirm",
            "rollback",
            "rollback 12",
            "sh conf hist",
            "log debug --for 10m",
            "pki self-signed branch --key-type rsa-3072 --days 30 --force",
            "pki fing x.crt --json",
            "completions bash",
            "call 0388882001 --dry-run",
            "call 0388882001 -- ping -c 1 10.2.0.2",
            "register --once",
        ] {
            let words = std::iter::once("sipsec").chain(line.split(' '));
            assert!(Args::try_parse_from(words).is_ok(), "{line}");
        }
        for line in [
            "show crypto session brief",
            "show dataplane queues",
            "clear ip nat translation",
            "clear ip nat translation inside",
            "call 0388882001",
            "register",
            "apply new.yaml --confirm 5",
            "apply new.yaml --confirm 60 --save",
            "log --for 10m",
            "log debug --for 10x",
            "monitor --since 0s",
        ] {
            let words = std::iter::once("sipsec").chain(line.split(' '));
            assert!(Args::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn every_command_and_argument_says_what_it_is_and_shows_examples() {
        fn walk(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some_and(|a| a.to_string().len() > 5), "{name} says nothing");
            for argument in command.get_positionals().filter(|a| !a.is_hide_set()) {
                let shown = argument.get_help().is_some()
                    || argument.get_id() == "what"
                    || argument.get_id() == "session";
                assert!(shown || command.is_hide_set(), "{name} {}", argument.get_id());
            }
            command.get_subcommands().for_each(walk);
        }
        let command = Args::command();
        walk(&command);
        for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            let examples = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert_eq!(
                examples.lines().filter(|l| l.starts_with("  sipsec ")).count(),
                3,
                "{}",
                sub.get_name()
            );
        }
    }

    #[test]
    fn periods_have_units() {
        assert_eq!(period("90"), Ok(Duration::from_secs(90)));
        assert_eq!(period("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "m", "1y", "-1s", "99999999999999999999s", "18446744073709551615d", "0m"] {
            assert!(period(bad).is_err(), "{bad}");
        }
    }
}
