//! Hostile texts: each gives an error with a place and a hint, and a bounded excerpt.

use sipsec_profile::{Examined, Nothing, Style, examine};

/// The rendered findings, whose size is bounded for any text.
fn refused(text: &[u8]) -> String {
    let Examined { profile, findings } = examine("x.yaml", text, &Nothing);
    assert!(profile.is_none() && findings.errors() > 0);
    for finding in &findings.list {
        assert!(!finding.hint.is_empty() && finding.line > 0 && finding.column > 0, "{finding:?}");
        assert!(finding.message.len() < 4200 && finding.path.len() < 2000, "{finding:?}");
    }
    let text = findings.render(Style::PLAIN);
    assert!(text.len() < 200_000, "{} bytes", text.len());
    text
}

fn first(text: &[u8]) -> String {
    let Examined { findings, .. } = examine("x.yaml", text, &Nothing);
    findings.list.first().map(|f| format!("{}:{}: {}", f.line, f.column, f.message)).unwrap_or_default()
}

#[test]
fn deep_nesting_is_refused_at_its_bound() {
    for depth in [40, 20_000, 100_000] {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("[{a: ", "}]")] {
            let text = format!("version: 1\nx: {}{}\n", open.repeat(depth), close.repeat(depth));
            assert!(first(text.as_bytes()).contains("nested deeper than 32"), "{}", first(text.as_bytes()));
            refused(text.as_bytes());
            // Without its end, too.
            let text = format!("version: 1\nx: {}", open.repeat(depth));
            assert!(first(text.as_bytes()).contains("nested deeper than 32"));
        }
        let text = format!("x:\n{}\n", "- ".repeat(depth));
        assert!(first(text.as_bytes()).contains("nested deeper than 32"));
    }
    let deep: String = (0..2000).map(|i| format!("{}k:\n", " ".repeat(i))).collect();
    assert!(first(deep.as_bytes()).contains("nested deeper than 32"));
}

#[test]
fn long_keys_values_and_lines_are_refused_or_cut() {
    let long = "k".repeat(1_000_000);
    for text in [
        format!("{long}: 1\n"),
        format!("version: {long}\n"),
        format!("version: 1\ngateway: \"{long}\"\n"),
        format!("version: 1\ngateway: |\n  {long}\n"),
        format!("? {long}\n: 1\n"),
        format!("version: 1\nsip: {{ port: 70000, {long}: 1 }}\n"),
        format!("version: 1\n\"{long}\": 1\n"),
        long.clone(),
        format!("- {long}"),
    ] {
        let shown = refused(text.as_bytes());
        assert!(!shown.contains(&long[..200]), "{}", &shown[..1000]);
    }
    // Just below the bound of a value: it is read, and its message is short.
    let shown = refused(format!("version: 1\ngateway: {}\n", "g".repeat(8000)).as_bytes());
    assert!(!shown.contains(&"g".repeat(300)), "{shown}");
    // A line may be as long as it likes if its values are not.
    let line = format!("version: 1\nsip: {{ {} port: 70000 }}\n", " ".repeat(1_000_000));
    let shown = refused(line.as_bytes());
    assert!(shown.contains("`sip.port` is 70000") && shown.contains("x.yaml:2:1000015"), "{shown}");
    let comment = format!("version: 1\n# {long}\ngateway: 5\n");
    refused(comment.as_bytes());
}

#[test]
fn aliases_that_multiply_are_refused() {
    let list = |n: usize, item: &str| vec![item; n].join(", ");
    let text = format!("x: &x [{}]\ny: [{}]\n", list(20_000, "a"), list(20_000, "*x"));
    assert!(first(text.as_bytes()).contains("aliases"), "{}", first(text.as_bytes()));
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..14 {
        text += &format!("a{i}: &a{i} [{}]\n", list(9, &format!("*a{}", i - 1)));
    }
    assert!(first(text.as_bytes()).contains("aliases"));
    let bytes = format!("x: &x \"{}\"\ny: [{}]\n", "b".repeat(8000), list(100_000, "*x"));
    assert!(first(bytes.as_bytes()).contains("aliases"));
    assert!(first(b"x: &x [*x]\n").contains("alias"), "{}", first(b"x: &x [*x]\n"));
    assert!(first(b"x: *nowhere\n").contains("anchor"));
    // A few are what they are for.
    let used = "version: &v 1\nx: *v\n";
    assert!(!refused(used.as_bytes()).contains("aliases"));
}

