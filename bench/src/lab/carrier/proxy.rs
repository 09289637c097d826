//! Where a message goes (RFC 3261 §16).

use super::config::{Access, take};
use super::core::{Carrier, digest};
use super::line::Verdict;
use super::message::{Message, Start, address_of, param, response_address, uri_of, user_of};
use super::rewrite::{self, Rewrite};
use super::transaction::upstream_key;
use sipsec_net::Instant;
use std::net::SocketAddr;

const MAX_FORWARDS: u32 = 70;
/// Ends the To tag of the second called side of a forked call.
pub(super) const FORK: &str = "-fork";

impl Carrier {
    pub(super) fn request(&mut self, now: Instant, from: SocketAddr, mut request: Message) {
        let Start::Request { method, uri } = request.start.clone() else { return };
        let key = upstream_key(&request);
        match method.as_str() {
            "ACK" if self.ack_absorbed(now, &request) => return,
            "CANCEL" if self.cancel(now, &request) => return,
            "INVITE" if self.transactions.by_upstream(&key).is_some() => return self.invite_again(&key),
            _ => {}
        }

        // RFC 3261 §16.3 step 3.
        match request.header("Max-Forwards").map(str::parse::<u32>) {
            Some(Ok(0)) => {
                self.stats.looped += 1;
                if method != "ACK" {
                    self.reply(&request, 483, "Too Many Hops", &[]);
                }
                return;
            }
            Some(Ok(n)) => request.set("Max-Forwards", (n.min(MAX_FORWARDS) - 1).to_string()),
            Some(Err(_)) => return self.reply(&request, 400, "Bad Max-Forwards", &[]),
            None => request.set("Max-Forwards", MAX_FORWARDS.to_string()),
        }

        let in_dialog = request.header("To").is_some_and(|to| param(to, "tag").is_some());
        match method.as_str() {
            "REGISTER" => self.register(now, from, &request),
            _ if in_dialog => self.in_dialog(now, request, &method, &uri),
            "INVITE" => self.invite(now, from, request, &uri),
            "OPTIONS" if self.is_us(&uri) => {
                self.reply(
                    &request,
                    200,
                    "OK",
                    &[("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER".into())],
                );
            }
            // Nothing to answer: RFC 3261 §17.
            "ACK" => self.stats.dialog_unknown += 1,
            "CANCEL" | "BYE" => {
                self.stats.dialog_unknown += 1;
                self.reply(&request, 481, "Call/Transaction Does Not Exist", &[]);
            }
            _ => self.reply(
                &request,
                405,
                "Method Not Allowed",
                &[("Allow", "INVITE, ACK, CANCEL, BYE".into())],
            ),
        }
    }

