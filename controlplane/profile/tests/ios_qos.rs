//! Policies of IOS: read, written into a profile, shown in the words of IOS, and read again.

#[macro_use]
#[path = "ios/branch.rs"]
mod branch;

use sipsec_profile::ios::write::{Keys, profile as write};
use sipsec_profile::ios::{Import, Options, Source, import, show};
use sipsec_profile::model::QosPolicy;
use sipsec_profile::{Nothing, examine};

const ROUTER: &str = concat!(
    branch!(
        begin: "\
hostname branch
class-map match-any VOICE
 match dscp ef
 match ip precedence 5
 match access-group name SIGNALLING
class-map match-all BUSINESS
 match ip dscp af31 26
 match access-group 110
class-map match-all UNKNOWN
 match protocol skype
 match dscp af11
policy-map BRANCH
 description what the branch needs
 class VOICE
  priority percent 25
  set dscp tunnel ef
 class BUSINESS
  bandwidth percent 40
  random-detect dscp-based
 class UNKNOWN
  bandwidth percent 5
 class class-default
  fair-queue
  shape average 60000
  police 8000
policy-map PARENT
 class class-default
  shape average 64000
  service-policy BRANCH
ip access-list extended SIGNALLING
 permit udp any any range 5060 5061
 permit tcp host 10.1.0.5 10.2.0.0 0.0.255.255 eq www
access-list 110 permit ip 10.1.0.0 0.0.255.255 any
",
        loopback: "",
        tunnel: " ip unnumbered Loopback1\n",
        kbps: "64",
        policy: " service-policy output PARENT\n",
        wan: "",
        more: "ip route 10.2.0.0 255.255.0.0 Tunnel1\n"
    ),
    "end\n"
);

fn read(text: &str) -> Import {
    let mut options = Options::default();
    options.interfaces.insert("GigabitEthernet8".to_owned(), "wan0".to_owned());
    import(&[Source { name: "router", bytes: text.as_bytes() }], &options)
}

/// The policies of the profile that comes of it, as the reader understands them.
fn policies(import: &Import) -> Vec<QosPolicy> {
    let written = write(&import.conversion, Some("branch"), &Keys::Inline, "");
    let text = written
        .profile
        .replace("<the carrier's registrar as ADDRESS:PORT>", "192.0.2.1:5060")
        .replace("<the carrier's SIP domain>", "example.com");
    let examined = examine("branch.yaml", text.as_bytes(), &Nothing);
    let shown = examined.findings.render(sipsec_profile::Style::PLAIN);
    assert_eq!(examined.findings.errors(), 0, "{shown}\n{text}");
    let profile = examined.profile.expect("read");
    assert_eq!(profile.tunnels[0].qos.as_deref(), Some("PARENT"));
    profile.qos.policies
}

#[test]
fn a_policy_becomes_classes_and_what_has_no_word_is_named() {
    let import = read(ROUTER);
    let policies = policies(&import);
    let [policy] = &policies[..] else { panic!("{policies:?}") };
    let names: Vec<&str> = policy.classes.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["VOICE", "BUSINESS", "class-default"]);
    let text = serde_json::to_value(policy).expect("plain");
    assert_eq!(
        text["classes"][0],
        serde_json::json!({
            "name": "VOICE", "priority": true, "guarantee_percent": 25, "dscp": "46",
            "match": [
                { "dscp": ["ef"], "protocol": "any" },
                { "dscp": ["cs5"], "protocol": "any" },
                { "protocol": "udp", "destination_ports": "5060-5061" },
                {
                    "protocol": "tcp", "source": "10.1.0.5/32", "destination": "10.2.0.0/16",
                    "destination_ports": "80-80"
                },
            ],
        })
    );
    assert_eq!(
        text["classes"][1]["match"],
        serde_json::json!([{ "dscp": ["af31", "af31"], "protocol": "any", "source": "10.1.0.0/16" }])
    );
    assert_eq!(text["classes"][2]["ceiling_kbps"], 60);
    let report: String =
        import.report.findings.iter().map(|f| format!("{} {:?}\n", f.message, f.places)).collect();
    assert!(report.contains("the policy PARENT on Tunnel1 divides the negotiated rate"), "{report}");
    let line =
        |text: &str| u32::try_from(ROUTER.lines().position(|l| l == text).expect("a line") + 1).expect("few");
    let lost = import.report.findings.iter().find(|f| f.message.contains("no word")).expect("named");
    for text in ["  police 8000", " match protocol skype", "  bandwidth percent 5"] {
        let n = line(text);
        assert!(lost.places.iter().any(|p| p.first <= n && n <= p.last), "{text}: {:?}", lost.places);
    }
}

#[test]
fn a_policy_shown_in_the_words_of_ios_is_read_as_the_same() {
    let first = read(ROUTER);
    let shown = show::running_config(&first.conversion);
    for words in
        ["policy-map PARENT", " class VOICE", "  priority percent 25", " service-policy output PARENT"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    // Keys are hidden there.
    let again = read(&shown.replace("<hidden>", branch!(key)));
    let (mut before, mut after) = (policies(&first), policies(&again));
    for class in before.iter_mut().flat_map(|p| &mut p.classes) {
        // In a list each DSCP has a line of its own, and matches of DSCP alone come first.
        for m in &mut class.matches {
            m.dscp.dedup();
        }
    }
    for class in after.iter_mut().flat_map(|p| &mut p.classes) {
        class.matches.dedup();
    }
    assert_eq!(before, after);
}

#[test]
fn an_input_policy_and_an_unknown_one_are_not_applied_in_silence() {
    for (from, to) in [
        ("service-policy output PARENT", "service-policy input PARENT"),
        ("service-policy output PARENT", "service-policy output NOWHERE"),
    ] {
        let import = read(&ROUTER.replace(from, to));
        assert!(import.conversion.qos.is_empty() && import.conversion.tunnels[0].qos.is_none());
        assert!(import.report.findings.iter().any(|f| f.message.contains("is not applied")), "{to}");
    }
}