#[test]
fn other_encodings_and_control_characters_are_named() {
    let utf16: Vec<u8> = "version: 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(first(&utf16).contains("UTF-16LE"));
    assert!(first(b"version: 1\n# \x93\x8c\x8b\x9e\n").contains("SHIFT_JIS"));
    assert!(
        first(b"version: 1\ngateway: caf\xe9 1\n").starts_with("2:13: ")
            && first(b"a: \xe9 1").contains("ISO-8859-1")
    );
    assert!(first(b"version: 1\ngateway: a\0b\n").starts_with("2:11: the profile has a NUL byte"));
    assert!(
        first(b"version: 1\ngateway: \"a\x1bb\"\n").contains("unprintable")
            || !first(b"version: 1\ngateway: \"a\x1bb\"\n").contains('\x1b')
    );
    let tab = first(b"version: 1\nsip:\n\tport: 1\n");
    assert!(tab.starts_with("3:") && tab.contains("tab"), "{tab}");
    let marked = "\u{feff}version: 1\n".as_bytes();
    assert!(first(marked).contains("`gateway` is missing"), "{}", first(marked));
}

/// The two readers of YAML differ in them: a comment for the one that knows the bounds would be keys for the other.
#[test]
fn no_character_hides_keys_from_the_bounds() {
    let good = include_str!("../../../deploy/profiles/lab-branch.yaml");
    for end in ["\u{85}", "\u{2028}", "\u{2029}"] {
        let twice = good.replace("port: 5060", "port: 5060\n  port: 5061").replace('\n', end);
        let said = first(format!("# x{end}{twice}").as_bytes());
        assert!(said.starts_with("1:4: ") && said.contains("ends a line"), "{said}");
        let within = good.replace("version: 1\n", &format!("version: 1 # x{end}  y: 1\n"));
        assert!(first(within.as_bytes()).contains("ends a line"), "{}", first(within.as_bytes()));
    }
    // Carriage returns alone are ends of lines for both.
    let mac = good.replace("port: 5060", "port: 5060\n  port: 5061").replace('\n', "\r");
    assert!(first(mac.as_bytes()).contains("`port` appears twice"), "{}", first(mac.as_bytes()));
    let wrong = good.replace("port: 5060", "port: 70000").replace('\n', "\r");
    let shown = refused(wrong.as_bytes());
    assert!(shown.contains("`sip.port` is 70000") && shown.contains("port: 70000\n"), "{shown}");
}

/// A value that was forgotten is not a default that was meant.
#[test]
fn keys_without_a_value_are_told() {
    let good = include_str!("../../../deploy/profiles/lab-branch.yaml");
    let blank = good.replace("port: 5060", "port:") + "qos:\nroutes: ~\n";
    let Examined { profile, findings } = examine("x.yaml", blank.as_bytes(), &Nothing);
    assert_eq!(profile.expect("a profile").sip.port, 5060);
    let told: Vec<_> = findings.list.iter().filter(|f| f.code == "config::blank").collect();
    let messages: Vec<&str> = told.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`sip.port` has no value: its default counts, 5060",
            "`qos` has no value: it counts as left out",
            "`routes` has no value: it counts as left out",
        ]
    );
    assert!(told.iter().all(|f| f.line > 1 && f.hint.contains("remove the line")));
    // What must be there is an error, and the dataplane starts all the same.
    assert!(refused(good.replace("interface: wan0", "interface:").as_bytes()).contains("is missing"));
    assert!(sipsec_profile::head("x.yaml", format!("{good}  tunnels_max:\n").as_bytes()).is_ok());
}

