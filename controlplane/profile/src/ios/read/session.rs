//! What surrounds a configuration: prompts, exec commands, a second configuration in the same file.

use super::Reader;
use crate::ios::document::{Direction, KeyFault, KeyLine};
use crate::ios::grammar::{Command, Mode};
use crate::ios::report::{Class, Verdict};
use crate::ios::text::TextLine;
use crate::ios::words::{Words, shortens, split};

use super::{Context, Did};

impl Reader {
    /// The name that a prompt shows.
    pub(super) fn prompted(&mut self, host: &str) {
        let at = self.at;
        match &self.doc.prompt {
            None => self.doc.prompt = Some(self.said(host.to_owned())),
            Some(first) if first.value != host && first.at.file == at.file => {
                let message = format!("the prompt was {} before and is {host} now", first.value);
                let lines = [first.at, at];
                self.doc.prompt = Some(self.said(host.to_owned()));
                self.report.warn(&lines, message, "see whether all of it belongs to one router");
            }
            Some(_) => {}
        }
    }

    /// A line with a prompt.
    pub(super) fn typed(
        &mut self,
        lines: &[TextLine],
        i: usize,
        mode: Option<&str>,
        typed: &str,
        refused: bool,
    ) -> usize {
        let line = &lines[i];
        if typed.is_empty() {
            self.put(line, Class::Noise, "a prompt");
            return 1;
        }
        if matches!(typed, "^Z" | "^C") {
            self.mode = Mode::Global;
            self.put(line, Class::Noise, "leaves configuration mode");
            return 1;
        }
        let Some(mode) = mode else {
            self.exec(line, typed);
            return 1;
        };
        if refused {
            self.put(line, Class::Noise, "the router refused this command itself");
            return 1;
        }
        if mode != "config" && self.context == Context::Dialogue {
            self.mode = Mode::Global;
        }
        self.context = Context::Configuration;
        self.command(lines, i, Some(mode), typed, false)
    }

    fn exec(&mut self, line: &TextLine, typed: &str) {
        let list = split(typed);
        let mut words = Words::new(typed, &list);
        let first = words.next().unwrap_or_default();
        let second = words.peek().unwrap_or_default();
        let shows = |word: &str, least: usize| second.len() >= least && shortens(second, word);
        let is_show = first.len() >= 2 && shortens(first, "show");
        let configuration = (is_show
            && (shows("running-config", 3) || shows("startup-config", 3) || shows("configuration", 4)))
            || (first.len() >= 2 && shortens(first, "write") && shows("terminal", 1))
            || (shortens(first, "more") && second.contains("config"));
        let typing = first.len() >= 4 && shortens(first, "configure");
        self.mode = Mode::Global;
        self.context = if configuration || typing { Context::Configuration } else { Context::Output };
        let class = if shortens(first, "crypto") && first.len() >= 3 { Class::Once } else { Class::Noise };
        self.put(line, class, "a command of exec mode");
    }

    /// Lines of a configuration behind the first one of the file.
    pub(super) fn second(&mut self, line: &TextLine, text: &str) {
        let list = split(text);
        let at = self.at;
        if let [word, name] = list.as_slice()
            && word.text.eq_ignore_ascii_case("hostname")
            && let Some(first) = &self.doc.hostname
            && first.value != name.text
        {
            let message = format!("the file holds two routers: {} and {}", first.value, name.text);
            self.put(line, Class::Noise, "of another router");
            self.report.error(&[at], message, "import each router's configuration by itself");
            return;
        }
        self.put(line, Class::Noise, "of a second configuration in the same file");
    }

    pub(super) fn version(&mut self, rest: Words<'_>) -> Did {
        const HEADER: Did = Did::Ignored(Class::Noise, "a header of the configuration");
        if rest.peek().is_none_or(|w| !w.starts_with(|c: char| c.is_ascii_digit()))
            || self.mode != Mode::Global
        {
            return Did::NotMine;
        }
        if std::mem::replace(&mut self.version, true) {
            self.context = Context::Second;
            let at = self.at;
            self.report.warn(
                &[at],
                "a second configuration begins here; the first alone is read",
                "import one configuration: the running one",
            );
            if self.whole.is_some() {
                (self.doc.header, self.doc.ended) = (self.whole, true);
            }
        }
        if self.doc.header.is_none() {
            self.doc.header = Some(self.at);
            self.doc.ended = false;
        }
        HEADER
    }

    pub(super) fn hostname(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        let Some(name) = rest.next().filter(|_| !negated) else {
            return Did::Ignored(Class::System, "the system has its own name");
        };
        let name = name.trim_matches('"');
        match &self.doc.hostname {
            Some(first) if first.value != name => {
                let message = format!("there are two routers here: {} and {name}", first.value);
                super::wrong(message, "import each router's configuration by itself")
            }
            _ => {
                self.doc.hostname = Some(self.said(name.to_owned()));
                Did::Converted
            }
        }
    }

    pub(super) fn end(&mut self) -> Did {
        self.mode = Mode::Global;
        self.doc.ended = true;
        Did::Ignored(Class::Noise, "ends the configuration")
    }

    pub(super) fn leave(&mut self) -> Did {
        let open = self.open;
        match self.mode.above() {
            Some(above) => {
                self.mode = above;
                self.open = super::Open { peer: 0, sequence: 0, ..open };
            }
            None => self.mode = Mode::Global,
        }
        Did::Ignored(Class::Noise, "leads one level up")
    }

    pub(super) fn once(&mut self) -> Did {
        self.mode = Mode::Global;
        self.context = Context::Dialogue;
        Did::Ignored(Class::Once, "done once on the router; `sipsec pki` does its like")
    }

