//! `ike:`

use super::kind::{Group, Kind, Presence, Text, int, key};
use super::private_key;
use crate::model::ike::{DpdMode, PeerKind};
use Presence::{Default, Optional, Required};

pub const IKE: Group = Group {
    about: "IKEv2 (RFC 7296).",
    private: false,
    keys: &[
        key(
            "keyring",
            Kind::List(&Kind::Group(&KEYRING_ENTRY)),
            Required("[{ number: \"0388882001\", psk_file: /etc/sipsec/psk }]"),
            "How each peer and this gateway prove who they are.",
        )
        .ios("crypto ikev2 keyring NAME").next_call(),
        key(
            "certificates",
            Kind::List(&Kind::Group(&CERTIFICATE)),
            Optional("none"),
            "Certificates of this gateway. Entries of the keyring name them.",
        )
        .ios("crypto pki trustpoint NAME").next_call(),
        key(
            "force_encap",
            Kind::Flag,
            Default("true"),
            "Announce a NAT even if there is none, so that ESP is carried in UDP: the carrier admits only the 5-tuple of the call.",
        )
        .ios("nat force-encap").hangs_up(),
        key("dpd_s", int(1, 3600), Default("10"), "Interval of dead peer detection.").unit("s").ios("dpd SECONDS …").next_call(),
        key("dpd_mode", Kind::Word(DpdMode::TABLE), Default("on-demand"), "When the peer is asked for a sign of life.")
            .ios("dpd … on-demand | periodic").next_call(),
        key(
            "nat_keepalive_s",
            int(0, 3600),
            Default("20"),
            "Behind a NAT, a keepalive is sent after this much silence (RFC 3948 §4). 0 turns it off.",
        )
        .unit("s")
        .ios("nat keepalive SECONDS").next_call(),
        key("fragmentation", Kind::Flag, Default("true"), "Fragment IKE messages (RFC 7383). Certificates need it.")
            .ios("crypto ikev2 fragmentation").next_call(),
        key("fragment_bytes", int(200, 1400), Default("1200"), "Largest UDP payload of a fragment.")
            .unit("bytes")
            .ios("crypto ikev2 fragmentation mtu BYTES").next_call(),
        key(
            "replay_window",
            int(64, 65_536),
            Default("1024"),
            "How many packets behind the newest one an inbound SA still accepts: a power of two (RFC 4303 §3.4.3).",
        )
        .unit("packets")
        .ios("crypto ipsec security-association replay window-size PACKETS").next_call(),
        key(
            "negotiation_deadline_s",
            int(1, 300),
            Default("15"),
            "An answered call costs money: if there is no security association by then, it is hung up.",
        )
        .unit("s").next_call(),
        key(
            "psk_fingerprint",
            Kind::Flag,
            Default("false"),
            "Put a hash of the pre-shared key into SDP and insist on the peer's (RFC 6193 §8.2). The key needs 128 bits then: SIP is clear text.",
        ).hangs_up(),
        key(
            "crash_detection",
            Kind::Flag,
            Default("true"),
            "Give the peer a token for each IKE SA and take its own (RFC 6290): a peer that has lost the SA says so at once, and the call ends without waiting for DPD.",
        ).next_call(),
        key(
            "proposals",
            Kind::List(&Kind::Text(Text::Proposal)),
            Optional("the algorithms of RFC 8247"),
            "Proposals for the IKE SA in order of preference, 1 to 8, in strongSwan's words: `aes256gcm16-prfsha384-ecp384`.",
        )
        .ios("crypto ikev2 proposal NAME").hangs_up(),
        key(
            "esp_proposals",
            Kind::List(&Kind::Text(Text::Proposal)),
            Optional("AES-GCM-16, then AES-CBC with HMAC-SHA2, each with 256 or 128 bits"),
            "Proposals for ESP in order of preference, 1 to 8: `aes256gcm16`, `aes128gcm16-ecp256-esn`, `aes256-sha256`, `aes256gcm16iiv` (RFC 8750: 8 bytes less in each packet). A group is for forward secrecy: each renewal does a key exchange of its own; with `-ke1_mlkem768` behind it ML-KEM in addition (RFC 9370), `-ke1_none` makes that optional.",
        )
        .ios("crypto ipsec transform-set NAME …").hangs_up(),
        key("lifetime", Kind::Group(&LIFETIME), Optional("the defaults of its keys"), "How long SAs live. Each is renewed at nine tenths of it or a little earlier."),
        key(
            "lab_key_log",
            Kind::Text(Text::Path),
            Optional("no key is written"),
            "A directory into which every key of every session is written in clear, for captures in a lab. Never use it elsewhere.",
        ).next_call(),
    ],
};