    /// A call begins.
    fn invite(&mut self, now: Instant, from: SocketAddr, request: Message, uri: &str) {
        match self.judge(from, &request) {
            Verdict::Lost => return,
            Verdict::Refused(status, reason, headers) => {
                return self.reply(&request, status, reason, &headers);
            }
            Verdict::Pass => {}
        }
        let Some(caller) = self.caller(now, from, &request) else { return };
        let Some(dialled) = user_of(uri) else {
            return self.reply(&request, 404, "Not Found", &[]);
        };
        // 184 withholds, 186 sends the caller's number; a complete number begins with 0.
        let (called, withheld_by_prefix) = match dialled.strip_prefix("184").filter(|n| n.starts_with('0')) {
            Some(number) => (number.to_owned(), true),
            None => {
                let plain = dialled.strip_prefix("186").filter(|n| n.starts_with('0'));
                (plain.map_or(dialled.clone(), str::to_owned), false)
            }
        };
        let private = withheld_by_prefix
            || request.all("Privacy").any(|p| p.split(';').any(|t| t.trim().eq_ignore_ascii_case("id")));

        let knobs = self.config.knobs.numbers.get(&called).cloned().unwrap_or_default();
        let known = self.config.accounts.iter().any(|a| a.number == called);
        let binding = self.location.find(now, &called).cloned();
        let storm = take(&mut self.config.knobs.faults.storm);
        let refusal = match (&knobs.reject, known, &binding) {
            _ if storm => {
                let pause = self.config.knobs.faults.storm_retry_after_s;
                Some((503, "Service Unavailable".to_owned(), Some(pause)))
            }
            (Some(reject), _, _) => Some((reject.status, reject.reason.clone(), reject.retry_after_s)),
            (None, false, _) => Some((404, "Not Found".to_owned(), None)),
            (None, true, None) => Some((480, "Temporarily Unavailable".to_owned(), None)),
            (None, true, Some(_)) => None,
        };

        let branch = format!("z9hG4bK{}", digest(&[&upstream_key(&request), "invite"]));
        let mut forwarded = request.clone();
        strip_identity(&mut forwarded);
        forwarded.remove("Proxy-Authorization");
        drop_our_route(self, &mut forwarded);
        let (contact, target) = match &binding {
            Some(b) => {
                let contact = b.contact(from.is_ipv4());
                (contact.to_owned(), address_of(contact).unwrap_or(b.source))
            }
            None => (uri.to_owned(), self.config.address),
        };
        forwarded.start = Start::Request { method: "INVITE".into(), uri: contact };
        let domain = self.config.domain.clone();
        if !private {
            // RFC 3325 §5: the identity that the network vouches for.
            let asserted = knobs.asserted.as_ref().unwrap_or(&caller);
            forwarded.set("P-Asserted-Identity", format!("<sip:{asserted}@{domain}>"));
        }
        forwarded.set("P-Called-Party-ID", format!("<sip:{called}@{domain}>"));
        let call_id = request.header("Call-ID").unwrap_or_default().to_owned();
        if refusal.is_none() {
            match self.relay_offer(&call_id, &forwarded.body) {
                Some(body) => forwarded.body = body,
                None => {
                    self.stats.transactions_refused += 1;
                    return self.reply(&request, 503, "Service Unavailable", &[]);
                }
            }
        }
        forwarded.body = rewrite::apply(&knobs.offer, &forwarded.body);
        if knobs.delayed_offer && refusal.is_none() {
            forwarded.remove("Content-Type");
            self.held_offers.insert(call_id, std::mem::take(&mut forwarded.body));
        }
        self.push_via(&mut forwarded, &branch, target);
        let mut routes = vec![self.record_route()];
        routes.extend(forwarded.list("Record-Route"));
        forwarded.set_list("Record-Route", routes);

        let from_tag = request.header("From").and_then(|f| param(f, "tag")).unwrap_or_default().to_owned();
        self.biller.invited(now, &request, &from_tag, &caller, &called);
        let invite = Self::new_invite(now, request, forwarded, target, knobs.answer);
        match refusal {
            None => self.start_invite(now, branch, invite, knobs.delay),
            Some((status, reason, retry_after)) => {
                // Through the same transaction, so that the refusal is retransmitted until ACK and counted once.
                let headers: Vec<_> =
                    retry_after.map(|s| ("Retry-After", s.to_string())).into_iter().collect();
                let response = self.local_response(&invite.request, status, &reason, &headers);
                if self.transactions.insert(branch.clone(), invite) {
                    self.finish(now, &branch, response);
                } else {
                    self.stats.transactions_refused += 1;
                }
            }
        }
    }

    /// The number that the network asserts for the sender, or `None` when the request has been answered.
    fn caller(&mut self, now: Instant, from: SocketAddr, request: &Message) -> Option<String> {
        let mut lines = self.location.numbers_at(now, from);
        if lines.is_empty() {
            let of_line = |a: &&Access| a.prefixes.iter().any(|p| p.contains(from.ip()));
            let numbers = self.config.lines.iter().filter(of_line).map(|a| a.number.clone());
            lines = numbers.filter(|n| self.location.find(now, n).is_some()).collect();
        }
        if lines.is_empty() {
            self.reply(request, 403, "Not registered here", &[]);
            return None;
        }
        if self.config.knobs.authenticate_invite {
            match self.verify(now, request, "Proxy-Authorization") {
                Ok(user) => {
                    let number =
                        self.config.accounts.iter().find(|a| a.username == user).map(|a| a.number.clone());
                    match number.filter(|n| lines.contains(n)) {
                        Some(number) => return Some(number),
                        None => {
                            self.reply(request, 403, "Not your line", &[]);
                            return None;
                        }
                    }
                }
                Err(refusal) => {
                    self.challenge(now, request, 407, refusal);
                    return None;
                }
            }
        }
        // RFC 3325 §6: which of several lines, the client may say; whether it may, the network decides.
        let preferred = request.header("P-Preferred-Identity").and_then(|v| user_of(uri_of(v)));
        let from_user = request.header("From").and_then(|v| user_of(uri_of(v)));
        let wanted = [preferred, from_user].into_iter().flatten().find(|n| lines.contains(n));
        wanted.or_else(|| lines.into_iter().next())
    }

