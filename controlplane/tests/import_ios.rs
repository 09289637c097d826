//! `sipsec import ios` as an operator runs it: exit statuses, the files it writes, and what `sipsec check` says of them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const KEY: &str = "Wq7-tLz29_fXe4Hb0sRk";

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("profile/tests/ios/cases").join(name)
}

fn sipsec(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sipsec")).args(args).output().expect("sipsec runs")
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sipsec-import-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn import(name: &str, more: &[&str]) -> Output {
    import_file(&case(name).display().to_string(), more)
}

fn import_file(path: &str, more: &[&str]) -> Output {
    sipsec(&[&["import", "ios", path, "--ifmap", "Gi8=wan0"], more].concat())
}

#[test]
fn the_exit_status_tells_the_outcome() {
    for (name, status) in
        [("13-shift-jis.txt", 0), ("07-routes.txt", 1), ("01-branch-psk.txt", 3), ("14-yamaha-rtx.txt", 4)]
    {
        assert_eq!(import(name, &[]).status.code(), Some(status), "{name}");
    }
    assert_eq!(sipsec(&["import", "ios", "/nonexistent"]).status.code(), Some(2));
    assert_eq!(sipsec(&["import", "ios", "/dev/zero"]).status.code(), Some(2));
    assert_eq!(import("01-branch-psk.txt", &["--ifmap", "x=y"]).status.code(), Some(2));
}

#[test]
fn the_profile_is_refused_until_it_is_filled_in() {
    let directory = Directory::new("fill");
    let (profile, page) = (directory.file("branch.yaml"), directory.file("page.html"));
    let router = directory.file("router.txt");
    let text = std::fs::read_to_string(case("01-branch-psk.txt")).expect("the case");
    // A router that does not learn the registrar by DHCP.
    let lines = text.lines().filter(|l| !l.contains("ip dhcp client request"));
    std::fs::write(&router, lines.collect::<Vec<_>>().join("\n")).expect("written");
    let done = import_file(&router, &["-o", &profile, "--html", &page]);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let shown = [done.stdout, done.stderr, std::fs::read(&page).expect("the page")].concat();
    assert!(!String::from_utf8_lossy(&shown).contains(KEY));
    let key = directory.file("br-kita-01-psk-0388882001");
    assert_eq!(std::fs::read_to_string(&key).expect("the key"), format!("{KEY}\n"));
    for file in [&profile, &key] {
        let mode = std::fs::metadata(file).expect("written").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    let text = std::fs::read_to_string(&profile).expect("the profile");
    assert!(!text.contains(KEY));

    let check = sipsec(&["check", &profile]);
    assert_eq!(check.status.code(), Some(1));
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    for words in [
        "`sip.registrar` is \"<the carrier's registrar as ADDRESS:PORT>\"",
        "`sip.domain` is \"<the carrier's",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let filled = text
        .replace("<the carrier's registrar as ADDRESS:PORT>", "198.51.100.1:5060")
        .replace("<the carrier's SIP domain>", "carrier.example");
    std::fs::write(&profile, filled).expect("written");
    let check = sipsec(&["check", &profile]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));

    // The router itself learns it, and so does the gateway.
    let learnt = directory.file("learnt.yaml");
    assert_eq!(import("01-branch-psk.txt", &["-o", &learnt, "--force"]).status.code(), Some(3));
    let text = std::fs::read_to_string(&learnt).expect("the profile");
    assert!(text.contains("registrar: dhcp") && text.contains("wan:\n  ipv4: dhcp\n"), "{text}");
    let check = sipsec(&["check", &learnt]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));

    let shown = sipsec(&["--profile", &profile, "sh", "run", "int", "tunnel", "1"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(shown.status.code(), Some(0), "{}", String::from_utf8_lossy(&shown.stderr));
    assert!(
        text.contains(" vpn-sip local-number 0388881001 remote-number 0388882001 bandwidth 1000"),
        "{text}"
    );
    let whole = sipsec(&["--profile", &profile, "show", "running-config"]).stdout;
    let whole = String::from_utf8_lossy(&whole).into_owned();
    assert!(whole.contains("ip route 10.2.0.0 255.255.0.0 Tunnel1 254") && !whole.contains(KEY), "{whole}");

    // Nothing is replaced unasked.
    assert_eq!(import("01-branch-psk.txt", &["-o", &profile]).status.code(), Some(2));
    let inline = import("01-branch-psk.txt", &["-o", &profile, "--inline-secrets", "--force"]);
    assert_eq!(inline.status.code(), Some(3));
    assert!(std::fs::read_to_string(&profile).expect("the profile").contains(KEY));
}

#[test]
fn pieces_become_one_profile() {
    let pieces = [
        "chapter-03-keyring.txt",
        "chapter-05-profile-psk.txt",
        "chapter-06-ipsec-profile.txt",
        "chapter-10-tunnel.txt",
        "chapter-13-enable.txt",
    ];
    let paths: Vec<String> = pieces.iter().map(|p| case(p).display().to_string()).collect();
    let mut args = vec!["import", "ios", "--ifmap", "Gi8=wan0", "--json"];
    args.extend(paths.iter().map(String::as_str));
    let done = sipsec(&args);
    assert_eq!(done.status.code(), Some(3), "{}", String::from_utf8_lossy(&done.stdout));
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(answer["data"]["outcome"], "warnings");
    assert_eq!(answer["data"]["files"].as_array().map(Vec::len), Some(pieces.len()));
}

#[test]
fn a_piece_alone_is_no_profile_unless_asked_for() {
    let directory = Directory::new("piece");
    let profile = directory.file("piece.yaml");
    assert_eq!(import("chapter-03-keyring.txt", &["-o", &profile]).status.code(), Some(1));
    assert!(!Path::new(&profile).exists());
    assert_eq!(import("chapter-03-keyring.txt", &["-o", &profile, "--fragment"]).status.code(), Some(3));
    assert!(Path::new(&profile).exists());
}

/// A value for everything that the import asks for.
fn filled(profile: &str) -> String {
    let text = std::fs::read_to_string(profile).expect("written");
    let stands_for = |asked: &str| match asked {
        a if a.starts_with("the carrier's registrar") => "198.51.100.1:5060",
        a if a.starts_with("the carrier's SIP domain") => "carrier.example",
        a if a.starts_with("the device of") || a.starts_with("the device that") => "wan0",
        a if a.starts_with("the number of the line") => "0300000000",
        _ => "gateway",
    };
    let (mut out, mut rest) = (String::new(), text.as_str());
    while let Some((before, from)) = rest.split_once('<') {
        let (asked, after) = from.split_once('>').expect("a whole question");
        out += before.strip_suffix('\'').unwrap_or(before);
        out += &format!("'{}'", stands_for(asked));
        rest = after.strip_prefix('\'').unwrap_or(after);
    }
    out + rest
}

/// A router's configuration becomes a profile, `show running-config` prints it, and what it prints becomes the same profile. This
/// machine has none of the keys and certificates.
#[test]
fn what_is_shown_of_an_import_is_imported_as_the_same() {
    let directory = Directory::new("round");
    let (profile, shown) = (directory.file("a.yaml"), directory.file("show.txt"));
    let written = ["--fragment", "--inline-secrets", "--force", "-o", profile.as_str()];
    let show = |more: &[&str]| {
        let out = sipsec(&[&["--profile", profile.as_str(), "show", "running-config"], more].concat());
        let text = String::from_utf8(out.stdout).expect("UTF-8");
        assert_eq!(out.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&out.stderr));
        text
    };
    let mut count = 0;
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(case("")).expect("the cases").map(|e| e.expect("one").path()).collect();
    names.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    names.sort();
    for path in names {
        let name = path.display().to_string();
        let _ = std::fs::remove_file(&profile);
        import_file(&name, &written);
        if !Path::new(&profile).exists() {
            continue; // nothing of vpn-sip is in it
        }
        std::fs::write(&profile, filled(&profile)).expect("written");
        let (first, yaml) = (show(&[]), show(&["--yaml"]));
        std::fs::write(&shown, first.replace("<hidden>", KEY)).expect("written");
        // `! wan0 is shown as GigabitEthernet0`
        let devices: Vec<String> = first
            .lines()
            .filter_map(|line| line.strip_prefix("! ")?.split_once(" is shown as "))
            .map(|(device, interface)| format!("{interface}={device}"))
            .collect();
        let devices = devices.join(",");
        sipsec(&[&["import", "ios", shown.as_str(), "--ifmap", devices.as_str()], &written[..]].concat());
        std::fs::write(&profile, filled(&profile)).expect("written");
        assert_eq!(show(&["--yaml"]), yaml, "{name}:\n{first}");
        assert_eq!(show(&[]), first, "{name}");
        count += 1;
    }
    assert!(count >= 34, "{count}");
}

/// What the words of IOS leave out is named, and what they carry is not.
#[test]
fn what_ios_has_no_words_for_is_named() {
    let directory = Directory::new("left-out");
    let (profile, learnt) = (directory.file("a.yaml"), directory.file("b.yaml"));
    assert_eq!(import("01-branch-psk.txt", &["-o", &learnt]).status.code(), Some(3));
    let show = |path: &str, more: &[&str]| {
        let out = sipsec(&[&["--profile", path, "show", "running-config"], more].concat());
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("UTF-8")
    };
    assert!(!show(&learnt, &[]).contains("IOS has no words"), "{}", show(&learnt, &[]));
    // Two groups for one tunnel, whose IPsec profile names one; a port; and a key's second.
    let text = std::fs::read_to_string(&learnt).expect("the profile");
    let more = text
        .replace("esp_proposals:\n", "esp_proposals:\n  - aes256gcm16-ecp384-ecp256\n")
        .replace("  domain: dhcp\n", "  domain: dhcp\n  port: 5070\n");
    let more = if more.contains("ecp384-ecp256") {
        more
    } else {
        more.replace("ike:\n", "ike:\n  esp_proposals: [aes256gcm16-ecp384-ecp256]\n")
    };
    std::fs::write(&profile, more).expect("written");
    let shown = show(&profile, &[]);
    let named = "! IOS has no words for sip.port, ike.esp_proposals; --yaml shows them\n";
    assert!(shown.contains(named), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&show(&profile, &["--json"])).expect("JSON");
    assert_eq!(json["data"]["left_out"], serde_json::json!(["sip.port", "ike.esp_proposals"]));
    let one = show(&profile, &["interface", "Tunnel1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&one).expect("JSON");
    assert!(json["data"]["left_out"].is_null(), "{json}");
}