const LIFETIME: Group = Group {
    about: "How long SAs live.",
    private: false,
    keys: &[
        key("ike_s", int(120, 86_400), Default("14400"), "Life of the IKE SA.")
            .unit("s")
            .ios("lifetime SECONDS")
            .next_call(),
        key("child_s", int(120, 86_400), Default("3600"), "Life of a CHILD SA.")
            .unit("s")
            .ios("set security-association lifetime seconds SECONDS")
            .next_call(),
        key(
            "child_kb",
            int(0, u32::MAX as u64),
            Default("4608000"),
            "Traffic of a CHILD SA, in 1024 bytes: at least 2560, or 0 for no limit.",
        )
        .unit("1024 bytes")
        .ios("set security-association lifetime kilobytes KILOBYTES")
        .next_call(),
    ],
};

pub const KEYRING_ENTRY: Group = Group {
    about: "The proof of one peer. One of `psk`, `psk_file`, `psk_env`, `psk_command`, `psk_credential` and `certificate` is needed.",
    private: true,
    keys: &[
        super::tunnels::FOR,
        key(
            "number",
            Kind::Text(Text::NumberOrAny),
            Required("\"0388882001\""),
            "The peer's telephone number, or `any` for every number without an entry of its own.",
        )
        .ios("identity key-id NUMBER")
        .next_call(),
        key(
            "psk",
            Kind::Text(Text::Secret),
            Optional("see `psk_file`"),
            "The pre-shared key, inline: 1 to 256 bytes; `0x…` is hexadecimal.",
        )
        .ios("pre-shared-key KEY")
        .next_call(),
        key(
            "psk_file",
            Kind::Text(Text::Path),
            Optional("see `psk`"),
            "A file whose first and only line is the key. Give it mode 0600.",
        )
        .next_call(),
        key(
            "psk_env",
            Kind::Text(Text::Variable),
            Optional("see `psk`"),
            "A variable of the gateway's environment that holds the key.",
        )
        .next_call(),
        key(
            "psk_command",
            Kind::Several(Text::Command),
            Optional("see `psk`"),
            "A program that writes the key to its standard output, within 10 s: its absolute path, or a list of it and its arguments. No shell reads them unless it is the program. The gateway runs it at start and at each change of the profile; `sipsec check` does not.",
        )
        .next_call(),
        key(
            "psk_credential",
            Kind::Text(Text::Credential),
            Optional("see `psk`"),
            "The name of a credential of systemd (`LoadCredential=NAME:PATH` in the unit of the control plane) that holds the key.",
        )
        .next_call(),
        key(
            "psk_next",
            Kind::Text(Text::Secret),
            Optional("see `psk_file_next`"),
            "A second pre-shared key, inline, that the peer may prove instead of the first while keys are changed. This gateway calls with the first one.",
        )
        .next_call(),
        key(
            "psk_file_next",
            Kind::Text(Text::Path),
            Optional("one key is accepted"),
            "A file whose first and only line is the second key. Give it mode 0600.",
        )
        .next_call(),
        key(
            "psk_env_next",
            Kind::Text(Text::Variable),
            Optional("see `psk_file_next`"),
            "A variable of the gateway's environment that holds the second key.",
        )
        .next_call(),
        key(
            "psk_command_next",
            Kind::Several(Text::Command),
            Optional("see `psk_file_next`"),
            "A program that writes the second key to its standard output; as `psk_command`.",
        )
        .next_call(),
        key(
            "psk_credential_next",
            Kind::Text(Text::Credential),
            Optional("see `psk_file_next`"),
            "The name of a credential of systemd that holds the second key; as `psk_credential`.",
        )
        .next_call(),
        key(
            "certificate",
            Kind::Text(Text::CertificateName),
            Optional("the peer has a pre-shared key"),
            "The name of an entry of `ike.certificates`.",
        )
        .ios("authentication local rsa-sig")
        .hangs_up(),
        key(
            "ppk_id",
            Kind::Text(Text::PpkId),
            Optional("no PPK"),
            "The name of the post-quantum pre-shared key (RFC 8784), the same at both ends.",
        )
        .next_call(),
        key(
            "ppk",
            Kind::Text(Text::Secret),
            Optional("see `ppk_file`"),
            "The post-quantum pre-shared key, inline; 32 random bytes as `0x…`.",
        )
        .next_call(),
        key(
            "ppk_file",
            Kind::Text(Text::Path),
            Optional("see `ppk`"),
            "A file whose first and only line is the PPK. Give it mode 0600.",
        )
        .next_call(),
        key(
            "ppk_env",
            Kind::Text(Text::Variable),
            Optional("see `ppk`"),
            "A variable of the gateway's environment that holds the PPK.",
        )
        .next_call(),
        key(
            "ppk_command",
            Kind::Several(Text::Command),
            Optional("see `ppk`"),
            "A program that writes the PPK to its standard output, within 10 s: its absolute path, or a list of it and its arguments. No shell reads them unless it is the program. The gateway runs it at start and at each change of the profile; `sipsec check` does not.",
        )
        .next_call(),
        key(
            "ppk_credential",
            Kind::Text(Text::Credential),
            Optional("see `ppk`"),
            "The name of a credential of systemd (`LoadCredential=NAME:PATH` in the unit of the control plane) that holds the PPK.",
        )
        .next_call(),
        key("ppk_required", Kind::Flag, Default("false"), "Without the PPK there is no session.").next_call(),
        key(
            "identity",
            Kind::Text(Text::Identity),
            Optional("`key-id` with the number of our line; the subject of our certificate"),
            "What this gateway says it is in IKE: `key-id TEXT`, `fqdn NAME`, `email USER@NAME` or `address IP`.",
        )
        .ios("identity local fqdn NAME")
        .hangs_up(),
        key(
            "peer_identity",
            Kind::Text(Text::Identity),
            Optional("`key-id` with `number`; anything with a certificate"),
            "What the peer must say it is in IKE, in the same forms, or `fqdn *.DOMAIN` or `email *@DOMAIN` for every name of a domain. It is in addition to the proof.",
        )
        .ios("match identity remote address ADDRESS")
        .hangs_up(),
        key(
            "peer",
            Kind::Word(PeerKind::TABLE),
            Default("generic"),
            "Deviations of the peer that are accepted.",
        )
        .next_call(),
    ],
};