    /// A request inside a dialog goes along its route, statelessly (RFC 3261 §16.11): the branch is a function of the
    /// sender's, so that retransmissions, CANCEL and ACK of a re-INVITE match downstream.
    fn in_dialog(&mut self, now: Instant, mut request: Message, method: &str, uri: &str) {
        let call_id = request.header("Call-ID").unwrap_or_default().to_owned();
        if self.biller.call(&call_id).is_none() {
            self.stats.dialog_unknown += 1;
            if method != "ACK" {
                self.reply(&request, 481, "Call/Transaction Does Not Exist", &[]);
            }
            return;
        }
        let tag = request.header("To").and_then(|to| param(to, "tag")).unwrap_or_default();
        if tag.ends_with(FORK) {
            // The second called side is here alone.
            match method {
                "ACK" => self.stats.forks_acknowledged += 1,
                "BYE" => {
                    self.stats.forks_ended += 1;
                    self.reply(&request, 200, "OK", &[]);
                }
                _ => self.reply(&request, 481, "Call/Transaction Does Not Exist", &[]),
            }
            return;
        }
        if method == "BYE" && take(&mut self.config.knobs.faults.lost_bye) {
            return;
        }
        if !drop_our_route(self, &mut request) && self.config.knobs.require_route {
            self.stats.route_missing += 1;
            if method != "ACK" {
                self.reply(&request, 403, "No Route of this proxy", &[]);
            }
            return;
        }
        let next = request.list("Route").first().map(|r| uri_of(r).to_owned());
        let Some(target) =
            address_of(next.as_deref().unwrap_or(uri)).filter(|t| self.config.addresses().all(|a| a != *t))
        else {
            self.stats.unroutable += 1;
            if method != "ACK" {
                self.reply(&request, 404, "Not Found", &[]);
            }
            return;
        };
        if method == "BYE" {
            let tag = request.header("From").and_then(|f| param(f, "tag")).unwrap_or_default().to_owned();
            self.biller.bye(now, &request, &tag);
            self.relay_end(&call_id);
            self.held_offers.remove(&call_id);
        }
        if let Some(offer) = self.held_offers.get(&call_id).filter(|_| method == "ACK") {
            // RFC 6193 §4: the caller of such a network starts IKE, as its own offer would have it.
            request.body = rewrite::apply(&[Rewrite::Setup("active")], offer);
            request.set("Content-Type", "application/sdp".into());
        }
        strip_identity(&mut request);
        let branch = format!("z9hG4bK{}", digest(&[&upstream_key(&request), "stateless"]));
        self.push_via(&mut request, &branch, target);
        self.transmit(target, &request);
    }

    /// RFC 3261 §16.7.
    pub(super) fn response(&mut self, now: Instant, _from: SocketAddr, mut response: Message) {
        let mut vias = response.list("Via");
        let top = if vias.is_empty() { String::new() } else { vias.remove(0) };
        let ours = top.split_whitespace().nth(1).and_then(|s| s.split(';').next());
        if self.config.addresses().all(|a| ours != Some(a.to_string().as_str())) {
            self.stats.unroutable += 1;
            return;
        }
        let branch = param(&top, "branch").unwrap_or_default().to_owned();
        if vias.is_empty() {
            // To a request of our own. CANCEL has the INVITE's branch, so only the end of the list tells.
            return;
        }
        response.set_list("Via", vias);
        strip_identity(&mut response);
        if response.cseq_method() == "INVITE" && self.transactions.by_branch(&branch).is_some() {
            return self.invite_response(now, &branch, response);
        }
        match response.header("Via").and_then(response_address) {
            Some(to) => self.transmit(to, &response),
            None => self.stats.unroutable += 1,
        }
    }

    fn push_via(&self, message: &mut Message, branch: &str, to: SocketAddr) {
        let mut vias = vec![self.via(branch, to)];
        vias.extend(message.list("Via"));
        message.set_list("Via", vias);
    }
}

/// RFC 3325 §5: identities from outside the trust domain do not pass.
fn strip_identity(message: &mut Message) {
    message.remove("P-Preferred-Identity");
    message.remove("P-Asserted-Identity");
}

/// Takes our own entry off the top of the route. True if it was there.
fn drop_our_route(carrier: &Carrier, message: &mut Message) -> bool {
    let mut routes = message.list("Route");
    let ours = routes.first().is_some_and(|r| carrier.is_us(uri_of(r)));
    if ours {
        routes.remove(0);
        message.set_list("Route", routes);
    }
    ours
}
