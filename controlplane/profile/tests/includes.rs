//! `include:`: several files that are one profile.

use sipsec_profile::change::diff;
use sipsec_profile::write::{Secrets, yaml};
use sipsec_profile::{Examined, Style, Surroundings, examine, head};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PROFILE: &str = "version: 1\ngateway: headend\ninclude: [branches/*.yaml, keys.yaml]\nsip:\n  interface: wan0\n  \
    registrar: 198.51.100.1\n  domain: c.example\nmedia: { ports: 10000-65000 }\ndefaults: { bandwidth_kbps: 64 }\n\
    tunnels:\n- { name: Tunnel1, local_number: \"0388882001\", remote_number: \"0377700001\", routes: [10.1.0.0/16] }\n\
    dataplane:\n  outside: { device: wan0 }\n  inside: { mode: host, device: svti0 }\n";
const OSAKA: &str = "# Osaka\ntunnels:\n- name: Osaka\n  local_number: \"0388882001\"\n  remote_number: \"0377700002\"\n  \
    routes: [10.2.0.0/16]\n";
const KEYS: &str =
    "include: line.yaml\nike:\n  dpd_s: 5\n  keyring:\n  - { number: any, psk: hunter2-hunter2-hunter2 }\n";
const LINE: &str = "sip: { lines: [{ number: \"0388882001\" }] }\n";

/// Files of `/etc/sipsec`, with their modes.
struct Files(BTreeMap<PathBuf, (Vec<u8>, u32)>);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let at = |name: &str| Path::new("/etc/sipsec").join(name);
        Self(files.iter().map(|(name, text)| (at(name), (text.as_bytes().to_vec(), 0o600))).collect())
    }

    fn with(mut self, name: &str, text: impl AsRef<[u8]>) -> Self {
        self.0.insert(Path::new("/etc/sipsec").join(name), (text.as_ref().to_vec(), 0o600));
        self
    }
}

impl Surroundings for Files {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.0.get(path).map(|(bytes, _)| bytes.clone()).ok_or_else(|| "there is no such file".to_owned())
    }

    fn files(&self, pattern: &Path, beside: Option<&Path>) -> Result<Vec<PathBuf>, String> {
        let whole = beside.and_then(Path::parent).unwrap_or(Path::new("/etc/sipsec")).join(pattern);
        let text = whole.to_str().expect("UTF-8");
        let Some((start, end)) = text.split_once('*') else { return Ok(vec![whole]) };
        let matches = |p: &&PathBuf| p.to_str().is_some_and(|p| p.starts_with(start) && p.ends_with(end));
        Ok(self.0.keys().filter(matches).cloned().collect())
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        self.0.get(path).map(|(_, mode)| *mode)
    }
}

fn whole() -> Files {
    Files::new(&[("branches/osaka.yaml", OSAKA), ("keys.yaml", KEYS), ("line.yaml", LINE)])
}

fn read(text: &str, files: &Files) -> Examined {
    examine("/etc/sipsec/headend.yaml", text.as_bytes(), files)
}

/// `FILE:LINE:COLUMN: MESSAGE` of each finding.
fn found(text: &str, files: &Files) -> Vec<String> {
    let Examined { findings, profile } = read(text, files);
    assert!(profile.is_none() || findings.errors() == 0, "{}", findings.render(Style::PLAIN));
    assert!(findings.list.iter().all(|f| !f.hint.is_empty()));
    assert!(!findings.render(Style::PLAIN).contains("hunter2"));
    let one = |f: &sipsec_profile::Finding| format!("{}:{}:{}: {}", f.file, f.line, f.column, f.message);
    findings.list.iter().map(one).collect()
}

#[test]
fn a_profile_in_files_means_what_one_file_means() {
    let examined = read(PROFILE, &whole());
    let profile = examined.profile.unwrap_or_else(|| panic!("{}", examined.findings.render(Style::PLAIN)));
    assert_eq!(examined.findings.errors(), 0, "{}", examined.findings.render(Style::PLAIN));
    let names: Vec<_> = profile.tunnels.iter().map(|t| (t.name.as_str(), t.bandwidth.0)).collect();
    assert_eq!(names, [("Tunnel1", 64), ("Osaka", 64)], "defaults are for the tunnels of all files");
    assert_eq!((profile.ike.dpd.as_secs(), profile.sip.lines.len()), (5, 1));
    // What is applied and kept is complete: it needs no file any more.
    let text = yaml(&profile, Secrets::Written).expect("written");
    assert!(!text.contains("include"), "{text}");
    let again = read(&text, &Files::new(&[])).profile.expect("complete");
    assert!(diff(&profile, &again).is_empty(), "{:?}", diff(&profile, &again));
    // The dataplane, which reads the profile alone, obeys the same keys.
    let alone = head("headend.yaml", PROFILE.as_bytes()).expect("a head");
    assert_eq!(alone, profile.head());
}