    /// A key that a backup tool has turned into a remark.
    pub(super) fn masked_remark(&mut self) {
        let at = self.at;
        if let Some(peer) = self.peer() {
            peer.keys.push(KeyLine { at, direction: Direction::Both, key: Err(KeyFault::Masked) });
            peer.lines.push(at);
        } else {
            self.report.set(at, Verdict::Ignored { class: Class::Noise, why: "a remark" });
        }
    }

    pub(super) fn cut_key(&mut self) {
        let at = self.at;
        if let Some(peer) = self.peer() {
            peer.keys.push(KeyLine { at, direction: Direction::Both, key: Err(KeyFault::Cut) });
        }
    }

    /// The words that a prompt does not count to.
    pub(super) fn typed_part<'a>(&self, line: &'a TextLine) -> &'a str {
        match crate::ios::noise::prompt(&line.plain) {
            Some(_) => line.shown.split_once(['#', '>']).map_or("", |(_, typed)| typed),
            None => &line.shown,
        }
    }

    /// Runs one command of the mode that is open.
    pub(super) fn execute(
        &mut self,
        command: Command,
        rest: Words<'_>,
        negated: bool,
        line: &TextLine,
    ) -> Did {
        use Command as C;
        match command {
            C::Ignore { class, why, block } => self.ignored(class, why, block),
            C::Exit => self.leave(),
            C::End => self.end(),
            C::Do => Did::Ignored(Class::Noise, "a command of exec mode"),
            C::Once => self.once(),
            C::Hostname => self.hostname(rest, negated),
            C::Version => self.version(rest),
            C::Interface => self.open_interface(rest, negated),
            C::Route => self.route(rest, negated),
            C::RouteV6 => self.route_v6(rest, negated),
            C::Sla
            | C::SlaSchedule
            | C::SlaEcho
            | C::SlaJitter
            | C::SlaTcp
            | C::SlaUdp
            | C::SlaDns
            | C::SlaHttp
            | C::SlaType
            | C::SlaOther
            | C::SlaFrequency
            | C::SlaTimeout
            | C::SlaThreshold
            | C::SlaText
            | C::SlaVrf
            | C::Track
            | C::TrackObject
            | C::TrackThreshold
            | C::Delay => self.watch(command, rest, negated),
            C::Acl
            | C::NumberedAcl
            | C::RouteMap
            | C::ClassMap
            | C::PolicyMap
            | C::Zone
            | C::ZonePair
            | C::Vrf
            | C::NatSource
            | C::DialerList
            | C::Applet
            | C::Member => self.list(command, rest, negated),
            C::SipFeature | C::VpnSipEnable | C::VpnSipLine | C::VpnSipSource | C::VpnSipLogging => {
                self.global(command, rest, negated)
            }
            C::Keyring
            | C::Peer
            | C::PeerKeyId
            | C::PeerIdentity
            | C::PeerAddress
            | C::PeerKey
            | C::PeerPpk
            | C::PeerText => self.keyring(command, rest, negated, line),
            C::IkeProfile
            | C::MatchRemote
            | C::MatchCertificate
            | C::MatchVrf
            | C::IdentityLocal
            | C::AuthLocal
            | C::AuthRemote
            | C::ProfileKeyring
            | C::ProfileTrustpoint
            | C::Dpd
            | C::Lifetime
            | C::NatKeepalive
            | C::ForceEncap
            | C::RemoteAccess
            | C::ProfileIvrf
            | C::ProfileText
            | C::IkeDpd
            | C::IkeFragmentation
            | C::IkeNatKeepalive => self.ike(command, rest, negated, line),
            C::IkeProposal
            | C::IkePolicy
            | C::Encryption
            | C::Integrity
            | C::Prf
            | C::Group
            | C::Pqc
            | C::PolicyProposal
            | C::PolicyMatchVrf
            | C::IpsecProfile
            | C::TransformSet
            | C::IpsecIdle
            | C::IpsecLifetime
            | C::IpsecDf
            | C::IpsecReplay
            | C::SetIdle
            | C::SetLifetime
            | C::SetReplay
            | C::SetTransform
            | C::SetPfs
            | C::SetIkeProfile
            | C::TransformMode => self.algorithm(command, rest, negated),
            C::Trustpoint
            | C::CertificateMap
            | C::CertificateChain
            | C::Enrollment
            | C::RevocationCheck
            | C::TrustpointText
            | C::MapRule => self.pki(command, rest, negated),
            C::Description
            | C::Address
            | C::Unnumbered
            | C::TunnelMtu
            | C::Nat
            | C::DhcpRequest
            | C::Reassembly
            | C::AccessGroup
            | C::ZoneMember
            | C::PolicyRoute
            | C::Inspect
            | C::Protect
            | C::Backup
            | C::Routing
            | C::Rate
            | C::VerifySource
            | C::VrfForwarding
            | C::ServicePolicy
            | C::DialerGroup
            | C::Shutdown
            | C::TunnelSource
            | C::TunnelMode
            | C::TunnelDestination
            | C::TunnelProtection
            | C::TunnelVrf
            | C::TunnelVpnSip
            | C::CryptoMap => self.interface(command, rest, negated),
            // Blocks are taken where their lines are.
            C::Banner | C::Menu | C::Macro | C::CertificateBlock => Did::NotMine,
        }
    }

    fn ignored(&mut self, class: Class, why: &'static str, block: bool) -> Did {
        if self.mode == Mode::Global && block {
            self.enter(Mode::Other(class, why), 0);
        }
        Did::Ignored(class, why)
    }
}
