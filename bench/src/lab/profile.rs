//! Profiles of the gateways: those of `deploy/profiles`, with the words replaced that a test wants otherwise.

use super::carrier::Kind;
use super::error::LabError;
use super::netns::DIR;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub struct Profile {
    source: PathBuf,
    pub gateway: &'static str,
    text: String,
    dir: PathBuf,
}

impl Profile {
    pub fn load(profiles: &Path, gateway: &'static str, tag: &str) -> Result<Self, LabError> {
        let source = profiles.join(format!("lab-{gateway}.yaml"));
        let text = std::fs::read_to_string(&source).map_err(LabError::io(source.display().to_string()))?;
        let name = if tag.is_empty() { gateway.to_owned() } else { format!("{tag}-{gateway}") };
        let dir = PathBuf::from(DIR).join(&name);
        let profile = Self { source, gateway, text, dir };
        if tag.is_empty() {
            Ok(profile)
        } else {
            profile.with(&format!("{DIR}/{gateway}"), &format!("{DIR}/{name}"))
        }
    }

    /// The same with a text replaced wherever it stands; an error if it stands nowhere.
    pub fn with(mut self, text: &str, by: &str) -> Result<Self, LabError> {
        if !self.text.contains(text) {
            return Err(LabError::Profile { path: self.source, text: text.to_owned() });
        }
        self.text = self.text.replace(text, by);
        Ok(self)
    }

    /// The same with another text in place of all from `from` up to `to`, which stays.
    pub fn replacing(mut self, from: &str, to: &str, by: &str) -> Result<Self, LabError> {
        let place = self.text.find(from).and_then(|start| {
            let len = self.text.get(start..)?.find(to)?;
            Some(start..start + len)
        });
        let Some(place) = place else {
            return Err(LabError::Profile { path: self.source, text: format!("{from}…{to}") });
        };
        self.text.replace_range(place, by);
        Ok(self)
    }

    /// On a line whose address, routes, SIP server and domain come by DHCP, and which asks for no credentials.
    pub fn on_line(self, line: Kind) -> Result<Self, LabError> {
        let auth = |line: &&str| line.trim_start().starts_with("auth:");
        let auth = self.text.lines().find(auth).unwrap_or_default().to_owned();
        // A home gateway takes REGISTER over IPv4, and calls over IPv6 from the prefix that it delegates.
        let (wan, families) = match line {
            Kind::NttHgw => {
                ("ipv4: dhcp, ipv6: prefix", "  registration_family: ipv4\n  call_family: ipv6\n")
            }
            Kind::Generic | Kind::NttDirect => ("ipv4: dhcp", ""),
        };
        let head = format!("\nwan: {{ {wan} }}\n\nsip:\n  carrier: {}\n{families}", line.word());
        self.with("\nsip:\n", &head)?
            .with("registrar: 198.51.100.1:5060", "registrar: dhcp")?
            .with("domain: carrier.example", "domain: dhcp")?
            .with(&format!("{auth}\n"), "")?
            .number_by_dhcp(line)
    }

    /// Behind a home gateway the number that DHCP names is an extension, and the profile has the line's own.
    fn number_by_dhcp(self, line: Kind) -> Result<Self, LabError> {
        const LINE: &str = "    - number: \"";
        let number = self.text.split_once(LINE).and_then(|(_, rest)| rest.split_once('"'));
        let Some(number) = number.map(|(number, _)| number.to_owned()).filter(|_| line == Kind::NttDirect)
        else {
            return Ok(self);
        };
        self.with(&format!("{LINE}{number}\""), "    - number: dhcp")?
            .with(&format!("    local_number: \"{number}\""), "    local_number: dhcp")
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Another text for the same gateway.
    #[must_use]
    pub fn with_text(mut self, text: String) -> Self {
        self.text = text;
        self
    }

    /// Everything the gateway keeps: sockets, journal, logs, and the profile itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes it where the gateway reads it.
    pub fn write(&self) -> Result<PathBuf, LabError> {
        let what = || self.dir.display().to_string();
        std::fs::create_dir_all(self.dir.join("state")).map_err(LabError::io(what()))?;
        let path = self.dir.join("profile.yaml");
        std::fs::write(&path, &self.text).map_err(LabError::io(what()))?;
        // It holds keys.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(LabError::io(what()))?;
        Ok(path)
    }
}
