//! Client and server together, with this test as the loop.

use super::*;
use crate::api::client::{Client, ClientError};
use crate::api::model;
use crate::api::model::{Cleared, Session};
use crate::net::primary::{Primary, Rules};

/// A loop that knows one tunnel.
async fn answer(mut requests: mpsc::Receiver<Request>) {
    while let Some(request) = requests.recv().await {
        let reply = match request.query {
            Query::Clear(Target::All) => Reply::Cleared(Cleared { sessions: 3, ..Cleared::default() }),
            Query::Clear(target) => Reply::NoSuch(target),
            Query::Registrations { .. } => Reply::Registrations(Vec::new()),
            _ => continue, // and drop the reply: a loop that ends
        };
        let _ = request.reply.send(reply);
    }
}

/// A request that says something unknown, or nothing, does nothing.
fn nothing_is_guessed(client: &Client) {
    let refused = |method: &str, path: &str, body: serde_json::Value| {
        let answer = client.send_text(method, path, &body);
        assert!(
            matches!(&answer, Err(ClientError::Refused(e)) if !e.contains("status")),
            "{body}: {answer:?}"
        );
    };
    for body in [
        serde_json::json!({}),
        serde_json::json!({ "remote-number": "0388889999" }),
        serde_json::json!({ "remote_number": null }),
        serde_json::json!({ "remote_number": "" }),
        serde_json::json!({ "all": false }),
        serde_json::json!({ "all": true, "remote_number": "0388889999" }),
        serde_json::json!({ "all": true, "interface": "Tunnel1" }),
        serde_json::json!({ "remote_number": "0388889999", "interface": "Tunnel1" }),
        serde_json::json!({ "All": true }),
        serde_json::json!([]),
        serde_json::json!("all"),
    ] {
        refused("POST", "/v1/clear", body);
    }
    refused("POST", "/v1/clear?remote_number=0388889999", serde_json::json!({ "all": true }));
    for body in [
        serde_json::json!({}),
        serde_json::json!({ "all": false }),
        serde_json::json!({ "all": true, "inside": "10.1.0.9" }),
        serde_json::json!({ "inside": "10.1.0" }),
    ] {
        refused("POST", "/v1/nat-clear", body);
    }
    refused("PUT", "/v1/log-filter", serde_json::json!({ "filter": "info", "fro_s": 5 }));
    refused("PUT", "/v1/log-filter?for_s=5", serde_json::json!({ "filter": "info" }));
    for path in [
        "/v1/sessions?remote-number=0388889999",
        "/v1/sessions?remote_number=0388889999&remote_number=0388889998",
        "/v1/registrations?registred=true",
        "/v1/registrations?registered=maybe",
        "/v1/crypto-sessions?detail=1",
        "/v1/nat-translations?x",
        "/v1/policy-maps?tunnel=Tunnel1",
        "/v1/dataplane?verbose",
        "/v1/control?x=1",
        "/v1/events?tunel=Tunnel1",
        "/v1/log-filter?x=1",
        "/v1/clear",
        "/v2/sessions",
    ] {
        let answer = client.get_text(path);
        assert!(
            matches!(&answer, Err(ClientError::Refused(e)) if !e.contains("status")),
            "{path}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn client_and_server_understand_each_other() {
    let dir = std::env::temp_dir().join(format!("sipsec-api-{}", std::process::id()));
    let path = dir.join("control.sock");
    let listener = listen(&path).await.expect("listens");
    let (requests, receiver) = mpsc::channel(8);
    let (events, _) = broadcast::channel(8);
    tokio::spawn(answer(receiver));
    tokio::spawn({
        let events = events.clone();
        async move {
            let (changes, _) = mpsc::channel(1);
            let changer = Changer::new(changes, crate::change::history::History::read(Path::new("/nowhere")));
            let primary = Primary::start(Rules::default()).view();
            serve(listener, "branch", requests, changer, events, LogControl::none(), primary).await;
        }
    });
    assert!(matches!(listen(&path).await, Err(ApiError::AlreadyRunning(_))));
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, MODE);

    let asked = tokio::task::spawn_blocking({
        let path = path.clone();
        move || {
            let client = Client::new(&path);
            let text = client.get_text("/v1/registrations").expect("answered");
            assert_eq!(text, "{\"schema\":\"sipsec/1\",\"gateway\":\"branch\",\"data\":[]}");
            let all = Clear { all: true, ..Clear::default() };
            let all = client.send::<_, Cleared>("POST", "/v1/clear", &all);
            assert_eq!(all.expect("cleared").sessions, 3);
            nothing_is_guessed(&client);
            let one = Clear { remote_number: Some("0312345678".into()), ..Clear::default() };
            let refused = client.send::<_, Cleared>("POST", "/v1/clear", &one);
            assert!(matches!(refused, Err(ClientError::Refused(e)) if e.contains("0312345678")));
            let refused = client.get::<Vec<Session>>("/v1/sessions?remote_number=abc");
            assert!(matches!(refused, Err(ClientError::Refused(e)) if e.contains("not a telephone number")));
            let gone = client.get::<model::Control>("/v1/control");
            assert!(matches!(gone, Err(ClientError::Refused(e)) if e.contains("shutting down")));
            let bad = model::LogFilter { filter: "sipsec=nonsense".into(), for_s: None };
            assert!(client.send::<_, LogFilter>("PUT", "/v1/log-filter", &bad).is_err());
            client.stream("/v1/events").expect("streams")
        }
    });
    let mut lines = asked.await.expect("no panic");
    for event in ["invite-sent", "session-up"] {
        let line = EventLine { time_us: 1, event: event.into(), text: "x".into(), ..EventLine::default() };
        events.send(Arc::new(line)).expect("a listener");
    }
    let read = tokio::task::spawn_blocking(move || [lines.next(), lines.next()]).await.expect("no panic");
    let read = read.map(|l| l.expect("a line").expect("read"));
    assert!(read[0].contains("invite-sent") && read[1].contains("session-up"), "{read:?}");

    let absent = Client::new(&dir.join("other.sock")).get_text("/v1/control");
    assert!(matches!(absent, Err(ClientError::NotRunning(_))));
    std::fs::remove_dir_all(dir).expect("removed");
}
