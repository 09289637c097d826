//! Translations: those of calls and of static rules, which are known here, and pages of the dataplane's table.

use crate::api::Reply;
use crate::api::model::{NatStatistics, Translation, TranslationKind};
use crate::runtime::Runtime;
use sipsec_net::TunnelId;
use sipsec_net::dp::Event;
use sipsec_net::nat::{NatBlock, NatEntry, NatRule, NatSide, NatState};
use sipsec_profile::model::Word;
use sipsec_profile::model::primary_nat::{Forward, PrimaryNat};
use sipsec_session::{Admin, Input};
use std::net::SocketAddrV4;
use tokio::sync::oneshot;

/// Questions at a time; more are answered as if the table were empty.
const ASKED_MAX: usize = 64;

/// Pages that were asked for. The dataplane sends the entries of a page, then its end, and the pages one after the other.
#[derive(Debug, Default)]
pub(crate) struct NatPages {
    asked: Vec<(u32, oneshot::Sender<Reply>)>,
    entries: Vec<NatEntry>,
}

impl Runtime {
    /// Asks the dataplane. Without one there is nothing to show.
    pub(crate) fn nat_page(&mut self, from: u32, reply: oneshot::Sender<Reply>) {
        self.nat.asked.retain(|(_, reply)| !reply.is_closed());
        if self.link.status().is_err() || self.nat.asked.len() >= ASKED_MAX {
            // The client may have gone.
            let _ = reply.send(Reply::NatPage(Vec::new(), None, NatStatistics::default()));
            return;
        }
        self.nat.asked.push((from, reply));
        self.input(Input::Admin(Admin::NatPage { from }));
    }

    /// Takes what is about translations; the rest is the core's.
    pub(crate) fn nat_event(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::NatEntry(entry) => self.nat.entries.push(entry),
            Event::NatPage { from, next, statistics } => {
                let entries = std::mem::take(&mut self.nat.entries);
                if let Some(at) = self.nat.asked.iter().position(|(asked, _)| *asked == from) {
                    let (_, reply) = self.nat.asked.remove(at);
                    let list = entries.iter().map(|e| self.dynamic(e)).collect();
                    let _ = reply.send(Reply::NatPage(list, next, NatStatistics::from(&statistics)));
                }
            }
            Event::NatBlock(block) => self.log_block(&block),
            other => return Some(other),
        }
        None
    }

    /// RFC 6888 REQ-14, RFC 7422: who had which ports, in one line for each block.
    fn log_block(&self, block: &NatBlock) {
        let NatBlock { host, global, port_first, port_last, is_allocated, .. } = block;
        let tunnel = self.tunnel_name(block.tunnel);
        let what = if *is_allocated { "ports given to a host" } else { "ports given back by a host" };
        tracing::info!(target: "sipsec::nat", tunnel, %host, %global, port_first, port_last, "{what}");
    }

    fn tunnel_name(&self, id: TunnelId) -> Option<String> {
        self.profile.tunnels.iter().find(|t| t.id == id).map(|t| t.name.clone())
    }

    fn dynamic(&self, e: &NatEntry) -> Translation {
        Translation {
            protocol: e.protocol.name().to_owned(),
            inside_global: e.inside_global.to_string(),
            inside_local: e.inside_local.to_string(),
            outside_local: Some(e.outside_local.to_string()),
            outside_global: Some(e.outside_global.to_string()),
            kind: if e.is_static { TranslationKind::Port } else { TranslationKind::Overload },
            tunnel: self.tunnel_name(e.tunnel),
            device: None,
            state: Some(state(e.state).to_owned()),
            age_s: Some(e.age_s),
            idle_s: Some(e.idle_s),
            left_s: Some(e.left_s),
        }
    }

    /// Those of calls first, then static ones in the order of the profile.
    pub(crate) fn fixed_translations(&self) -> Vec<Translation> {
        let calls = self.core.nat_translations().into_iter().map(|t| Translation {
            protocol: "udp".to_owned(),
            inside_global: t.inside_global.to_string(),
            inside_local: t.inside_local.to_string(),
            outside_local: Some(t.outside.to_string()),
            outside_global: Some(t.outside.to_string()),
            ..Translation::default()
        });
        let rules = self.profile.tunnels.iter().flat_map(|t| t.nat.iter().map(|rule| (&t.name, rule.0)));
        let primary =
            self.profile.nat.primary.iter().flat_map(|p| p.forwards.iter().map(|f| forwarded(p, f)));
        calls.chain(rules.filter_map(|(tunnel, rule)| fixed(tunnel, &rule))).chain(primary).collect()
    }
}

/// The device's address is the kernel's affair.
fn forwarded(primary: &PrimaryNat, forward: &Forward) -> Translation {
    Translation {
        protocol: forward.protocol.word().to_owned(),
        inside_global: format!("{}:{}", primary.device, forward.port),
        inside_local: forward.local.to_string(),
        kind: TranslationKind::Port,
        device: Some(primary.device.clone()),
        ..Translation::default()
    }
}

fn fixed(tunnel: &str, rule: &NatRule) -> Option<Translation> {
    let blank = Translation { tunnel: Some(tunnel.to_owned()), ..Translation::default() };
    let none = || "---".to_owned();
    Some(match rule {
        NatRule::Port { protocol, local, global } => Translation {
            protocol: protocol.name().to_owned(),
            inside_global: SocketAddrV4::to_string(global),
            inside_local: SocketAddrV4::to_string(local),
            kind: TranslationKind::Port,
            ..blank
        },
        NatRule::Network { side: NatSide::Inside, local, global } => Translation {
            protocol: none(),
            inside_global: global.to_string(),
            inside_local: local.to_string(),
            kind: TranslationKind::Network,
            ..blank
        },
        NatRule::Network { side: NatSide::Outside, local, global } => Translation {
            protocol: none(),
            inside_global: none(),
            inside_local: none(),
            outside_local: Some(local.to_string()),
            outside_global: Some(global.to_string()),
            kind: TranslationKind::Network,
            ..blank
        },
        NatRule::Overload { .. } | NatRule::Exempt { .. } => return None,
    })
}

const fn state(state: NatState) -> &'static str {
    match state {
        NatState::Open => "open",
        NatState::SynSent => "syn-sent",
        NatState::SynReceived => "syn-received",
        NatState::Established => "established",
        NatState::FinSent => "fin-sent",
        NatState::FinReceived => "fin-received",
        NatState::Closing => "closing",
        NatState::Reset => "reset",
    }
}
