//! `sip:`

use super::kind::{Group, Kind, Presence, Text, int, key};
use super::private_key;
use crate::model::carrier::{CalledSource, CallerSource, CarrierKind, Identity, Method, OptionTag};
use crate::model::{Family, SipTransport, Tariff};
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
        key("port", int(1, 65_535), Default("5060"), "Local port of SIP, of every transport.").hangs_up(),
        key(
            "transport",
            Kind::Word(SipTransport::TABLE),
            Default("udp"),
            "The transport of SIP (RFC 3261 §18). Where NAPTR records name transports, this one is taken.",
        ).hangs_up(),
        key(
            "registrar",
            Kind::Several(Text::Server),
            Required("198.51.100.1:5060"),
            "The registrar: ADDRESS[:PORT] or NAME[:PORT], a list of such in the order in which they are tried, or `dhcp` for the SIP servers that DHCP names; with different families of registrations and calls, those of DHCPv4 and DHCPv6. A name without a port is looked up by NAPTR and SRV first (RFC 3263); an address without one has port 5060, with TLS 5061.",
        ).hangs_up(),
        key(
            "outbound_proxy",
            Kind::Several(Text::Server),
            Optional("the registrar takes everything"),
            "The server that takes everything but REGISTER, in the same forms.",
        ).hangs_up(),
        key(
            "registration_family",
            Kind::Word(Family::TABLE),
            Default("auto"),
            "The IP version of REGISTER.",
        ).hangs_up(),
        key(
            "call_family",
            Kind::Word(Family::TABLE),
            Default("auto"),
            "The IP version of calls: of INVITE and what follows, and of media in the SDP of calls that are placed. A call that comes is answered in the IP version of its offer.",
        ).hangs_up(),
        key("tls", Kind::Group(&TLS), Optional("needed with `transport: tls`"), "Certificates of TLS."),
        key(
            "dns",
            Kind::Several(Text::Address),
            Optional("the name servers of DHCP, else of /etc/resolv.conf"),
            "Name servers for the carrier's names, at most 3.",
        ).hangs_up(),
        key(
            "dns_device",
            Kind::Text(Text::Device),
            Optional("the kernel's routes to the name servers decide"),
            "All name servers are asked by this device: those of `dns`, of DHCP and of /etc/resolv.conf. If it belongs to a VRF, the VRF's table is used. A resolver on this host (127.0.0.53) is not reached by it: then set `dns`.",
        ).hangs_up(),
        key(
            "keepalive_s",
            int(0, 3600),
            Default("0"),
            "Over TCP and TLS, an empty line is sent this often, and a connection without an answer is opened anew (RFC 5626 §4.4.1). 0 sends none.",
        ).hangs_up()
        .unit("s"),
        key("domain", Kind::Text(Text::Domain), Required("carrier.example"), "The carrier's SIP domain, or `dhcp` for the one that the line's vendor options name.").hangs_up(),
        key("expires_s", int(10, 604_800), Default("3600"), "How long a registration lasts (RFC 3261 §10.2.1.1); it is renewed before.")
            .unit("s")
            .now(),
        key("carrier", Kind::Word(CarrierKind::TABLE), Default("generic"), "What the access line expects: the values of the keys whose default is that of the carrier. `sipsec check` prints those in force; the table at the end of the configuration reference has them all."),
        key("session_expires_s", int(0, 86_400), Optional(OF_CARRIER), "The session interval to ask for (RFC 4028): 90 s or more, or 0 to ask for none.").hangs_up().unit("s"),
        key("rport", Kind::Flag, Optional(OF_CARRIER), "Ask for answers to the source port (RFC 3581). Some carriers must not see it.").hangs_up(),
        key("contact_user", Kind::Text(Text::ContactUser), Optional(OF_CARRIER), "The user part of Contact: the line's `number`, `none`, a word of your own, or `random` for 12 hexadecimal digits of each line, drawn at start.").hangs_up(),
        key("allow", Kind::List(&Kind::Word(Method::TABLE)), Optional(OF_CARRIER), "The methods of `Allow`, in this order. INVITE, ACK, CANCEL and BYE must be among them.").hangs_up(),
        key("register_supported", Kind::List(&Kind::Word(OptionTag::TABLE)), Optional(OF_CARRIER), "The option tags of `Supported` in REGISTER.").hangs_up(),
        key("invite_supported", Kind::List(&Kind::Word(OptionTag::TABLE)), Optional(OF_CARRIER), "The option tags of `Supported` in INVITE.").hangs_up(),
        key("identity", Kind::Word(Identity::TABLE), Optional(OF_CARRIER), "What an INVITE says of its caller. P-Asserted-Identity is never sent: it is the proxy's (RFC 3325).").hangs_up(),
        key("caller_from", Kind::List(&Kind::Word(CallerSource::TABLE)), Optional(OF_CARRIER), "Where the caller of an incoming call is read; the first that is there decides.").hangs_up(),
        key("called_from", Kind::List(&Kind::Word(CalledSource::TABLE)), Optional(OF_CARRIER), "Where the called line is read; the first that names a line decides.").hangs_up(),
        key("delayed_offers", Kind::Flag, Optional(OF_CARRIER), "Answer an INVITE without an offer with an offer of this gateway's, to which the ACK has the answer (RFC 3264 section 5). Such a call is charged before it is known whether both sides agree; without this key it is refused with 488.").hangs_up(),
        key("user_agent", Kind::Flag, Optional(OF_CARRIER), "Send `User-Agent` with this program's name and version.").hangs_up(),
        key("dscp", int(0, 63), Optional(OF_CARRIER), "DSCP of SIP messages.").hangs_up(),
        key("bandwidths_kbps", Kind::List(&Kind::Int { min: 1, max: 10_000_000 }), Optional(OF_CARRIER), "The bandwidths that the carrier sets up; a tunnel with another one is an error.").now().unit("kbit/s"),
        key(
            "options_s",
            int(0, 3600),
            Default("0"),
            "Each registered line asks its server this often whether it is there (OPTIONS, RFC 3261 §11); if not, the line registers again, with the next server if there is one. 0 never asks.",
        ).hangs_up()
        .unit("s"),
        key(
            "redirects",
            int(0, 5),
            Default("0"),
            "Redirections (3xx) of one call that are followed, to the same telephone number alone. With 0 a redirection ends the call.",
        ).hangs_up(),
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
        ).hangs_up()
        .unit("1/s"),
        key(
            "tariff",
            Kind::Word(Tariff::TABLE),
            Default("data-connect"),
            "How `show vpn-sip history` and `check` count money.",
        ).now(),
        key(
            "lines",
            Kind::List(&Kind::Group(&LINE)),
            Required("[{ number: \"0388881001\" }]"),
            "The telephone numbers of this gateway, at least one.",
        )
        .ios("vpn-sip local-number NUMBER").now(),
    ],
};