/// A few lines that stand for more than a machine has memory for.
#[test]
fn templates_and_defaults_that_multiply_are_refused() {
    let good = include_str!("../../../deploy/profiles/lab-branch.yaml");
    let template = |routes: &str| {
        let entry = format!(
            "tunnels:\n  - {{ for: {{ n: 1-16384 }}, name: \"B{{n}}\", local_number: \"0388881001\", \
             remote_number: \"04{{n:08}}\", bandwidth_kbps: 64, routes: [{routes}] }}\n"
        );
        good.replace("tunnels:\n", &entry)
    };
    let many = vec!["\"10.{n/256}.{n%256}.0/24\""; 50_000].join(", ");
    let said = |text: &str| {
        let said = refused(text.as_bytes());
        assert!(said.contains("make more than a profile can have") && said.lines().count() < 60, "{said}");
    };
    said(&template(&many));
    said(&template(&vec!["10.0.0.0/8"; 100_000].join(", ")));
    // `defaults` are copied into each entry.
    let entries = "  - {}\n".repeat(100_000);
    let defaults =
        format!("defaults: {{ routes: [{}] }}\ntunnels:\n{entries}", vec!["10.0.0.0/8"; 100_000].join(", "));
    said(&good.replace("tunnels:\n", &defaults));
    // Long texts of few templates.
    let long = format!("\"{{n}}{}\"", "x".repeat(8000));
    said(&template(&long));
}

#[test]
fn a_key_that_appears_twice_is_named_with_both_lines() {
    assert_eq!(first(b"a: 1\nb:\n  c: 2\n  d: 3\n  c: 4\n"), "5:3: `c` appears twice, first on line 3");
    assert_eq!(first(b"a: {\n  c: 1, c: 2}\n"), "2:9: `c` appears twice, first on line 2");
}

#[test]
fn what_is_no_profile_is_refused() {
    for text in [
        "",
        "- a\n- b\n",
        "just text",
        "1",
        "a: 1\n---\nb: 2\n",
        "[a, b]: 1\n",
        "{a: 1}: 2\n",
        "a: !tag b\n",
        "%TAG ! x\n",
        "*a : 1\n",
    ] {
        refused(text.as_bytes());
    }
    let unknown = (0..120).map(|i| format!("k{i}: 1")).collect::<Vec<_>>().join(", ");
    let many: String = ["sip", "ike", "media", "dataplane", "qos"]
        .map(|group| format!("{group}: {{ {unknown} }}\n"))
        .concat();
    let shown = refused(many.as_bytes());
    assert!(shown.contains("more\n") && shown.lines().count() < 2000, "{}", shown.lines().count());
    let too_many: String = (0..300_000).map(|i| format!("k{i}: [x, y]\n")).collect();
    assert!(first(too_many.as_bytes()).starts_with("129:1: a group has more than 128 keys"));
    let lists = format!("version: 1\ntunnels: [{}]\n", vec!["x"; 100_000].join(", "));
    refused(lists.as_bytes());
}

/// How far a text is read before it is refused, by the line of the error: its length does not matter. 16 MB are as cheap as
/// what fits the bound.
#[test]
fn a_large_text_is_read_no_further_than_its_bound() {
    let keys: String = (0..1_100_000).map(|i| format!("k{i}: 1\n")).collect();
    assert!(first(keys.as_bytes()).starts_with("129:1: a group has more than 128 keys"));
    let entries = "x:\n".to_owned() + &"- 1\n".repeat(4_000_000);
    assert!(first(entries.as_bytes()).starts_with("131074:3: a list has more than 131072 entries"));
    // 21 nodes in each line, the list itself and its key before them.
    let row = format!("- [{}]\n", vec!["1"; 20].join(","));
    let rows = "x:\n".to_owned() + &row.repeat(380_000);
    let line = (600_000 - 3) / 21 + 2;
    let said = first(rows.as_bytes());
    assert!(
        said.starts_with(&format!("{line}:")) && said.contains("more than 600000 keys and values"),
        "{said}"
    );
    for text in [keys, entries, rows] {
        refused(text.as_bytes());
    }
}

