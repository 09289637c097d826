//! `--json` of every command that asks a gateway, whose loop is this test.

use serde_json::Value;
use sipsec_controlplane::api::model::{self, SCHEMA};
use sipsec_controlplane::api::{self, Query, Reply, Request};
use sipsec_controlplane::logging::LogControl;
use sipsec_controlplane::net::primary::{Primary, Rules};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use tokio::sync::{broadcast, mpsc};

fn line(number: &str, registered: bool) -> model::Registration {
    model::Registration {
        number: number.into(),
        registered,
        contact: None,
        domain: "carrier.example".into(),
        expires_s: None,
        transport: "UDP".into(),
        server: "198.51.100.1:5060".parse().ok(),
        call_id: "x".into(),
        carrier: "default".into(),
        failed_over: 0,
        reason: (!registered).then(|| "no answer".into()),
    }
}

fn session(interface: &str) -> model::Session {
    serde_json::from_value(serde_json::json!({
        "interface": interface, "status": "READY_TO_CONNECT", "remote_number": "0388882001",
        "local_number": "0388881001", "local_port": 0, "crypto_handle": 0, "sip_handle": 0,
        "bandwidth_configured_kbps": 64, "bandwidth_negotiated_kbps": 0, "phases": [],
    }))
    .expect("a session")
}

fn control() -> model::Control {
    model::Control {
        version: "1".into(),
        uptime_s: 1,
        wan: Ok("192.0.2.1".parse().expect("address")).into(),
        sip: Err("wan0 has no IPv4 address".to_owned()).into(),
        dataplane: Ok("sipsec-dataplane 1".to_owned()).into(),
        kernel: Ok("followed".to_owned()).into(),
        journal: Ok("written".to_owned()).into(),
        routes: BTreeMap::new(),
        log_filter: "info".into(),
        unconfirmed: Vec::new(),
        counters: BTreeMap::new(),
    }
}

async fn answer(mut requests: mpsc::Receiver<Request>) {
    while let Some(request) = requests.recv().await {
        let reply = match request.query {
            Query::Sessions(_, page) if page.from == 0 => {
                Reply::Sessions(vec![session("Tunnel1")], page.next(api::Page::TUNNELS + 1))
            }
            Query::Sessions(..) => Reply::Sessions(vec![session("Tunnel2")], None),
            Query::Registrations { registered } => {
                let lines = [line("0388881001", true), line("0388881002", false)];
                Reply::Registrations(lines.into_iter().filter(|l| l.registered || !registered).collect())
            }
            Query::Dhcp => Reply::Dhcp(Box::new(model::DhcpView {
                interface: "wan0".into(),
                ..model::DhcpView::default()
            })),
            Query::CryptoSessions(_) => Reply::CryptoSessions(Vec::new(), None),
            Query::NatTranslations => Reply::NatTranslations(vec![model::Translation {
                kind: model::TranslationKind::Network,
                ..model::Translation::default()
            }]),
            // The table goes on where the answer says, and only forwards.
            Query::NatPage(from) => {
                let statistics = model::NatStatistics { hits: 7, ..model::NatStatistics::default() };
                let next = [Some(300), Some(600), Some(300)][from as usize / 300];
                Reply::NatPage(vec![model::Translation::default(); 2], next, statistics)
            }
            Query::NatClear(_) => Reply::Done,
            Query::PolicyMaps(..) => Reply::PolicyMaps(vec![model::PolicyMap::default()], None),
            Query::Dataplane => Reply::Dataplane(Box::default()),
            Query::Control => Reply::Control(Box::new(control())),
            Query::Sla => Reply::Sla(vec![api::policy::SlaOperation::default()]),
            Query::Track => Reply::Track(vec![api::policy::TrackObject::default()]),
            Query::Routes => Reply::Routes(vec![api::policy::PrefixRoutes::default()]),
            Query::Summary => Reply::Summary(model::Summary { tunnels: 2, ..model::Summary::default() }),
            Query::PastEvents(_) => Reply::PastEvents(Vec::new()),
            Query::History { .. } => Reply::History(vec![std::sync::Arc::default()]),
            Query::Call(call_id) => {
                Reply::Call(model::CallMessages { call_id, ..model::CallMessages::default() })
            }
            Query::Dial(name) if name == "Tunnel1" => Reply::Dialled,
            Query::Dial(_) => Reply::NotNow("the line is not registered"),
            Query::Clear(_) => Reply::Cleared(model::Cleared { sessions: 2, ..model::Cleared::default() }),
        };
        let _ = request.reply.send(reply);
    }
}

