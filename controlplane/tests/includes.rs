//! A profile in several files, as an operator works with it: `check`, `show running-config`, and programs that write secrets.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sipsec-include-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("branches")).expect("made");
        Self(path.canonicalize().expect("there"))
    }

    fn write(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        path.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sipsec(from: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sipsec")).current_dir(from).args(args).output().expect("sipsec runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const PROFILE: &str = "version: 1\ngateway: headend\ninclude: [branches/*.yaml, keys.yaml]\nsip:\n  interface: lo\n  \
    registrar: 198.51.100.1\n  domain: c.example\n  lines: [{ number: \"0388882001\" }]\n\
    media: { tunnel_source: 10.255.0.1 }\n\
    defaults: { bandwidth_kbps: 64, local_number: \"0388882001\" }\ntunnels: []\n\
    dataplane:\n  outside: { device: lo }\n  inside: { mode: host, device: svti0 }\n";

fn branch(n: u32, route: &str) -> String {
    format!("tunnels:\n- name: Tunnel{n}\n  remote_number: \"037770000{n}\"\n  routes: [{route}]\n")
}

fn keys(flag: &Path) -> String {
    format!(
        "ike:\n  keyring:\n  - {{ number: \"0377700001\", psk: \"0x9d1f0a93b7c4e58261b7f9c03e6a2d849d1f0a93b7c4e582\" }}\n  \
         - {{ number: any, psk_command: [/usr/bin/touch, {}, hunter2] }}\n",
        flag.display()
    )
}

#[test]
fn files_are_checked_and_shown_as_one_profile() {
    let dir = Directory::new("whole");
    let profile = dir.write("headend.yaml", PROFILE);
    dir.write("branches/1.yaml", &branch(1, "10.1.0.0/16"));
    dir.write("branches/2.yaml", &branch(2, "10.2.0.0/16"));
    let flag = dir.0.join("flag");
    dir.write("keys.yaml", &keys(&flag));
    // From another directory, and by a relative path: includes are relative to the file that names them.
    for (from, path) in [(Path::new("/"), profile.as_str()), (&dir.0, "headend.yaml")] {
        let checked = sipsec(from, &["check", path]);
        assert!(checked.status.success(), "{}", text(&checked));
    }
    assert!(!flag.exists(), "`check` runs no program of a profile");
    let shown = text(&sipsec(&dir.0, &["--profile", "headend.yaml", "show", "running-config", "--yaml"]));
    assert!(shown.contains("Tunnel1") && shown.contains("Tunnel2") && !shown.contains("include"), "{shown}");
    assert!(
        !shown.contains("9d1f0a93") && !shown.contains("hunter2") && shown.contains("/usr/bin/touch"),
        "{shown}"
    );
    let one = text(&sipsec(
        &dir.0,
        &["--profile", "headend.yaml", "show", "running-config", "--yaml", "interface", "Tunnel2"],
    ));
    assert!(one.starts_with("tunnels:\n- name: Tunnel2\n") && !one.contains("Tunnel1"), "{one}");
    let one = text(&sipsec(&dir.0, &["--profile", "headend.yaml", "sh", "run", "int", "tu2"]));
    assert!(one.starts_with("interface Tunnel2\n") && one.contains("remote-number 0377700002"), "{one}");
    assert!(!flag.exists(), "nor does `show`");
}

#[test]
fn a_mistake_is_shown_in_its_file() {
    let dir = Directory::new("mistake");
    let profile = dir.write("headend.yaml", PROFILE);
    dir.write("branches/1.yaml", &branch(1, "10.1.0.1/16"));
    dir.write("keys.yaml", &keys(&dir.0.join("flag")));
    let checked = sipsec(Path::new("/"), &["check", &profile]);
    let place = format!("{}:4:12", dir.0.join("branches/1.yaml").display());
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked).contains(&place), "{}", text(&checked));
    let json = text(&sipsec(Path::new("/"), &["check", &profile, "--json"]));
    assert!(json.contains("branches/1.yaml\"") && json.contains("\"line\":4"), "{json}");
    // No file of the name: a gateway does not start without the tunnels that it should have.
    std::fs::remove_file(dir.0.join("branches/1.yaml")).expect("removed");
    let none = sipsec(Path::new("/"), &["check", &profile]);
    assert!(text(&none).contains("no file has such a name"), "{}", text(&none));
}