#[test]
fn errors_name_the_file_and_the_line() {
    let bad = OSAKA.replace("10.2.0.0/16", "10.2.0.1/16");
    let found_there = found(PROFILE, &whole().with("branches/osaka.yaml", &bad));
    assert!(found_there[0].starts_with("/etc/sipsec/branches/osaka.yaml:6:12: "), "{found_there:?}");
    let rendered = read(PROFILE, &whole().with("branches/osaka.yaml", &bad)).findings.render(Style::PLAIN);
    assert!(rendered.contains(" 6 │   routes: [10.2.0.1/16]"), "the line of that file: {rendered}");
    for (name, text, place) in [
        ("branches/osaka.yaml", "tunnels: [\n", "/etc/sipsec/branches/osaka.yaml:2:1: "),
        ("keys.yaml", "ike: !x 1\n", "/etc/sipsec/keys.yaml:1:"),
        (
            "keys.yaml",
            "ike: {}\nike: {}\n",
            "/etc/sipsec/keys.yaml:2:1: `ike` appears twice, first on line 1",
        ),
        (
            "line.yaml",
            "- 1\n",
            "/etc/sipsec/line.yaml:1:1: an included file must be a group of keys, but this is a list",
        ),
        ("line.yaml", "sip: { regitrar: x }\n", "/etc/sipsec/line.yaml:1:8: "),
    ] {
        let found = found(PROFILE, &whole().with(name, text));
        assert!(found.iter().any(|f| f.starts_with(place)), "{text}: {found:?}");
    }
    let latin1 = found(PROFILE, &whole().with("keys.yaml", b"# M\xfcnchen\n"));
    assert_eq!(latin1, ["/etc/sipsec/keys.yaml:1:4: the file is not UTF-8; it looks like ISO-8859-1"]);
    let missing = found(&PROFILE.replace("keys.yaml", "kyes.yaml"), &whole());
    assert_eq!(
        missing,
        ["/etc/sipsec/headend.yaml:3:28: /etc/sipsec/kyes.yaml cannot be read: there is no such file"]
    );
    let number = found(&PROFILE.replace("keys.yaml]", "7]"), &whole());
    assert_eq!(number, ["/etc/sipsec/headend.yaml:3:28: `include` must be a list of files"]);
}

#[test]
fn no_value_stands_in_two_files() {
    let twice = found(PROFILE, &whole().with("branches/osaka.yaml", "defaults: { bandwidth_kbps: 512 }\n"));
    assert_eq!(
        twice,
        ["/etc/sipsec/branches/osaka.yaml:1:13: `defaults.bandwidth_kbps` stands in two files, first in \
          /etc/sipsec/headend.yaml:9"]
    );
    let kinds = found(PROFILE, &whole().with("branches/osaka.yaml", "tunnels: { name: x }\n"));
    assert!(kinds[0].contains("`tunnels` stands in two files"), "{kinds:?}");
}

#[test]
fn what_the_dataplane_obeys_stands_in_the_profile_alone() {
    for own in
        ["version: 1", "gateway: other", "runtime_dir: /run/x", "state_dir: /x", "dataplane: { frames: 512 }"]
    {
        let found = found(PROFILE, &whole().with("keys.yaml", format!("{own}\n")));
        assert!(found[0].starts_with("/etc/sipsec/keys.yaml:1:1: `"), "{found:?}");
        assert!(found[0].ends_with("belongs in the profile itself"), "{found:?}");
    }
}

#[test]
fn circles_depth_and_size_are_bounded() {
    let circle = found(PROFILE, &whole().with("line.yaml", "include: [keys.yaml]\n"));
    assert_eq!(circle, ["/etc/sipsec/line.yaml:1:11: /etc/sipsec/keys.yaml includes itself"]);
    let twice = found(&PROFILE.replace("keys.yaml]", "keys.yaml, line.yaml]"), &whole());
    assert_eq!(twice, ["/etc/sipsec/headend.yaml:3:39: /etc/sipsec/line.yaml is included twice"]);
    let mut files = whole();
    for n in 0..9 {
        files = files.with(&format!("d{n}"), format!("include: [d{}]\n", n + 1));
    }
    let deep = found(&PROFILE.replace("keys.yaml", "d0"), &files);
    assert_eq!(deep, ["/etc/sipsec/d7:1:11: includes are nested deeper than 8"]);
    // Each file is small enough, and all together are not.
    let big = format!("# {}\n", "x".repeat(6 << 20));
    let files =
        whole().with("branches/1.yaml", &big).with("branches/2.yaml", &big).with("branches/3.yaml", &big);
    let large = found(PROFILE, &files);
    assert_eq!(large, ["/etc/sipsec/headend.yaml:3:11: the included files have more than 16777216 bytes"]);
    let mut many = whole();
    for n in 0..16_400 {
        many = many.with(&format!("branches/{n}.yaml"), "");
    }
    let many = found(PROFILE, &many);
    assert_eq!(many, ["/etc/sipsec/headend.yaml:3:11: more than 16384 files are included"]);
}

#[test]
fn an_open_file_with_a_secret_is_named() {
    let mut files = whole();
    files.0.get_mut(Path::new("/etc/sipsec/keys.yaml")).expect("there").1 = 0o644;
    files.0.get_mut(Path::new("/etc/sipsec/line.yaml")).expect("there").1 = 0o644;
    let warned: Vec<_> =
        found(PROFILE, &files).into_iter().filter(|f| f.contains("read by others")).collect();
    assert_eq!(
        warned,
        [
            "/etc/sipsec/keys.yaml:5:25: /etc/sipsec/keys.yaml has 1 secret in it and can be read by others (mode 0644)"
        ]
    );
}
