//! Where the private key of a certificate comes from: the same keys for IKE and for TLS.

use super::kind::{Key, Kind, Presence, Text, key};
use Presence::Optional;

pub const FILE: Key = key(
    "key",
    Kind::Text(Text::Path),
    Optional("see `key_env`, `key_command` and `key_credential`"),
    "PEM file with the private key of `certificate` in PKCS #8, mode 0600.",
)
.hangs_up();

pub const ENV: Key = key(
    "key_env",
    Kind::Text(Text::Variable),
    Optional("see `key`"),
    "A variable of the gateway's environment that holds the private key as PEM.",
)
.hangs_up();

pub const COMMAND: Key = key(
    "key_command",
    Kind::Several(Text::Command),
    Optional("see `key`"),
    "A program that writes the private key as PEM to its standard output, within 10 s: its absolute path, or a list of it and its arguments. No shell reads them unless it is the program. The gateway runs it at start and at each change of the profile; `sipsec check` does not.",
)
.hangs_up();

pub const CREDENTIAL: Key = key(
    "key_credential",
    Kind::Text(Text::Credential),
    Optional("see `key`"),
    "The name of a credential of systemd (`LoadCredential=NAME:PATH` in the unit of the control plane) that holds the private key as PEM.",
)
.hangs_up();