pub const CARRIER: Group = Group {
    about: "One further carrier. The name of that of `sip` is `default`.",
    private: false,
    keys: &[
        key(
            "name",
            Kind::Text(Text::GatewayName),
            Required("east"),
            "Its name, in `show`, in `sipsec apply` and in the call journal: after a crash, calls are hung up over the carrier of the same name.",
        )
        .hangs_up(),
        key(
            "sip",
            Kind::Group(&SIP),
            Required("{ interface: wan0, registrar: … }"),
            "The keys of `sip`. `port` must differ between carriers, and no line may have two.",
        ),
    ],
};

const TLS: Group = Group {
    about: "TLS of SIP (RFC 5922). All files are PEM, as `sipsec pki` writes them. With `certificate`, one of `key`, `key_env`, `key_command` and `key_credential` is needed.",
    private: false,
    keys: &[
        key(
            "ca",
            Kind::Text(Text::Path),
            Required("/etc/sipsec/carrier-ca.pem"),
            "Certificates of the authorities that may issue the server's certificate. Those of the system are not used.",
        ).hangs_up(),
        key(
            "certificate",
            Kind::Text(Text::Path),
            Optional("none is shown, and the server cannot open connections to this gateway"),
            "Our certificate, followed by those of its issuers.",
        ).hangs_up(),
        private_key::FILE,
        private_key::ENV,
        private_key::COMMAND,
        private_key::CREDENTIAL,
        key(
            "server_name",
            Kind::Text(Text::Domain),
            Optional("the name in `registrar` or `outbound_proxy`, or else `sip.domain`"),
            "The name that the server's certificate must have.",
        ).hangs_up(),
    ],
};

const LINE: Group = Group {
    about: "One telephone number of this gateway.",
    private: false,
    keys: &[
        super::tunnels::FOR,
        key(
            "number",
            Kind::Text(Text::NumberOrDhcp),
            Required("\"0388881001\""),
            "The number. Hyphens and +81 are understood. `dhcp` takes the one that the line's vendor options name (see `wan.vendor_class`): the line registers once it is known, and a new one hangs up its calls.",
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
    about: "Digest authentication of a line. One of `password`, `password_file`, `password_env`, `password_command` and `password_credential` is needed.",
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
        key(
            "password_command",
            Kind::Several(Text::Command),
            Optional("see `password`"),
            "A program that writes the password to its standard output, within 10 s: its absolute path, or a list of it and its arguments. No shell reads them unless it is the program. The gateway runs it at start and at each change of the profile; `sipsec check` does not.",
        )
        .now(),
        key(
            "password_credential",
            Kind::Text(Text::Credential),
            Optional("see `password`"),
            "The name of a credential of systemd (`LoadCredential=NAME:PATH` in the unit of the control plane) that holds the password.",
        )
        .now(),
    ],
};
