//! The keys that override values of the carrier.

use super::item::{Item, Table};
use crate::model::carrier::{ContactUser, MediaDscp, MediaOverrides, SipOverrides};

const TOKEN_MAX: usize = 32;
const DSCP_MAX: u8 = 63;

pub fn sip(table: &Table<'_>) -> Option<SipOverrides> {
    let session_expires_s = table.int_or_absent("session_expires_s");
    let rport = table.absent_or("rport", Item::flag);
    let contact_user = table.absent_or("contact_user", contact_user);
    let allow = table.list("allow", Item::word);
    let register_supported = table.list("register_supported", Item::word);
    let invite_supported = table.list("invite_supported", Item::word);
    let identity = table.absent_or("identity", Item::word);
    let caller_from = table.list("caller_from", Item::word);
    let called_from = table.list("called_from", Item::word);
    let delayed_offers = table.absent_or("delayed_offers", Item::flag);
    let user_agent = table.absent_or("user_agent", Item::flag);
    let dscp = table.int_or_absent("dscp");
    let bandwidths_kbps = table.list("bandwidths_kbps", Item::int);
    Some(SipOverrides {
        session_expires_s: session_expires_s?,
        rport: rport?,
        contact_user: contact_user?,
        allow: allow?,
        register_supported: register_supported?,
        invite_supported: invite_supported?,
        identity: identity?,
        caller_from: caller_from?,
        called_from: called_from?,
        delayed_offers: delayed_offers?,
        user_agent: user_agent?,
        dscp: dscp?,
        bandwidths_kbps: bandwidths_kbps?,
    })
}

pub fn media(table: &Table<'_>) -> Option<MediaOverrides> {
    let even_ports = table.absent_or("even_ports", Item::flag);
    let peer_port = table.absent_or("peer_port", Item::word);
    let dscp = table.absent_or("dscp", media_dscp);
    let assumed_kbps = table.int_or_absent("assumed_kbps");
    Some(MediaOverrides {
        even_ports: even_ports?,
        peer_port: peer_port?,
        dscp: dscp?,
        assumed_kbps: assumed_kbps?,
    })
}

/// RFC 3261 §25.1 `user`, of unreserved characters.
fn contact_user(item: &Item<'_>) -> Option<ContactUser> {
    let text = item.text()?.trim();
    Some(match text {
        "number" => ContactUser::Number,
        "none" => ContactUser::Absent,
        "random" => ContactUser::Random,
        _ => {
            let unreserved = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'()".contains(c);
            if text.is_empty() || text.len() > TOKEN_MAX || !text.chars().all(unreserved) {
                item.bad_value(
                    text,
                    "the user part of a SIP URI",
                    "write `number`, `random`, `none`, or at most 32 letters and digits in quotes",
                );
                return None;
            }
            ContactUser::Token(text.to_owned())
        }
    })
}

fn media_dscp(item: &Item<'_>) -> Option<MediaDscp> {
    let text = match item.node {
        super::Node::Int(value) => value.to_string(),
        _ => item.text()?.trim().to_owned(),
    };
    if text == "copy" {
        return Some(MediaDscp::Copy);
    }
    match text.parse() {
        Ok(dscp) if dscp <= DSCP_MAX => Some(MediaDscp::Fixed(dscp)),
        _ => {
            item.bad_value(&text, "a DSCP", "write 0 to 63, as in 8 for CS1, or `copy`");
            None
        }
    }
}
