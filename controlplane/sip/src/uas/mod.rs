//! Calls that we receive (RFC 3261 §13.3).

mod accept;
mod caller;
mod in_dialog;
mod options;

use crate::auth::Auth;
use crate::config::{MIN_SE_S, OFFER_MAX, RETRY_AFTER_OVERLOAD_S};
use crate::dialect::CalledSource;
use crate::dialog::{Dialog, route};
use crate::message::{Message, NameAddr, uri_param, user_of};
use crate::notice::NoticeKind;
use crate::output::Event;
use crate::reason::warning;
use crate::sdp::{Descriptions, SdpError, SessionDescription};
use crate::state::{CallState, Incoming, Phase, Side};
use crate::target::Target;
use crate::transport::Flow;
use crate::ua::UserAgent;
use sipsec_net::{Instant, TelNumber};
use std::sync::Arc;
use std::time::Duration;

/// Why an INVITE makes no call: the status, header fields that say more, and what is wrong with its offer.
struct Refusal(u16, Vec<(&'static str, String)>, Option<(usize, SdpError)>);

/// The checks of RFC 3261 §8.2.3 and RFC 4028 §9 that every request with an offer passes, inside a dialog and outside: a
/// status and the header fields that say what would be understood.
pub(super) fn refused_content(m: &Message) -> Option<(u16, Vec<(&'static str, String)>)> {
    if !m.body.is_empty() && m.is_encoded() {
        let accept = vec![("Accept", "application/sdp".into()), ("Accept-Encoding", "identity".into())];
        return Some((415, accept));
    }
    if !m.body.is_empty() && !m.has_sdp() {
        return Some((415, vec![("Accept", "application/sdp".into())]));
    }
    if !m.accepts_sdp() {
        return Some((406, vec![("Warning", warning("the answer would be application/sdp"))]));
    }
    // Only a sender that knows of session timers can raise its own.
    if m.lists("Supported", "timer") && m.seconds("Session-Expires").is_some_and(|s| s < MIN_SE_S) {
        return Some((422, vec![("Min-SE", MIN_SE_S.to_string())]));
    }
    None
}

impl UserAgent {
    pub(crate) fn invite_received(&mut self, now: Instant, key: &Arc<str>, m: &Message) {
        let (line, offer) = match self.offered(m) {
            Ok(offered) => offered,
            Err(Refusal(status, headers, bad_offer)) => {
                if status == 503 {
                    self.notice(now, NoticeKind::Overload, || "too many calls at a time".to_owned());
                }
                self.respond(now, key, m, status, None, None, |w| {
                    for (name, value) in headers {
                        w.header(name, value);
                    }
                });
                if let Some((line, error)) = bad_offer {
                    let line = self.config.lines[line].number;
                    let caller = caller::of(m, &self.config.dialect.caller_from);
                    self.event(Event::Refused { line, caller, error });
                }
                return;
            }
        };
        self.respond(now, key, m, 100, None, None, |_| {});
        let tag = self.token();
        let Some(target) = self.flow_of(key).map(|from| self.server_at(&from)) else { return };
        let dialog = Dialog {
            call_id: m.call_id().to_owned(),
            local: format!("{};tag={tag}", m.header("To").unwrap_or_default()),
            local_tag: tag,
            remote: m.header("From").unwrap_or_default().to_owned(),
            remote_tag: m.from_tag().map(str::to_owned),
            local_cseq: 0,
            remote_cseq: Some(m.cseq_number()),
            // RFC 3261 §12.1.1: for the called side the list is in order.
            route_set: m.all("Record-Route").filter_map(route).collect(),
            remote_target: m.remote_target().unwrap_or_default().to_owned(),
            target,
        };
        let mut request = m.clone();
        request.body.clear();
        // RFC 3261 §13.3.1: the caller may say how long it waits.
        let wait = m.seconds("Expires").map_or(OFFER_MAX, |s| OFFER_MAX.min(Duration::from_secs(s.into())));
        let id = self.calls.insert(CallState {
            line: Some(line),
            dialog,
            phase: Phase::Offered { until: now + wait },
            side: Side::Callee(Box::new(Incoming { key: key.clone(), request, delayed: offer.is_none() })),
            media: offer.clone().map_or(Descriptions::None, Descriptions::Offered),
            auth: Auth::default(),
            answering: None,
            timer: None,
            byes: 0,
            bye: None,
            refreshes: Vec::new(),
            reason: None,
            writes: 0,
            detached: false,
        });
        if let Some(t) = self.servers.get_mut(key) {
            t.call = Some(id);
        }
        let number = self.config.lines[line].number;
        let call = crate::call::Call::new(id);
        let caller = caller::of(m, &self.config.dialect.caller_from);
        self.event(Event::Incoming { call, line: number, caller, offer });
    }

    /// The server through which requests inside a call that came over this flow go: the one that it came from.
    fn server_at(&self, from: &Flow) -> Target {
        let mut known = self.registrars.iter().chain(self.proxies.iter());
        let came = |t: &&Target| from.remote.ip() == t.addr.ip() && from.transport == t.transport;
        let source = || Target { transport: from.transport, addr: from.remote, name: None };
        known.find(came).cloned().unwrap_or_else(source)
    }

    /// RFC 3261 §8.2, in its order.
    fn offered(&mut self, m: &Message) -> Result<(usize, Option<SessionDescription>), Refusal> {
        let with = |status, headers| Refusal(status, headers, None);
        let plain = |status, why: &str| with(status, vec![("Warning", warning(why))]);
        let Some(line) = self.called_line(m) else {
            return Err(plain(404, "this gateway has no line with this number"));
        };
        // §8.2.2.2: the same request over two paths. The first one is served.
        let merged = self.calls.with_call_id(m.call_id()).any(|(_, c)| {
            c.incoming().is_some_and(|i| i.request.cseq() == m.cseq())
                && c.dialog.remote_tag.as_deref() == m.from_tag()
        });
        if merged {
            return Err(plain(482, "this request came over another path already"));
        }
        if self.calls.full() {
            self.stats.overload += 1;
            let headers = vec![
                ("Retry-After", RETRY_AFTER_OVERLOAD_S.to_string()),
                ("Warning", warning("too many calls at a time")),
            ];
            return Err(with(503, headers));
        }
        // Without a target the call could not be hung up.
        if m.remote_target().is_none() {
            return Err(plain(400, "no Contact that a request could go to"));
        }
        if let Some((status, headers)) = refused_content(m) {
            return Err(with(status, headers));
        }
        if m.body.is_empty() && self.config.dialect.delayed_offers {
            return Ok((line, None));
        }
        let offer = match m.body.is_empty() {
            true => Err(SdpError::DelayedOffer),
            false => SessionDescription::parse(&m.body),
        };
        match offer {
            Ok(offer) => Ok((line, Some(offer.assuming(self.config.dialect.assumed_bandwidth)))),
            Err(e) => Err(Refusal(e.status(), vec![("Warning", e.warning())], Some((line, e)))),
        }
    }

    /// The called line, from the first part of the request that names one of ours.
    fn called_line(&self, m: &Message) -> Option<usize> {
        let uri_of = |name| m.header(name).and_then(NameAddr::read).map(|n| n.uri);
        let line_of = |uri| self.config.line_of(number_of(uri)?);
        self.config.dialect.called_from.iter().find_map(|source| match source {
            CalledSource::CalledParty => line_of(uri_of("P-Called-Party-ID")?),
            CalledSource::RequestUri => line_of(m.uri()).or_else(|| self.line_at_contact(m.uri())),
            CalledSource::To => line_of(uri_of("To")?),
        })
    }

    /// RFC 3261 §16.5: the Request-URI is the Contact of one line, and of that one alone.
    fn line_at_contact(&self, uri: &str) -> Option<usize> {
        let user = user_of(uri).unwrap_or_default();
        let mut lines = self.contact_users.iter().enumerate().filter(|(_, known)| **known == user);
        lines.next().map(|(line, _)| line).filter(|_| lines.next().is_none())
    }
}

/// The number in a SIP or tel URI. RFC 3966 §5.1.5: a local number is one of the global prefix in its phone-context.
pub(crate) fn number_of(uri: &str) -> Option<TelNumber> {
    let user = user_of(uri)?;
    let local = uri.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("tel:")) && !user.starts_with('+');
    let context = uri_param(uri, "phone-context").filter(|c| local && c.starts_with('+'));
    match context {
        Some(prefix) => format!("{prefix}{user}").parse().ok(),
        None => user.parse().ok(),
    }
}