const CERTIFICATE: Group = Group {
    about: "A certificate of this gateway, its key, and the certificates that it accepts in return. One of `key`, `key_env`, `key_command` and `key_credential` is needed.",
    private: false,
    keys: &[
        key(
            "name",
            Kind::Text(Text::CertificateName),
            Required("gateway"),
            "The name that the keyring uses.",
        )
        .ios("crypto pki trustpoint NAME")
        .next_call(),
        key(
            "certificate",
            Kind::Text(Text::Path),
            Required("/etc/sipsec/pki/gateway.crt"),
            "PEM file: the gateway's certificate first, then the intermediates of its path.",
        )
        .hangs_up(),
        private_key::FILE,
        private_key::ENV,
        private_key::COMMAND,
        private_key::CREDENTIAL,
        key("rsa_pss", Kind::Flag, Default("true"), "An RSA key signs with PSS; false for PKCS #1 v1.5.")
            .hangs_up(),
        key(
            "trust",
            Kind::Group(&TRUST),
            Required("{ self_signed: true }"),
            "The certificates of peers that are accepted.",
        ),
    ],
};

const TRUST: Group = Group {
    about: "The certificates of peers that are accepted. `self_signed`, `ca` or both are needed.",
    private: false,
    keys: &[
        key(
            "self_signed",
            Kind::Flag,
            Default("false"),
            "Accept self-signed certificates. The fingerprint in SDP is the only proof then (RFC 6193 §7).",
        )
        .ios("enrollment selfsigned").next_call(),
        key("check_self_signed_validity", Kind::Flag, Default("false"), "The dates of a self-signed certificate count, too.").next_call(),
        key("ca", Kind::List(&Kind::Text(Text::Path)), Optional("no authority"), "PEM files of authorities.").next_call(),
        key("crl", Kind::Group(&CRL), Optional("revocation is not checked"), "Revocation lists of the authorities.")
            .ios("revocation-check crl"),
        key(
            "maps",
            Kind::List(&Kind::List(&Kind::Text(Text::MapRule))),
            Optional("every certificate of the authorities"),
            "A certificate of an authority must satisfy all rules of one of these maps: `subject co O=Example Bank`.",
        )
        .ios("crypto pki certificate map NAME SEQUENCE").next_call(),
    ],
};

const CRL: Group = Group {
    about: "Revocation lists.",
    private: false,
    keys: &[
        key(
            "files",
            Kind::List(&Kind::Text(Text::Path)),
            Required("[/etc/sipsec/pki/corp.crl]"),
            "Files in DER or PEM.",
        )
        .next_call(),
        key(
            "fail",
            Kind::Word(&[
                ("closed", "a certificate that no current list covers is refused"),
                ("open", "a certificate that no current list covers is accepted"),
            ]),
            Required("closed"),
            "What happens to a certificate that no current list covers.",
        )
        .next_call(),
    ],
};
