//! What would leave this gateway, and whether the registrar takes it: without a running gateway and without a call.

use super::args::Args;
use super::text::counted;
use super::{CliError, print};
use crate::boot::dhcp_config;
use crate::clock;
use crate::config::{self, Profile};
use crate::entropy::KernelEntropy;
use crate::net::dhcp::{Dhcp, Learnt};
use crate::net::resolve::{self, Found, Wanted};
use crate::net::sip::{SipEvent, SipTransports};
use crate::setup;
use sipsec_net::TelNumber;
use sipsec_profile::model::{Host, Server, SipSection};
use sipsec_session::{Core, WanAddresses};
use sipsec_sip::{Event, Locals, Output, RegistrationState, Target, UserAgent};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// RFC 3261 §18.1.1: a larger INVITE would have to go over TCP.
const INVITE_MAX: usize = 1300;
/// DHCP with its conflict probes (RFC 5227).
const DHCP_MAX: Duration = Duration::from_secs(40);
/// A REGISTER, its challenge and its removal, each of which may take 64·T1.
const REGISTER_MAX: Duration = Duration::from_secs(100);

/// The profile that is meant; a rehearsal has nothing else to go by.
pub fn profile(args: &Args) -> Result<Profile, CliError> {
    let named = args.gateway.as_ref().map(|name| Path::new("/etc/sipsec").join(format!("{name}.yaml")));
    let path = args.profile.clone().or(named).ok_or_else(|| {
        CliError::Words(
            "name the profile with --profile FILE, or -g NAME for /etc/sipsec/NAME.yaml".to_owned(),
        )
    })?;
    Ok(config::load(&path)?.profile)
}

/// The address from which packets to `to` leave by this device. Nothing is sent.
fn source(device: &str, to: SocketAddr) -> Result<IpAddr, CliError> {
    let domain = if to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let found = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).and_then(|socket| {
        socket.bind_device(Some(device.as_bytes()))?;
        socket.connect(&SockAddr::from(to))?;
        socket.local_addr()
    });
    let address = found.ok().and_then(|addr| addr.as_socket()).map(|addr| addr.ip());
    address
        .filter(|ip| !ip.is_unspecified())
        .ok_or_else(|| CliError::Words(format!("{device} has no address from which {to} can be reached")))
}

