//! `show`

use super::args::{Args, Configuration, Crypto, Ip, PolicyMap, SessionArgs, Show, Sip, Sla, Style, VpnSip};
use super::screen::{Screen, Wall};
use super::{CliError, answered, envelope, escaped, socket, text};
use crate::api::client::Client;
use crate::api::interfaces::Interface;
use crate::api::model::{Answer, Control, Session};
use crate::api::policy::{PrefixRoutes, SlaOperation, TrackObject};
use crate::version;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub fn show(client: &Client, show: &Show, json: bool, screen: Screen) -> Result<String, CliError> {
    match show {
        Show::VpnSip(VpnSip::Summary) => ask(client, "/v1/summary", json, text::summary),
        Show::VpnSip(VpnSip::Session { words }) => {
            sessions(client, &SessionArgs::parse(words).map_err(CliError::Words)?, json)
        }
        Show::VpnSip(VpnSip::History { tunnel, since, utc, csv }) => {
            let words = [
                tunnel.as_deref().map(|t| format!("interface={}", escaped(t))),
                since.map(|s| format!("since_s={}", s.as_secs())),
            ];
            let words: Vec<_> = words.into_iter().flatten().collect();
            let wall = Wall::new(*utc);
            let path = format!("/v1/history?{}", words.join("&"));
            ask(client, &path, json, |list: &Vec<_>| {
                if *csv { text::history_csv(list, &wall) } else { text::history(list, &wall) }
            })
        }
        Show::VpnSip(VpnSip::Call { call_id, ladder }) => {
            let wall = Wall::new(false);
            let path = format!("/v1/call?call_id={}", escaped(call_id));
            let render = if ladder.is_some() { text::ladder } else { text::messages };
            ask(client, &path, json, |call| render(call, &wall))
        }
        Show::VpnSip(VpnSip::RegistrationStatus) => {
            ask(client, "/v1/registrations", json, |list: &Vec<_>| text::registration_status(list))
        }
        Show::VpnSip(VpnSip::Sip(Sip::Registrar)) => {
            let path = "/v1/registrations?registered=true";
            ask(client, path, json, |list: &Vec<_>| text::registrar(list, screen.width()))
        }
        Show::VpnSip(VpnSip::Sip(Sip::Dhcp)) => ask(client, "/v1/dhcp", json, text::dhcp),
        Show::Crypto(Crypto::Session { detail }) => {
            let detail = detail.is_some();
            ask(client, "/v1/crypto-sessions", json, |list: &Vec<_>| text::crypto_sessions(list, detail))
        }
        Show::Ip(Ip::Nat { what, .. }) if what == "statistics" => {
            ask(client, "/v1/nat-statistics", json, text::nat_statistics)
        }
        Show::Ip(Ip::Nat { verbose, .. }) => ask(client, "/v1/nat-translations", json, |list: &Vec<_>| {
            text::translations(list, screen.width(), verbose.is_some())
        }),
        Show::Ip(Ip::Sla(Sla::Statistics { id })) => {
            let id = *id;
            of(
                client,
                "/v1/sla",
                json,
                |o: &SlaOperation| id.is_none_or(|id| id == o.id),
                text::sla_statistics,
            )
        }
        Show::Ip(Ip::Sla(Sla::Configuration { id })) => {
            let id = *id;
            of(
                client,
                "/v1/sla",
                json,
                |o: &SlaOperation| id.is_none_or(|id| id == o.id),
                text::sla_configuration,
            )
        }
        Show::Ip(Ip::Route { prefix }) => {
            let wanted = |r: &PrefixRoutes| prefix.as_ref().is_none_or(|p| *p == r.prefix);
            of(client, "/v1/routes", json, wanted, text::routes)
        }
        Show::Ip(Ip::Interface { .. }) => {
            ask(client, "/v1/interfaces", json, |list: &Vec<_>| text::interfaces(list))
        }
        Show::Track { words } => track(client, words, json),
        Show::Dataplane { topology: None } => ask(client, "/v1/dataplane", json, text::dataplane),
        Show::Dataplane { topology: Some(_) } => {
            ask(client, "/v1/dataplane/topology", json, |t| text::topology(t, screen.width_or_default()))
        }
        Show::PolicyMap(PolicyMap::Interface { tunnel }) => {
            let words = tunnel.as_deref().map(|t| format!("?interface={}", escaped(t))).unwrap_or_default();
            let path = format!("/v1/policy-maps{words}");
            ask(client, &path, json, |list: &Vec<_>| text::policy_maps(list))
        }
        Show::Control => ask(client, "/v1/control", json, text::control),
        Show::Configuration(Configuration::History { utc }) => {
            let wall = Wall::new(*utc);
            ask(client, "/v1/profile/history", json, |list: &Vec<_>| text::versions(list, &wall))
        }
        Show::RunningConfig { words, yaml } => super::running::of_gateway(client, words, *yaml, json),
        Show::Version => ask(client, "/v1/control", json, |c: &Control| c.version.clone() + "\n"),
    }
}

