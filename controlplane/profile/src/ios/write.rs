//! Writes a conversion as a profile, with its keys inline or in files of their own.

use super::conversion::{Certificate, Conversion, KeyEntry, Proof, Tunnel};
use super::document::Secret;
use crate::model::TunnelRoute;
use crate::schema::{self, Group};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where keys go.
#[derive(Clone, Debug)]
pub enum Keys {
    Inline,
    /// Nowhere: for a profile that is shown.
    Hidden,
    /// Files in this directory.
    Files(PathBuf),
}

/// A key file: mode 0600.
#[derive(Clone, Debug)]
pub struct KeyFile {
    pub path: PathBuf,
    /// The key and the end of its line.
    pub text: Zeroizing<String>,
}

/// A profile and the files that it names.
#[derive(Debug)]
pub struct Written {
    pub profile: Zeroizing<String>,
    pub keys: Vec<KeyFile>,
}

/// What stands in place of what the router does not tell; no key takes it, so `sipsec check` names it.
pub const REGISTRAR: &str = "<the carrier's registrar as ADDRESS:PORT>";
pub const DOMAIN: &str = "<the carrier's SIP domain>";
pub const GATEWAY: &str = "<a name for the gateway>";
const PKI: &str = "/etc/sipsec/pki";

/// Writes the profile. `gateway` overrides the router's hostname.
#[must_use]
pub fn profile(conversion: &Conversion, gateway: Option<&str>, keys: &Keys, remark: &str) -> Written {
    let mut writer = Writer {
        text: Zeroizing::new(String::with_capacity(4096)),
        keys: keys.clone(),
        files: Vec::new(),
        gateway: gateway.or(conversion.gateway.as_deref()).unwrap_or(GATEWAY).to_owned(),
    };
    for line in remark.lines() {
        writer.line(&format!("# {line}"));
    }
    writer.head(conversion);
    writer.ike(conversion);
    if let Some(source) = conversion.tunnel_source {
        writer.line(&format!("media:\n  tunnel_source: {source}"));
    }
    writer.tunnels(&conversion.tunnels);
    writer.entries("sla", &conversion.sla, &schema::SLA);
    writer.entries("track", &conversion.track, &schema::TRACK);
    writer.entries("routes", &conversion.routes, &schema::ROUTE);
    writer.dataplane(conversion);
    Written { profile: writer.text, keys: writer.files }
}

struct Writer {
    text: Zeroizing<String>,
    keys: Keys,
    files: Vec<KeyFile>,
    gateway: String,
}

/// A double-quoted scalar: JSON's escapes are YAML's (YAML 1.2 §5.7).
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A word as it is, anything else quoted.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && text.chars().all(plain);
    let special = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if word && !special.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

impl Writer {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn head(&mut self, conversion: &Conversion) {
        self.line("version: 1");
        let gateway = scalar(&self.gateway);
        self.line(&format!("gateway: {gateway}"));
        self.line("sip:");
        self.line(&format!("  interface: {}", scalar(&device(conversion))));
        self.line(&format!("  registrar: {}", quoted(REGISTRAR)));
        self.line(&format!("  domain: {}", quoted(DOMAIN)));
        self.line("  lines:");
        for number in &conversion.lines {
            self.line(&format!("    - number: {}", quoted(number)));
            self.line("      # auth: { username: …, password_file: … }   if the carrier gave any");
        }
        if conversion.lines.is_empty() {
            self.line("    - number: \"<the number of the line>\"");
        }
    }

    fn ike(&mut self, conversion: &Conversion) {
        self.line("ike:");
        self.list("proposals", &conversion.proposals);
        self.list("esp_proposals", &conversion.esp_proposals);
        let lifetimes =
            [("ike_s", conversion.ike_s), ("child_s", conversion.child_s), ("child_kb", conversion.child_kb)];
        let lifetimes: Vec<String> =
            lifetimes.iter().filter_map(|(k, v)| v.map(|v| format!("{k}: {v}"))).collect();
        if !lifetimes.is_empty() {
            self.line(&format!("  lifetime: {{ {} }}", lifetimes.join(", ")));
        }
        if let Some((mode, seconds)) = conversion.dpd {
            self.line(&format!("  dpd_mode: {mode}"));
            self.line(&format!("  dpd_s: {seconds}"));
        }
        if let Some(seconds) = conversion.nat_keepalive_s {
            self.line(&format!("  nat_keepalive_s: {seconds}"));
        }
        if let Some(bytes) = conversion.fragment_bytes {
            self.line(&format!("  fragment_bytes: {bytes}"));
        }
        if conversion.keyring.is_empty() {
            self.line("  keyring: []");
        } else {
            self.line("  keyring:");
        }
        for entry in &conversion.keyring {
            self.key(entry);
            if conversion.old_peers {
                self.line("      peer: cisco");
            }
        }
        if !conversion.certificates.is_empty() {
            self.line("  certificates:");
        }
        for certificate in &conversion.certificates {
            self.certificate(certificate);
        }
    }

    fn list(&mut self, key: &str, list: &[String]) {
        if !list.is_empty() {
            self.line(&format!("  {key}: [{}]", list.join(", ")));
        }
    }

