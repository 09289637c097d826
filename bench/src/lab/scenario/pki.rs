//! Keys and certificates for gateways (`sipsec pki`) and for the others (openssl).

use super::Context;
use super::support::ensure;
use crate::lab::error::LabError;
use crate::lab::netns::run;
use crate::lab::peer::Scratch;
use crate::lab::profile::Profile;
use std::path::Path;
use std::process::Command;

/// The text of the profiles that proves the peer.
const PSK: &str = "psk: \"lab-only-3f9d1c7a5be04826d1907cf2a4e86b53\" }\n";

/// The files of one case, kept where `sipsec pki` is told to.
pub struct Pki<'a> {
    context: &'a Context,
    files: Scratch,
}

impl<'a> Pki<'a> {
    pub fn new(context: &'a Context, tag: &str) -> Result<Self, LabError> {
        Ok(Self { context, files: Scratch::new(&format!("{tag}-pki"))? })
    }

    pub fn path(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }

    pub fn write(&self, name: &str, text: &str) -> Result<(), LabError> {
        self.files.write(name, text).map(drop)
    }

    /// `sipsec pki …`
    pub fn sipsec(&self, words: &[&str]) -> Result<String, LabError> {
        let mut command = Command::new(&self.context.places.programs.cli);
        run(command.arg("pki").args(words).arg("--dir").arg(self.files.path()))
    }

    pub fn openssl(&self, words: &[&str]) -> Result<String, LabError> {
        run(Command::new("openssl").args(words).current_dir(self.files.path()))
    }

    /// As SDP has it.
    pub fn fingerprint(&self, gateway: &str) -> Result<String, LabError> {
        let text = self.sipsec(&["fingerprint", &self.path(&format!("{gateway}.crt"))])?;
        let value = text.lines().find_map(|l| l.strip_prefix("fingerprint")).map(|v| v.trim().to_owned());
        value.ok_or_else(|| LabError::failed("no fingerprint", text))
    }

    /// The profile with this gateway's certificate in the place of the key, and no hurry to hang up.
    pub fn profile(&self, profile: Profile, trust: &str) -> Result<Profile, LabError> {
        let gateway = profile.gateway;
        let file = |kind: &str| self.path(&format!("{gateway}.{kind}"));
        let by = format!(
            "certificate: own }}\n  certificates:\n    - {{ name: own, certificate: {}, key: {}, trust: {{ {trust} }} }}\n",
            file("crt"),
            file("key"),
        );
        let idle = if gateway == "branch" { "idle_s: 5" } else { "idle_s: 20" };
        profile.with(PSK, &by)?.with(idle, "idle_s: 60")
    }

    /// `sipsec check` has nothing to say.
    pub fn check(&self, profile: &Profile) -> Result<(), LabError> {
        let path = profile.write()?;
        let said = run(Command::new(&self.context.places.programs.cli).arg("check").arg(&path))?;
        ensure(said.contains(" 0 errors, ") && !said.contains("pki::"), "sipsec check", || said.clone())
    }

    /// A root, one that it issued, and another root. Not made by us: another implementation has to understand our
    /// requests.
    pub fn authority(&self) -> Result<(), LabError> {
        const ROOT: [&str; 8] = ["req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "90", "-addext"];
        for (name, subject) in [("root", "/CN=Lab Root"), ("other", "/CN=Other Root")] {
            let (key, crt) = (format!("{name}.pem.key"), format!("{name}.pem"));
            let rest =
                ["keyUsage=critical,keyCertSign,cRLSign", "-subj", subject, "-keyout", &key, "-out", &crt];
            self.openssl(&[&ROOT[..], &rest].concat())?;
        }
        let request = ["req", "-new", "-newkey", "rsa:3072", "-nodes", "-subj", "/CN=Lab Issuing CA"];
        let files = ["-keyout", "middle.pem.key", "-out", "middle.csr"];
        self.openssl(&[&request[..], &files].concat())?;
        let extensions = "keyUsage=critical,keyCertSign,cRLSign\nbasicConstraints=critical,CA:TRUE\n";
        self.sign("root", "middle.csr", "middle.pem", extensions)
    }

    pub fn sign(&self, by: &str, request: &str, to: &str, extensions: &str) -> Result<(), LabError> {
        self.write("extensions", extensions)?;
        let (ca, key) = (format!("{by}.pem"), format!("{by}.pem.key"));
        let sign = ["x509", "-req", "-days", "90", "-extfile", "extensions", "-CAcreateserial"];
        self.openssl(&[&sign[..], &["-in", request, "-CA", &ca, "-CAkey", &key, "-out", to]].concat())?;
        ensure(Path::new(&self.path(to)).exists(), "openssl signs the request", String::new)
    }
}