/// `call NUMBER --dry-run`
pub fn dry_run(args: &Args, number: TelNumber) -> Result<ExitCode, CliError> {
    let mut profile = profile(args)?;
    let words = |error: String| CliError::Words(error);
    if profile.learns_number().is_some() {
        let number = dhcp_view(args).ok().and_then(|view| {
            [view.ipv4, view.ipv6].into_iter().flatten().find_map(|f| f.number?.parse().ok())
        });
        let number = number.ok_or_else(|| {
            words("the line's number comes by DHCP; the dry run asks the running gateway for it, and it has none".to_owned())
        })?;
        profile = profile.with_number(number);
    }
    let no_tunnel = || words(format!("no tunnel of the profile calls {number}"));
    let tunnel = profile.tunnels.iter().find(|t| t.remote_number == number).ok_or_else(no_tunnel)?;
    let lines = profile.carrier_lines();
    let (sip, name) = (lines.sip(tunnel.local_number), lines.name(tunnel.local_number));
    let line = Learnt::default();
    let known = line.registrars(&profile, sip).and_then(|r| Ok((r, line.domain(&profile, sip)?)));
    let (registrars, domain) = match known {
        Ok(known) => known,
        // A gateway that runs knows what the line has said.
        Err(why) => learnt(args).map_err(|_| {
            words(format!("{why}; the dry run asks the running gateway for it, and there is none"))
        })?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(resolve::once(&Wanted::new(sip, registrars, Vec::new()))).map_err(words)?;
    let wan = addresses(&sip.interface, &found)?;
    let registrar = targets(&found.registrars);
    let config = setup::core_config(&profile).map_err(|e| words(e.to_string()))?;
    let calls = if found.proxies.is_empty() { &found.registrars } else { &found.proxies };
    let ip = calls.iter().find_map(|t| wan.towards(t.addr.ip()));
    let ip = ip.ok_or_else(|| words("no server for calls can be reached".to_owned()))?;
    let own = config.carriers.iter().find(|c| c.name == name);
    let mut own = own.ok_or_else(no_tunnel)?.sip.clone();
    (own.registrars, own.proxies) = (found.registrars, found.proxies);
    own.domain.clone_from(&domain);
    let local = SocketAddr::new(ip, sip.port);
    let locals = locals(wan, sip.port);
    let mut ua = UserAgent::new(own, Box::new(KernelEntropy::new()));
    let mut core = Core::new(config, || Box::new(KernelEntropy::new()));
    let offer = core.rehearse_offer(number, ip).map_err(|e| words(format!("{number}: {e}")))?;
    let now = clock::now();
    ua.set_locals(now, locals);
    let call = ua.dial(now, offer.line, number, &offer.description);
    let call = call.map_err(|e| words(e.to_string()))?;
    let mut sent = None;
    while let Some(output) = ua.poll_output() {
        match output {
            Output::Persist { call, .. } => ua.persisted(now, call),
            Output::Transmit { flow, bytes } if bytes.starts_with(b"INVITE ") => {
                sent = Some((flow, bytes));
            }
            _ => {}
        }
    }
    // Nothing has left, so nothing is owed.
    call.ended();
    let Some((to, bytes)) = sent else { return Err(words("no INVITE would leave".to_owned())) };
    let mut out = format!(
        "nothing is sent; tags, branch and Call-ID are drawn anew for each call\n\n\
         tunnel     {}: {} calls {number}, {}\n\
         registrar  {registrar}, domain {domain}\n\
         from       {local} on {}, DSCP {}\n\
         media      port {} of {}-{}\n\
         INVITE     {} bytes to {} over {}; at most {INVITE_MAX} go over UDP\n",
        offer.tunnel,
        offer.line,
        offer.bandwidth,
        sip.interface,
        profile.carrier(sip).sip_dscp,
        offer.description.ike.addr.port(),
        profile.media.port_first,
        profile.media.port_last,
        bytes.len(),
        to.remote,
        to.transport.via(),
    );
    if bytes.len() > INVITE_MAX {
        out += "warning: the INVITE is longer; take out fingerprints or tags\n";
    }
    out += &format!("\n{}", String::from_utf8_lossy(&bytes).replace('\r', ""));
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// The addresses from which the servers are reached, one of each IP version.
fn addresses(device: &str, found: &Found) -> Result<WanAddresses, CliError> {
    let mut wan = WanAddresses::default();
    let mut failed = None;
    for target in found.registrars.iter().chain(&found.proxies) {
        if wan.towards(target.addr.ip()).is_some() {
            continue;
        }
        match source(device, target.addr) {
            Ok(ip) if ip.is_ipv4() => wan.v4 = Some(ip),
            Ok(ip) => wan.v6 = Some(ip),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if wan.any().is_none() => Err(error),
        _ => Ok(wan),
    }
}

fn locals(wan: WanAddresses, port: u16) -> Locals {
    let local = |ip: Option<IpAddr>| ip.map(|ip| SocketAddr::new(ip, port));
    Locals { v4: local(wan.v4), v6: local(wan.v6) }
}

fn targets(list: &[Target]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn dhcp_view(args: &Args) -> Result<crate::api::model::DhcpView, CliError> {
    let client = crate::api::client::Client::new(&super::gateway::socket(args)?);
    Ok(client.get("/v1/dhcp")?)
}

/// What a running gateway has learnt by DHCP.
fn learnt(args: &Args) -> Result<(Vec<Server>, String), CliError> {
    let view = dhcp_view(args)?;
    let families = [view.ipv4, view.ipv6];
    let family = families.into_iter().flatten().find(|f| !f.sip_servers.is_empty());
    let found = family.and_then(|f| {
        let host = |s: &String| match s.split_once(':')? {
            ("dns", name) => Some(Host::Name(name.trim_end_matches('.').to_owned())),
            (_, address) => address.parse().ok().map(Host::Address),
        };
        let servers = f.sip_servers.iter().filter_map(host).map(|host| Server { host, port: None });
        Some((servers.collect(), f.sip_domain?))
    });
    found.ok_or_else(|| CliError::Words("DHCP has named no SIP server".to_owned()))
}

/// `register --once`
pub fn register_once(args: &Args) -> Result<ExitCode, CliError> {
    let profile = profile(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut learnt = Learnt::default();
        let mut dhcp = match dhcp_config(&profile) {
            None => None,
            Some(config) => {
                let mut dhcp = Dhcp::start(config)?;
                lease(&profile, &mut dhcp, &mut learnt).await?;
                Some(dhcp)
            }
        };
        let number = profile.learns_number().map(|_| learnt.number(&profile)).transpose();
        let profile = match number.map_err(CliError::Words)? {
            Some(number) => profile.with_number(number),
            None => profile,
        };
        let late = || Err(CliError::Words("the registrar did not answer in time".to_owned()));
        let mut result = Ok(true);
        for (name, sip) in profile.all_carriers() {
            if !profile.carriers.is_empty() {
                print(&format!("carrier {name}\n"))?;
            }
            let one = tokio::time::timeout(REGISTER_MAX, registered(&profile, name, sip, &learnt)).await;
            // A carrier that fails does not keep the others from being asked.
            match (one.unwrap_or_else(|_| late()), profile.carriers.is_empty()) {
                (Ok(all), _) => result = result.map(|before| before && all),
                (Err(error), true) => result = Err(error),
                (Err(error), false) => {
                    print(&format!("{error}\n"))?;
                    result = result.map(|_| false);
                }
            }
        }
        if let Some(dhcp) = &mut dhcp {
            dhcp.release().await;
            print("DHCP: released\n")?;
        }
        result.map(|all| if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

async fn lease(profile: &Profile, dhcp: &mut Dhcp, learnt: &mut Learnt) -> Result<(), CliError> {
    print(&format!("DHCP: asking on {}\n", profile.sip.interface))?;
    let mut why = "no server has answered".to_owned();
    let asked = async {
        loop {
            learnt.take(dhcp.next().await);
            let of = |(_, sip)| Ok((learnt.registrars(profile, sip)?, learnt.domain(profile, sip)?));
            let each: Result<Vec<_>, String> = profile.all_carriers().map(of).collect();
            match each.map(|mut each| each.swap_remove(0)) {
                Ok(server) => return server,
                Err(reason) => why = reason,
            }
        }
    };
    match tokio::time::timeout(DHCP_MAX, asked).await {
        Ok((registrars, domain)) => {
            let shown: Vec<_> = registrars.iter().map(ToString::to_string).collect();
            print(&format!("DHCP: SIP server {}, domain {domain}\n", shown.join(", ")))
        }
        Err(_) => Err(CliError::Words(format!("DHCP: {why}"))),
    }
}

/// Registers every line of a carrier, says what came of it, and removes what was made; `true` if every line registers.
async fn registered(
    profile: &Profile,
    name: &str,
    section: &SipSection,
    learnt: &Learnt,
) -> Result<bool, CliError> {
    let registrars = learnt.registrars(profile, section).map_err(CliError::Words)?;
    let domain = learnt.domain(profile, section).map_err(CliError::Words)?;
    let found =
        resolve::once(&Wanted::new(section, registrars, learnt.dns())).await.map_err(CliError::Words)?;
    let wan = addresses(&section.interface, &found)?;
    let setup = setup::transports(profile, section).map_err(|e| CliError::Words(e.to_string()))?;
    let mut sip = SipTransports::new(setup);
    sip.set_addresses(wan);
    let usable = sip.usable(wan);
    if usable.any().is_none() {
        let why = sip.local().err().unwrap_or_else(|| "no socket can be opened".to_owned());
        return Err(CliError::Words(format!("{why}; does the gateway run?")));
    }
    let config = setup::core_config(profile).map_err(|e| CliError::Words(e.to_string()))?;
    let config = config.carriers.into_iter().find(|c| c.name == name).map(|c| c.sip);
    let mut config = config.ok_or_else(|| CliError::Words(format!("no carrier is named {name}")))?;
    let registrar = targets(&found.registrars);
    (config.registrars, config.proxies) = (found.registrars, found.proxies);
    config.domain = domain;
    let lines = config.lines.len();
    print(&format!("registering {} at {registrar}\n", counted(lines as u64, "line")))?;
    let mut ua = UserAgent::new(config, Box::new(KernelEntropy::new()));
    ua.set_locals(clock::now(), locals(usable, section.port));
    let mut outcome: BTreeMap<TelNumber, Result<(), String>> = BTreeMap::new();
    let mut leaving = false;
    loop {
        while let Some(output) = ua.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => {
                    print(&format!("-> {}\n", first_line(&bytes)))?;
                    sip.send(&flow, bytes);
                }
                Output::Open { flow, name } => sip.open(flow, name),
                Output::Event(Event::Registration { line, state }) => {
                    let ended = match state {
                        RegistrationState::Registered => Ok(()),
                        RegistrationState::Failed { reason } => Err(reason),
                        _ => continue,
                    };
                    outcome.entry(line).or_insert(ended);
                }
                _ => {}
            }
        }
        if !leaving && outcome.len() == lines {
            for view in ua.registrations() {
                let expires = view.expires_at.map(|at| at.saturating_duration_since(clock::now()));
                let word = match (&outcome[&view.line], expires) {
                    (Ok(()), Some(expires)) => format!("registered for {} s", expires.as_secs()),
                    (Ok(()), None) => "registered".to_owned(),
                    (Err(why), _) => format!("not registered: {why}"),
                };
                print(&format!("{}: {word}\n", view.line))?;
            }
            leaving = true;
            ua.unregister_all(clock::now());
            continue;
        }
        if leaving && ua.unregistered() {
            break;
        }
        let timeout = async {
            match ua.poll_timeout() {
                Some(at) => tokio::time::sleep_until(clock::wake_at(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = sip.next() => match event {
                SipEvent::Message { flow, bytes } => {
                    if ua.trusts(flow.remote) {
                        print(&said(&bytes))?;
                    }
                    ua.handle_message(clock::now(), &flow, &bytes);
                }
                SipEvent::Closed { flow, reason } => ua.handle_flow_closed(clock::now(), flow.id, &reason),
                SipEvent::Opened | SipEvent::Connects { .. } => {}
            },
            () = timeout => ua.handle_timeout(clock::now()),
        }
    }
    let all = outcome.values().all(Result::is_ok);
    print(if all { "removed again; every line registers\n" } else { "removed again\n" })?;
    Ok(all)
}

fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}

/// The first line of a message, and what a registrar's 200 grants.
fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = format!("<- {}\n", first_line(bytes));
    let shown =
        ["contact", "expires", "service-route", "p-associated-uri", "warning", "retry-after", "min-expires"];
    for line in text.lines().skip(1).take_while(|l| !l.is_empty()) {
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        if shown.contains(&name.as_str()) {
            let line: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
            out += &format!("   {line}\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_shown_with_what_it_grants_and_nothing_that_authenticates() {
        let answer = b"SIP/2.0 200 OK\r\nVia: x\r\nContact: <sip:a@192.0.2.1>;expires=60\r\nService-Route: <sip:p;lr>\r\n\
            P-Associated-URI: <sip:0388881001@c>\r\nAuthentication-Info: nextnonce=\"secret\"\r\n\r\nContact: no\r\n";
        let text = said(answer);
        assert!(text.starts_with("<- SIP/2.0 200 OK\n   Contact: <sip:a@192.0.2.1>;expires=60\n"), "{text}");
        assert!(text.contains("Service-Route") && text.contains("P-Associated-URI"), "{text}");
        assert!(!text.contains("secret") && !text.contains("Contact: no"), "{text}");
        assert_eq!(first_line(b"REGISTER sip:c SIP/2.0\r\nA: b"), "REGISTER sip:c SIP/2.0");
    }
}
