//! What a key is: its type, bounds, default, unit and meaning.

/// A group of keys.
#[derive(Debug)]
pub struct Group {
    pub about: &'static str,
    pub keys: &'static [Key],
    /// Every value in it that is not known to be public is taken for a secret.
    pub private: bool,
}

impl Group {
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

pub(super) const NOTHING: Group = Group { about: "", keys: &[], private: false };

/// One key of a group.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub presence: Presence,
    /// The unit of a number; empty if it has none.
    pub unit: &'static str,
    /// The words of IOS that say the same; empty if there are none.
    pub ios: &'static str,
    /// When a change of it counts.
    pub takes: Takes,
    /// The release that brought it.
    pub since: &'static str,
    /// One or two sentences.
    pub about: &'static str,
}

/// When a change of a value counts, if it is applied to a running gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Takes {
    /// At once, also for calls that are up.
    Now,
    /// For the calls to come. Those that are up keep what they began with.
    NextCall,
    /// At once. Calls that it concerns are hung up: the two ends have agreed on the old value.
    HangsUp,
    /// After a restart of the process.
    Restart,
}

impl Takes {
    /// In the reference.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::NextCall => "next call",
            Self::HangsUp => "hangs up",
            Self::Restart => "restart",
        }
    }
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// With an example of how to write it.
    Required(&'static str),
    /// The value that it has when it is absent, as it would be written.
    Default(&'static str),
    /// What its absence means.
    Optional(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text(Text),
    /// A whole number within bounds.
    Int {
        min: u64,
        max: u64,
    },
    Flag,
    /// One of these words, each with its meaning.
    Word(&'static [(&'static str, &'static str)]),
    List(&'static Kind),
    Group(&'static Group),
    /// One text, or a list of such.
    Several(Text),
    /// One text, or a group that says more.
    Either(Text, &'static Group),
}

/// The forms of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Letters, digits, `-` and `_`: the name of a gateway.
    GatewayName,
    /// Letters, digits, `-`, `_`, `.` and `/`.
    TunnelName,
    CertificateName,
    PpkId,
    /// `KIND NAME`: an identity of IKE.
    Identity,
    UserName,
    Device,
    Path,
    LogFilter,
    Domain,
    /// `ADDRESS[:PORT]`
    SocketAddress,
    /// `HOST[:PORT]`: an address or a name.
    Server,
    /// The address of a host.
    Address,
    /// `ADDRESS` or `FIRST-LAST`
    AddressRange,
    /// `ADDRESS/LENGTH` or `ADDRESS:PORT`, as the rule wants it.
    NatEnd,
    /// `FIRST-LAST`
    Ports,
    /// `FIRST-LAST`
    Range,
    /// A telephone number.
    Number,
    /// A telephone number, or `any`.
    NumberOrAny,
    /// A telephone number of ours, or `dhcp`.
    NumberOrDhcp,
    /// `ADDRESS/LENGTH` without host bits.
    Prefix,
    /// An Ethernet address.
    Mac,
    /// `CIPHER-…`, in strongSwan's words.
    Proposal,
    /// `FIELD OP VALUE`
    MapRule,
    /// The name of a variable of the environment.
    Variable,
    /// The absolute path of a program, or an argument of it. No argument is shown: it may be a secret.
    Command,
    /// The name of a credential of systemd. Not shown: a secret may stand there by mistake.
    Credential,
    /// Up to 64 characters for people.
    Label,
    /// The path of a URL.
    UrlPath,
    /// `number`, `random`, `none`, or a word.
    ContactUser,
    /// 0 to 63, or `copy`.
    MediaDscp,
    /// A name or a number of a protocol of IP.
    IpProtocol,
    /// `N` or `FIRST-LAST`
    Numbers,
    /// 0 to 63, or a name of RFC 2474, RFC 2597 or RFC 3246.
    Dscp,
    /// Never shown.
    Secret,
}

impl Text {
    /// For the reference and the schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GatewayName | Self::TunnelName | Self::CertificateName | Self::PpkId => "name",
            Self::Identity => "KIND NAME",
            Self::UserName => "user name",
            Self::Device => "network device",
            Self::Path => "path",
            Self::LogFilter => "log filter",
            Self::Domain => "domain name",
            Self::SocketAddress => "ADDRESS[:PORT]",
            Self::Server => "HOST[:PORT]",
            Self::Address => "IP address",
            Self::AddressRange => "ADDRESS or FIRST-LAST",
            Self::NatEnd => "ADDRESS/LENGTH or ADDRESS:PORT",
            Self::Ports | Self::Range => "FIRST-LAST",
            Self::Number => "telephone number",
            Self::NumberOrAny => "telephone number or `any`",
            Self::NumberOrDhcp => "telephone number or `dhcp`",
            Self::Prefix => "ADDRESS/LENGTH",
            Self::Mac => "Ethernet address",
            Self::Proposal => "proposal",
            Self::MapRule => "FIELD OP VALUE",
            Self::Variable => "environment variable",
            Self::Command => "program",
            Self::Credential => "credential",
            Self::Label => "text",
            Self::UrlPath => "path of a URL",
            Self::ContactUser => "`number`, `random`, `none` or a word",
            Self::MediaDscp => "0 to 63 or `copy`",
            Self::IpProtocol => "name or number of a protocol",
            Self::Numbers => "N or FIRST-LAST",
            Self::Dscp => "DSCP",
            Self::Secret => "secret",
        }
    }

    /// The kind of one entry of [`Kind::Several`].
    #[must_use]
    pub const fn alone(self) -> &'static Kind {
        match self {
            Self::Address => &Kind::Text(Self::Address),
            Self::Command => &Kind::Text(Self::Command),
            _ => &Kind::Text(Self::Server),
        }
    }

    /// A regular expression for editors (ECMA 262), if the form is simple enough.
    #[must_use]
    pub const fn pattern(self) -> Option<&'static str> {
        Some(match self {
            Self::GatewayName => "^[A-Za-z0-9_-]{1,64}$",
            Self::TunnelName => "^[A-Za-z0-9_./-]{1,32}$",
            Self::PpkId => "^[A-Za-z0-9+/=_.@:-]{1,64}$",
            Self::Identity => "^(key-id|fqdn|email|address)\\s+.+$",
            Self::Device => "^[^/:\\s]{1,15}$",
            Self::Ports | Self::Range => "^[0-9]{1,5}-[0-9]{1,5}$",
            Self::Numbers => "^[0-9]{1,5}(-[0-9]{1,5})?$",
            Self::IpProtocol => "^[a-z0-9-]{1,16}$",
            Self::Number => "^\\+?[0-9().\\s-]+$",
            Self::NumberOrAny => "^(any|\\+?[0-9().\\s-]+)$",
            Self::NumberOrDhcp => "^(dhcp|\\+?[0-9().\\s-]+)$",
            Self::Prefix => "^[0-9A-Fa-f.:]+/[0-9]{1,3}$",
            Self::Credential => "^[!-.0-9;-~]{1,255}$",
            Self::Mac => "^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$",
            Self::Dscp => "^([0-9]|[1-5][0-9]|6[0-3]|default|ef|cs[1-7]|af[1-4][1-3])$",
            Self::UrlPath => "^/\\S*$",
            Self::ContactUser => "^[A-Za-z0-9_.!~*'()-]{1,32}$",
            Self::MapRule => "^(subject|issuer|alt-name) (eq|ne|co|nc) .+$",
            _ => return None,
        })
    }

    /// Whether `value` may be shown where this form belongs. Numbers may stand where a secret was typed by mistake, so
    /// a value that is not made like a number is not shown.
    #[must_use]
    pub fn may_show(self, value: &str) -> bool {
        match self {
            Self::Secret | Self::Credential => false,
            Self::Command => value.starts_with('/') && !value.contains(char::is_whitespace),
            Self::Number | Self::NumberOrAny | Self::NumberOrDhcp => {
                value == "any" || value.chars().all(|c| c.is_ascii_digit() || "+-.() ".contains(c))
            }
            _ => true,
        }
    }
}

impl Kind {
    /// The group that a value of this kind is, or its entries are.
    #[must_use]
    pub const fn group(&self) -> Option<&'static Group> {
        match self {
            Self::Group(group) | Self::Either(_, group) => Some(group),
            Self::List(kind) => kind.group(),
            _ => None,
        }
    }

    #[must_use]
    pub const fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }

    /// The type of one value, in words.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Text(text) => text.name().to_owned(),
            Self::Int { .. } => "whole number".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Word(words) => {
                words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            Self::List(kind) => format!("list of: {}", kind.name()),
            Self::Group(_) => "group of keys".to_owned(),
            Self::Several(Text::Command) => "program, or list of a program and its arguments".to_owned(),
            Self::Several(text) => format!("{}, or a list of such", text.name()),
            Self::Either(text, _) => format!("{}, or group of keys", text.name()),
        }
    }
}

pub(super) const fn key(name: &'static str, kind: Kind, presence: Presence, about: &'static str) -> Key {
    Key { name, kind, presence, unit: "", ios: "", takes: Takes::Restart, since: "0.1", about }
}

impl Key {
    pub(super) const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    pub(super) const fn now(mut self) -> Self {
        self.takes = Takes::Now;
        self
    }

    pub(super) const fn next_call(mut self) -> Self {
        self.takes = Takes::NextCall;
        self
    }

    pub(super) const fn hangs_up(mut self) -> Self {
        self.takes = Takes::HangsUp;
        self
    }

    pub(super) const fn ios(mut self, ios: &'static str) -> Self {
        self.ios = ios;
        self
    }
}

pub(super) const fn int(min: u64, max: u64) -> Kind {
    Kind::Int { min, max }
}