fn ask<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    json: bool,
    render: impl FnOnce(&T) -> String,
) -> Result<String, CliError> {
    answered(client.get_text(path)?, json, render)
}

/// Those entries of a list that are wanted; an error if there are others only.
fn of<T: Serialize + DeserializeOwned>(
    client: &Client,
    path: &str,
    json: bool,
    wanted: impl Fn(&T) -> bool,
    render: impl FnOnce(&[T]) -> String,
) -> Result<String, CliError> {
    let answer = client.get_text(path)?;
    let (gateway, mut list): (_, Vec<T>) = crate::api::client::decode_with_gateway(&answer)?;
    let all = list.len();
    list.retain(wanted);
    if list.is_empty() && all > 0 {
        return Err(CliError::Words("there is no entry of this number or prefix".to_owned()));
    }
    Ok(match json {
        true => format!("{}\n", serde_json::json!(Answer::new(gateway.as_deref(), list))),
        false => render(&list),
    })
}

/// `[brief] [NUMBER]`
fn track(client: &Client, words: &[String], json: bool) -> Result<String, CliError> {
    let (mut brief, mut id) = (false, None);
    for word in words {
        match word.parse::<u32>() {
            Ok(number) if id.is_none() => id = Some(number),
            Err(_) if !brief && !word.is_empty() && "brief".starts_with(word.as_str()) => brief = true,
            _ => {
                let usage = format!("`{word}` is not expected: write `show track [brief] [NUMBER]`");
                return Err(CliError::Words(usage));
            }
        }
    }
    let render = if brief { text::track_brief } else { text::track };
    of(client, "/v1/track", json, |t: &TrackObject| id.is_none_or(|id| id == t.id), render)
}

fn sessions(client: &Client, wanted: &SessionArgs, json: bool) -> Result<String, CliError> {
    let answer = client.get_text(&format!("/v1/sessions{}", wanted.query()))?;
    if json && !wanted.failed {
        return Ok(answer + "\n");
    }
    let (gateway, mut list): (_, Vec<Session>) = crate::api::client::decode_with_gateway(&answer)?;
    if wanted.failed {
        // A failure before a call that succeeded is history.
        list.retain(|s| s.role.is_none() && s.last_failure.as_ref().is_some_and(|f| f.count > 0));
    }
    Ok(match wanted.style {
        _ if json => format!("{}\n", serde_json::json!(Answer::new(gateway.as_deref(), list))),
        _ if wanted.failed && list.is_empty() => "No tunnel has failed.\n".to_owned(),
        Style::Brief => text::brief(&list),
        // Without the reason there is nothing to see.
        _ if wanted.failed => text::sessions(&list, true),
        style => text::sessions(&list, style == Style::Detail) + &others(client, wanted),
    })
}

/// Tunnels of the kernel, which have no vpn-sip; of none that was asked for.
fn others(client: &Client, wanted: &SessionArgs) -> String {
    if !wanted.query().is_empty() {
        return String::new();
    }
    // A kernel that does not answer hides no session.
    client
        .get::<Vec<Interface>>("/v1/interfaces")
        .map(|list| text::without_vpn_sip(&list))
        .unwrap_or_default()
}

/// Of this command, and of the gateway if one runs.
pub fn version(args: &Args) -> Result<String, CliError> {
    let running =
        socket(args).ok().and_then(|socket| Client::new(&socket).get::<Control>("/v1/control").ok());
    if args.json {
        return Ok(envelope(&serde_json::json!({
            "command": version::line(),
            "control_plane": running.as_ref().map(|c| &c.version),
            "dataplane": running.as_ref().and_then(|c| c.dataplane.value.as_ref()),
        })));
    }
    let mut out = format!("Command:       {}\n", version::line());
    match &running {
        None => out.push_str("Control plane: not running here\n"),
        Some(control) => {
            let dataplane = control.dataplane.value.as_deref().unwrap_or("not connected");
            out.push_str(&format!("Control plane: {}\nDataplane:     {dataplane}\n", control.version));
            if control.version != version::line() {
                out.push_str("The running control plane is of another build: restart it.\n");
            }
        }
    }
    Ok(out)
}