/// What stands in the envelope.
fn ask(socket: &Path, words: &str) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sipsec"));
    let output =
        command.arg("--json").arg("--socket").arg(socket).args(words.split(' ')).output().expect(words);
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "{words}: {text}");
    let mut answer: Value = serde_json::from_str(&text).expect(words);
    assert_eq!(
        (&answer["schema"], &answer["gateway"]),
        (&SCHEMA.into(), &"branch".into()),
        "{words}: {text}"
    );
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(3), "{words}: {text}");
    answer["data"].take()
}

#[tokio::test]
async fn every_command_answers_in_one_envelope() {
    let dir = std::env::temp_dir().join(format!("sipsec-json-{}", std::process::id()));
    let socket = dir.join("control.sock");
    let listener = api::listen(&socket).await.expect("listens");
    let (requests, receiver) = mpsc::channel(8);
    let (events, _) = broadcast::channel(8);
    tokio::spawn(answer(receiver));
    let (changes, _) = mpsc::channel(1);
    let history = sipsec_controlplane::change::history::History::read(std::path::Path::new("/nowhere"));
    let changer = sipsec_controlplane::change::Changer::new(changes, history);
    tokio::spawn(async move {
        let primary = Primary::start(Rules::default()).view();
        api::serve(listener, "branch", requests, changer, events, LogControl::none(), primary).await;
    });
    let asked = tokio::task::spawn_blocking(move || {
        let list = |words: &str| ask(&socket, words).as_array().map(Vec::len).expect(words);
        // The loop answers in pages, the command with all of them.
        assert_eq!(list("show vpn-sip session detail"), 2);
        assert_eq!(list("show crypto session detail"), 0);
        assert_eq!(list("show ip nat translations verbose"), 1 + 3 * 2);
        let statistics = ask(&socket, "show ip nat statistics");
        assert_eq!((&statistics["hits"], &statistics["statics"]), (&7.into(), &1.into()));
        assert_eq!(ask(&socket, "clear ip nat translation *"), Value::Null);
        assert_eq!(ask(&socket, "clear ip nat translation inside 10.1.0.9"), Value::Null);
        assert_eq!(list("show policy-map interface Tunnel1"), 1);
        assert_eq!(list("show vpn-sip registration-status"), 2);
        assert_eq!(list("show vpn-sip sip registrar"), 1);
        assert_eq!(ask(&socket, "show vpn-sip sip dhcp")["interface"], "wan0");
        assert_eq!(ask(&socket, "show dataplane")["connected"], false);
        let control = ask(&socket, "show control");
        assert_eq!(
            (&control["wan"]["value"], &control["wan"]["reason"]),
            (&"192.0.2.1".into(), &Value::Null)
        );
        let (value, reason) = (&control["sip"]["value"], &control["sip"]["reason"]);
        assert_eq!((value, reason), (&Value::Null, &"wan0 has no IPv4 address".into()));
        assert_eq!(ask(&socket, "clear vpn-sip session")["sessions"], 2);
        let client = api::client::Client::new(&socket);
        let dial = |interface: &str| {
            client.send_text("POST", "/v1/call", &model::Dial { interface: interface.into() })
        };
        assert!(dial("Tunnel1").is_ok());
        let refused = dial("Tunnel2").expect_err("it cannot be placed").to_string();
        assert!(refused.contains("not registered"), "{refused}");
        assert_eq!(ask(&socket, "log debug")["filter"], "debug");
        assert_eq!(ask(&socket, "log sipsec::sip=debug --for 10m")["for_s"], 600);
        assert_eq!(ask(&socket, "log")["filter"], "info,sipsec::sip=debug");
        assert_eq!(ask(&socket, "show vpn-sip summary")["tunnels"], 2);
        assert_eq!(list("show vpn-sip history --since 24h"), 1);
        assert_eq!(list("show vpn-sip session failed"), 0);
        assert_eq!(ask(&socket, "show vpn-sip call a+b@host ladder")["call_id"], "a+b@host");
    });
    asked.await.expect("no panic");
    std::fs::remove_dir_all(dir).expect("removed");
}
