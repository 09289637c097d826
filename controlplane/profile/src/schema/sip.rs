//! `sip:`

use super::kind::{Group, Kind, Presence, Text, int, key};
use crate::model::Tariff;
use crate::model::carrier::{CalledSource, CallerSource, CarrierKind, Identity, Method, OptionTag};
use Presence::{Default, Optional, Required};

/// What the absence of a key means whose value the carrier has.
pub(super) const OF_CARRIER: &str = "as `sip.carrier` says";

pub const SIP: Group = Group {
    about: "The SIP user agent.",
    private: false,
    keys: &[
        key(
            "interface",
            Kind::Text(Text::Device),
            Required("wan0"),
            "The device whose address SIP and media use. It must be the dataplane's outside device.",
        )
        .ios("vpn-sip local-number NUMBER address ipv4 INTERFACE"),
        key("port", int(1, 65_535), Default("5060"), "Local UDP port of SIP."),
        key(
            "registrar",
            Kind::Text(Text::SocketAddress),
            Required("198.51.100.1:5060"),
            "Address of the registrar, which is the outbound proxy too, or `dhcp` for the first SIP server that DHCP names. Names are not resolved. Without a port, 5060.",
        ),
        key("domain", Kind::Text(Text::Domain), Required("carrier.example"), "The carrier's SIP domain, or `dhcp` for the one that the line's vendor options name."),
        key("expires_s", int(10, 604_800), Default("3600"), "How long a registration lasts (RFC 3261 §10.2.1.1); it is renewed before.")
            .unit("s")
            .now(),
        key("carrier", Kind::Word(CarrierKind::TABLE), Default("generic"), "What the access line expects: the values of the keys whose default is that of the carrier. `sipsec check` prints those in force; the table at the end of the configuration reference has them all."),
        key("session_expires_s", int(0, 86_400), Optional(OF_CARRIER), "The session interval to ask for (RFC 4028): 90 s or more, or 0 to ask for none.").unit("s"),
        key("rport", Kind::Flag, Optional(OF_CARRIER), "Ask for answers to the source port (RFC 3581). Some carriers must not see it."),
        key("contact_user", Kind::Text(Text::ContactUser), Optional(OF_CARRIER), "The user part of Contact: the line's `number`, `none`, a word of your own, or `random` for 12 hexadecimal digits of each line, drawn at start."),
        key("allow", Kind::List(&Kind::Word(Method::TABLE)), Optional(OF_CARRIER), "The methods of `Allow`, in this order. INVITE, ACK, CANCEL and BYE must be among them."),
        key("register_supported", Kind::List(&Kind::Word(OptionTag::TABLE)), Optional(OF_CARRIER), "The option tags of `Supported` in REGISTER."),
        key("invite_supported", Kind::List(&Kind::Word(OptionTag::TABLE)), Optional(OF_CARRIER), "The option tags of `Supported` in INVITE."),
        key("identity", Kind::Word(Identity::TABLE), Optional(OF_CARRIER), "What an INVITE says of its caller. P-Asserted-Identity is never sent: it is the proxy's (RFC 3325)."),
        key("caller_from", Kind::List(&Kind::Word(CallerSource::TABLE)), Optional(OF_CARRIER), "Where the caller of an incoming call is read; the first that is there decides."),
        key("called_from", Kind::List(&Kind::Word(CalledSource::TABLE)), Optional(OF_CARRIER), "Where the called line is read; the first that names a line decides."),
        key("user_agent", Kind::Flag, Optional(OF_CARRIER), "Send `User-Agent` with this program's name and version."),
        key("dscp", int(0, 63), Optional(OF_CARRIER), "DSCP of SIP messages."),
        key("bandwidths_kbps", Kind::List(&Kind::Int { min: 1, max: 10_000_000 }), Optional(OF_CARRIER), "The bandwidths that the carrier sets up; a tunnel with another one is an error.").unit("kbit/s"),
        key(
            "bye_wait_s",
            int(0, 3600),
            Default("60"),
            "After a hang-up that nothing has confirmed, the tunnel places no call for this long: the carrier may still charge for the old one.",
        )
        .unit("s").now(),
        key(
            "requests_per_s",
            int(1, 10_000),
            Default("100"),
            "So many new BYEs, and so many new REGISTERs and refreshes, leave in a second at most (20 more at once after a pause); the others wait. Set it to what the carrier takes.",
        )
        .unit("1/s"),
        key(
            "tariff",
            Kind::Word(Tariff::TABLE),
            Default("data-connect"),
            "How `show vpn-sip history` and `check` count money.",
        ),
        key(
            "lines",
            Kind::List(&Kind::Group(&LINE)),
            Required("[{ number: \"0388881001\" }]"),
            "The telephone numbers of this gateway, at least one.",
        )
        .ios("vpn-sip local-number NUMBER").now(),
    ],
};

const LINE: Group = Group {
    about: "One telephone number of this gateway.",
    private: false,
    keys: &[
        super::tunnels::FOR,
        key(
            "number",
            Kind::Text(Text::Number),
            Required("\"0388881001\""),
            "The number. Hyphens and +81 are understood.",
        )
        .ios("vpn-sip local-number NUMBER")
        .now(),
        key(
            "auth",
            Kind::Group(&AUTH),
            Optional("the carrier authenticates the access line"),
            "User name and password for digest authentication.",
        ),
    ],
};

const AUTH: Group = Group {
    about: "Digest authentication of a line. One of `password`, `password_file` and `password_env` is needed.",
    private: true,
    keys: &[
        key(
            "username",
            Kind::Text(Text::UserName),
            Required("\"…\""),
            "The user name that the carrier gave.",
        )
        .now(),
        key(
            "password",
            Kind::Text(Text::Secret),
            Optional("see `password_file`"),
            "The password, inline: 1 to 256 bytes.",
        )
        .now(),
        key(
            "password_file",
            Kind::Text(Text::Path),
            Optional("see `password`"),
            "A file whose first and only line is the password. Give it mode 0600.",
        )
        .now(),
        key(
            "password_env",
            Kind::Text(Text::Variable),
            Optional("see `password`"),
            "A variable of the gateway's environment that holds the password.",
        )
        .now(),
    ],
};
