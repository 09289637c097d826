//! strongSwan's IKE daemon with its own userspace ESP (kernel-libipsec), which always encapsulates in UDP.

use super::Scratch;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::process::Process;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::Duration;

const READY_LIMIT: Duration = Duration::from_secs(10);
/// Where Debian has it.
pub const PROGRAM: &str = "/usr/lib/ipsec/charon";
/// Program and package of each part.
pub const TOOLS: [(&str, &str); 2] = [(PROGRAM, "strongswan-charon"), ("swanctl", "strongswan-swanctl")];

/// One connection with one child.
#[derive(Clone, Debug)]
pub struct Connection {
    pub local: SocketAddrV4,
    pub remote: SocketAddrV4,
    pub auth: Auth,
    pub ike: &'static str,
    pub esp: &'static str,
    /// Seconds; 0 for never.
    pub rekey_child_s: u32,
    pub rekey_ike_s: u32,
    pub local_ts: String,
    pub remote_ts: String,
}

#[derive(Clone, Debug)]
pub enum Auth {
    Psk {
        /// ID_KEY_ID of each side.
        id: String,
        remote_id: String,
        psk: String,
    },
    /// PEM files. Each side's identity is the subject of its certificate.
    Certificate {
        own: PathBuf,
        key: PathBuf,
        /// The peer's own, or that of its authority.
        trusted: Trusted,
    },
}

#[derive(Clone, Debug)]
pub enum Trusted {
    Peer(PathBuf),
    Authority(PathBuf),
}

impl Auth {
    /// The sections `local` and `remote` of the connection, and the section `secrets`.
    fn text(&self) -> [String; 2] {
        match self {
            Self::Psk { id, remote_id, psk } => [
                format!(
                    "  local {{ auth = psk
    id = keyid:{id} }}
  remote {{ auth = psk
    id = keyid:{remote_id} }}
"
                ),
                format!(
                    "secrets {{ ike-1 {{
  id-1 = keyid:{id}
  id-2 = keyid:{remote_id}
  secret = \"{psk}\" }} }}
"
                ),
            ],
            Self::Certificate { own, trusted, .. } => {
                let (own, key, path) = match trusted {
                    Trusted::Peer(path) => (own.display(), "certs", path.display()),
                    Trusted::Authority(path) => (own.display(), "cacerts", path.display()),
                };
                let text = format!(
                    "  local {{ auth = pubkey
    certs = {own} }}
  remote {{ auth = pubkey
    {key} = {path} }}
"
                );
                [text, String::new()]
            }
        }
    }
}

impl Connection {
    fn text(&self) -> String {
        let Self { local, remote, ike, esp, local_ts, remote_ts, .. } = self;
        let [auth, secrets] = self.auth.text();
        let (child, parent) = (self.rekey_child_s, self.rekey_ike_s);
        let (ip, port, remote_ip, remote_port) = (local.ip(), local.port(), remote.ip(), remote.port());
        format!(
            "connections {{ gw {{
  version = 2
  local_addrs = {ip}
  remote_addrs = {remote_ip}
  local_port = {port}
  remote_port = {remote_port}
  encap = yes
  mobike = no
  proposals = {ike}
  rekey_time = {parent}s
  over_time = 1h
  rand_time = 0
  unique = replace
{auth}  children {{ net {{
    local_ts = {local_ts}
    remote_ts = {remote_ts}
    esp_proposals = {esp}
    rekey_time = {child}s
    rand_time = 0
    life_time = 1h
  }} }}
}} }}
{secrets}"
        )
    }
}

#[derive(Debug)]
pub struct Charon {
    process: Process,
    namespace: String,
    vici: PathBuf,
    scratch: Scratch,
}

impl Charon {
    pub fn start(namespace: &Namespace, tag: &str, connection: &Connection) -> Result<Self, LabError> {
        Self::start_with(namespace, tag, connection, "")
    }

    /// With more lines of the section `charon`.
    pub fn start_with(
        namespace: &Namespace,
        tag: &str,
        connection: &Connection,
        settings: &str,
    ) -> Result<Self, LabError> {
        let scratch = Scratch::new(&format!("{tag}-charon"))?;
        let dir = scratch.path().display().to_string();
        let port = connection.local.port();
        // kernel-libipsec has to come before kernel-netlink. The only port is the one for NAT traversal, so that the
        // first message has the marker already, as SDP's port demands.
        let daemon = format!(
            "charon {{
  load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey hmac kdf gcm aes sha1 sha2 curve25519 gmp \
             kernel-libipsec kernel-netlink socket-default updown vici
  port = 0
  port_nat_t = {port}
  retransmit_timeout = 1.0
  retransmit_tries = 4
  {settings}
  plugins {{
    vici {{ socket = unix://{dir}/vici }}
    kernel-libipsec {{ allow_peer_ts = yes }}
  }}
  filelog {{ log {{ path = {dir}/charon.log
      default = 1
      ike = 2
      flush_line = yes }} }}
}}
"
        );
        let conf = scratch.write("strongswan.conf", &daemon)?;
        // The tools load every plugin unless told.
        scratch
            .write("tools.conf", "swanctl { load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey }\n")?;
        scratch.write("run/keep", "")?;
        let vici = scratch.path().join("vici");
        // The pid file's path is compiled in, so the daemon gets a /run of its own.
        let script =
            format!("mount --bind {dir}/run /run && STRONGSWAN_CONF={} exec {PROGRAM}", conf.display());
        let mut command = namespace.command("sh");
        command.args(["-c", &script]);
        let mut process = Process::spawn("charon", command, scratch.path().join("output"))?;
        wait_for("charon's control socket", READY_LIMIT, || {
            process.check()?;
            Ok(vici.exists().then_some(()))
        })?;
        let charon = Self { process, namespace: namespace.name().to_owned(), vici, scratch };
        charon.load(connection)?;
        Ok(charon)
    }

    /// Its SAs go with it, and no message says so.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Takes another definition of the connection.
    pub fn load(&self, connection: &Connection) -> Result<(), LabError> {
        self.scratch.write("swanctl/swanctl.conf", &connection.text())?;
        if let Auth::Certificate { key, .. } = &connection.auth {
            let what = || key.display().to_string();
            let text = std::fs::read_to_string(key).map_err(LabError::io(what()))?;
            // Keys are found by where they are.
            self.scratch.write("swanctl/private/own.pem", &text)?;
        }
        self.swanctl(&["--load-all"]).map(drop)
    }

    pub fn swanctl(&self, words: &[&str]) -> Result<String, LabError> {
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "swanctl"]).args(words);
        command.arg("--uri").arg(format!("unix://{}", self.vici.display()));
        command.env("SWANCTL_DIR", self.scratch.path().join("swanctl"));
        command.env("STRONGSWAN_CONF", self.scratch.path().join("tools.conf"));
        run(&mut command)
    }

    pub fn initiate(&self) -> Result<(), LabError> {
        let tried = self.swanctl(&["--initiate", "--child", "net", "--timeout", "10"]);
        tried.map(drop).map_err(|e| LabError::failed(e.to_string(), self.log_tail()))
    }

    /// How often its log says something.
    #[must_use]
    pub fn logged(&self, text: &str) -> usize {
        std::fs::read_to_string(self.log()).unwrap_or_default().matches(text).count()
    }

    pub fn check(&mut self) -> Result<(), LabError> {
        self.process.check()
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("charon.log")
    }

    #[must_use]
    pub fn log_tail(&self) -> String {
        format!("\n--- charon\n{}", crate::lab::process::log_tail(&self.log()))
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }
}