    fn key(&mut self, entry: &KeyEntry) {
        let owner = entry.number.as_deref().unwrap_or("any");
        self.line(&format!("    - number: {}", quoted(owner)));
        match &entry.proof {
            Proof::Psk(key) => self.secret("psk", owner, key),
            Proof::Certificate(name) => self.line(&format!("      certificate: {}", scalar(name))),
        }
        if let Some(ppk) = &entry.ppk {
            self.line(&format!("      ppk_id: {}", quoted(&ppk.id)));
            self.secret("ppk", owner, &ppk.key);
            if ppk.required {
                self.line("      ppk_required: true");
            }
        }
    }

    fn secret(&mut self, key: &str, owner: &str, secret: &Secret) {
        let line = match &self.keys {
            Keys::Inline => {
                let text = Zeroizing::new(quoted(secret.expose()));
                Zeroizing::new(format!("      {key}: {}", *text))
            }
            Keys::Hidden => Zeroizing::new(format!("      {key}: <hidden>")),
            Keys::Files(directory) => {
                let gateway = if self.gateway == GATEWAY { "gateway" } else { &self.gateway };
                let path = directory.join(format!("{gateway}-{key}-{owner}"));
                let text = Zeroizing::new(format!("{}\n", secret.expose()));
                let line =
                    Zeroizing::new(format!("      {key}_file: {}", quoted(&path.display().to_string())));
                self.files.push(KeyFile { path, text });
                line
            }
        };
        self.line(&line);
    }

    fn certificate(&mut self, certificate: &Certificate) {
        let file = |kind: &str| quoted(&path(&certificate.name, kind).display().to_string());
        self.line(&format!("    - name: {}", scalar(&certificate.name)));
        self.line(&format!("      certificate: {}", file("crt")));
        self.line(&format!("      key: {}", file("key")));
        if certificate.self_signed {
            self.line("      trust: { self_signed: true }");
            return;
        }
        self.line("      trust:");
        let ca = quoted(&path(&format!("{}-ca", certificate.name), "crt").display().to_string());
        self.line(&format!("        ca: [{ca}]"));
        if let Some(fail) = certificate.crl {
            self.line(&format!("        crl: {{ files: [{}], fail: {fail} }}", file("crl")));
        }
        if !certificate.maps.is_empty() {
            self.line("        maps:");
        }
        for rules in &certificate.maps {
            let rules: Vec<String> = rules.iter().map(|r| quoted(r)).collect();
            self.line(&format!("          - [{}]", rules.join(", ")));
        }
    }

    fn tunnels(&mut self, tunnels: &[Tunnel]) {
        self.line(if tunnels.is_empty() { "tunnels: []" } else { "tunnels:" });
        for tunnel in tunnels {
            let mut text = format!(
                "  - name: {}\n    local_number: {}\n    remote_number: {}\n    bandwidth_kbps: {}\n",
                scalar(&tunnel.name),
                quoted(&tunnel.local),
                quoted(&tunnel.remote),
                tunnel.kbps
            );
            let optional = [("idle_s", tunnel.idle_s), ("mtu", tunnel.mtu), ("metric", tunnel.metric)];
            for (key, value) in optional.iter().filter_map(|(k, v)| v.map(|v| (k, v))) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "    {key}: {value}");
            }
            let routes: Vec<String> = tunnel.routes.iter().map(route).collect();
            let _ = write!(text, "    routes: [{}]", routes.join(", "));
            self.line(&text);
        }
    }

    /// A list of the profile's own types, one line for each entry.
    fn entries<T: serde::Serialize>(&mut self, key: &str, list: &[T], group: &Group) {
        if !list.is_empty() {
            self.line(&format!("{key}:"));
        }
        for entry in list {
            let entry = crate::write::flow(entry, group);
            self.line(&format!("  - {entry}"));
        }
    }

    fn dataplane(&mut self, conversion: &Conversion) {
        self.line("dataplane:");
        let df = conversion.dont_fragment.map(|d| format!(", dont_fragment: {d}")).unwrap_or_default();
        self.line(&format!("  outside: {{ device: {}{df} }}", scalar(&device(conversion))));
        self.line("  inside: { mode: host, device: svti0 }");
        let tunnels = conversion.tunnels.len();
        let routes: usize = conversion.tunnels.iter().map(|t| t.routes.len()).sum();
        let needed = tunnels.max(routes.div_ceil(ROUTES_PER_TUNNEL));
        if needed > TUNNELS_DEFAULT {
            self.line(&format!("  tunnels_max: {needed}"));
        }
    }
}

/// What the dataplane has room for unless told otherwise, and routes for each of its tunnels.
const TUNNELS_DEFAULT: usize = 1024;
const ROUTES_PER_TUNNEL: usize = 4;

fn route(route: &TunnelRoute) -> String {
    let prefix = quoted(&route.prefix.to_string());
    let mut more = String::new();
    if let Some(distance) = route.distance {
        more += &format!(", distance: {distance}");
    }
    if let Some(track) = route.track {
        more += &format!(", track: {track}");
    }
    if more.is_empty() { prefix } else { format!("{{ prefix: {prefix}{more} }}") }
}

fn device(conversion: &Conversion) -> String {
    match &conversion.wan {
        Some((_, Some(device))) => device.clone(),
        Some((name, None)) => format!("<the device of {name}>"),
        None => "<the device of the carrier's line>".to_owned(),
    }
}

fn path(name: &str, kind: &str) -> PathBuf {
    let safe: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect();
    Path::new(PKI).join(format!("{safe}.{kind}"))
}