/// No group of the schema comes near the bound.
#[test]
fn every_group_of_a_profile_has_room() {
    let mut groups: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for (path, _) in sipsec_profile::schema::all() {
        let group = path.rsplit_once('.').map_or("", |(group, _)| group);
        *groups.entry(group.to_owned()).or_default() += 1;
    }
    assert!(groups.len() > 20 && groups.values().all(|keys| *keys <= 64), "{groups:?}");
}

#[test]
fn an_ios_configuration_is_recognised() {
    let text = "Building configuration...\n\nhostname branch\n!\ncrypto ikev2 keyring k\n peer p\n  pre-shared-key hunter2\n!\ninterface Tunnel1\n ip address 10.0.0.1 255.255.255.0\n";
    let shown = refused(text.as_bytes());
    assert!(shown.contains("sipsec import ios FILE") && !shown.contains("hunter2"), "{shown}");
}

/// A flow group may end at the margin: every other YAML reader takes that.
#[test]
fn brackets_may_close_at_the_margin() {
    for text in ["version: 1\nmedia: {\n  ports: 1-2\n}\n", "version: 1\ntunnels: [\n  a,\n]\ngateway: g\n"] {
        let shown = refused(text.as_bytes());
        assert!(!shown.contains("config::syntax"), "{shown}");
    }
}

#[test]
fn a_mistake_among_secrets_shows_no_secret() {
    let around = |sip: &str, keyring: &str| {
        format!(
            "version: 1\ngateway: g\nsip:\n  interface: wan0\n  registrar: 198.51.100.1\n  domain: c.example\n  lines:\n{sip}\n\
             ike:\n  keyring:\n{keyring}\ntunnels: []\ndataplane: {{ outside: {{ device: wan0 }}, inside: {{ mode: host, device: s0 }} }}\n"
        )
    };
    let line = "    - number: \"1234\"";
    let key = "    - { number: any, psk: x }";
    for (sip, keyring) in [
        (line, "    - { number: hunter2, psk: hunter2 }"),
        (line, "    - { number: hunter2 }"),
        (line, "    - { number: any, hunter2 }"),
        (line, "    - { number: any, hunter2: hunter2 }"),
        (line, "    - { number: any, pks: hunter2 }"),
        (line, "    - hunter2"),
        (line, "    hunter2"),
        (line, "    - number: any\n      psk hunter2"),
        (line, "    - { number: any, psk: [hunter2] }"),
        (line, "    - { number: any, psk: { hunter2: 1 } }"),
        (line, "    - { number: any, psk_file: hunter2 }"),
        (line, "    - { number: any, psk_env: hunter2 }"),
        (line, "    - { number: any, psk: a, ppk_id: 'two words', ppk: hunter2 }"),
        (line, "    - { number: any, psk: \"0xhunter2\" }"),
        ("    - hunter2", key),
        ("    - { number: hunter2 }", key),
        ("    - { number: \"1\", auth: hunter2 }", key),
        ("    - { number: \"1\", auth: [hunter2] }", key),
        ("    - { number: \"1\", auth: { username: u, pasword: hunter2 } }", key),
        ("    - { number: \"1\", auth: { hunter2 } }", key),
    ] {
        let text = around(sip, keyring);
        let found = examine("x.yaml", text.as_bytes(), &Nothing).findings;
        let all = format!("{} {:?}", found.render(Style::PLAIN), found);
        assert!(!all.contains("hunter2"), "{text}\n{}", found.render(Style::PLAIN));
    }
}
