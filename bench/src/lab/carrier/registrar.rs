//! REGISTER (RFC 3261 §10.3).

use super::config::take;
use super::core::Carrier;
use super::digest::Refusal;
use super::line::Verdict;
use super::location::Binding;
use super::message::{Message, param, uri_of, user_of};
use sipsec_net::Instant;
use std::net::SocketAddr;
use std::time::Duration;

impl Carrier {
    pub(super) fn register(&mut self, now: Instant, from: SocketAddr, request: &Message) {
        match self.judge(from, request) {
            Verdict::Lost => return,
            Verdict::Refused(status, reason, headers) => {
                return self.reply(request, status, reason, &headers);
            }
            Verdict::Pass => {}
        }
        if take(&mut self.config.knobs.faults.register_storm) {
            return self.reply(request, 503, "Service Unavailable", &[]);
        }
        let Some(number) = request.header("To").and_then(|to| user_of(uri_of(to))) else {
            return self.reply(request, 400, "No number in To", &[]);
        };
        let Some(account) = self.config.accounts.iter().find(|a| a.number == number).cloned() else {
            return self.reply(request, 404, "Not Found", &[]);
        };
        if self.config.knobs.authenticate_register {
            let verdict = self.verify(now, request, "Authorization");
            match verdict {
                // RFC 3261 §10.3 step 4: this user may change this number's bindings.
                Ok(user) if user == account.username => {}
                Ok(_) => return self.reply(request, 403, "Forbidden", &[]),
                Err(refusal) => return self.challenge(now, request, 401, refusal),
            }
        }

        let tags = request.all("Supported").flat_map(|v| v.split(','));
        let supports_path = tags.map(str::trim).any(|tag| tag.eq_ignore_ascii_case("path"));
        let contacts = request.list("Contact");
        let header_expires = request.header("Expires").map(str::parse::<u32>);
        if let Some(Err(_)) = header_expires {
            return self.reply(request, 400, "Bad Expires", &[]);
        }
        let header_expires = header_expires.and_then(Result::ok);
        match contacts.as_slice() {
            // A query.
            [] => {}
            [star] if star == "*" => {
                if header_expires != Some(0) {
                    return self.reply(request, 400, "Contact * needs Expires 0", &[]);
                }
                self.location.unregister(&number);
            }
            [contact, ..] => {
                // RFC 3261 §10.2.1.1: the contact's own parameter wins over the header.
                let expires = param(contact, "expires")
                    .and_then(|v| v.parse().ok())
                    .or(header_expires)
                    .unwrap_or(self.config.knobs.expires_max_s);
                if expires == 0 {
                    self.location.unregister(&number);
                } else if expires < self.config.knobs.expires_min_s {
                    let min = self.config.knobs.expires_min_s.to_string();
                    return self.reply(request, 423, "Interval Too Brief", &[("Min-Expires", min)]);
                } else {
                    let granted = expires.min(self.config.knobs.expires_max_s);
                    let binding = Binding {
                        contacts: contacts.iter().map(|c| uri_of(c).to_owned()).collect(),
                        source: from,
                        path: supports_path,
                        expires_at: now + Duration::from_secs(granted.into()),
                    };
                    if !self.location.register(&number, binding) {
                        return self.reply(request, 503, "Service Unavailable", &[]);
                    }
                }
            }
        }

        let mut headers = Vec::new();
        if let Some(binding) = self.location.find(now, &number) {
            let left = binding.expires_at.saturating_duration_since(now).as_secs();
            let contacts = binding.contacts.iter().map(|c| ("Contact", format!("<{c}>;expires={left}")));
            headers.extend(contacts);
        }
        // RFC 3455 §4.1, as the NGN tells a terminal the numbers it may use.
        headers.push(("P-Associated-URI", format!("<sip:{number}@{}>", self.config.domain)));
        if self.config.knobs.rules.service_route {
            headers.push(("Service-Route", self.record_route()));
        }
        self.reply(request, 200, "OK", &headers);
    }

    pub(super) fn verify(
        &mut self,
        now: Instant,
        request: &Message,
        header: &str,
    ) -> Result<String, Refusal> {
        let method = request.method().unwrap_or_default();
        let value = request.header(header);
        let accounts = &self.config.accounts;
        self.authenticator.verify(now, value, method, |user| {
            accounts.iter().find(|a| a.username == user).map(|a| a.password.clone())
        })
    }

    pub(super) fn challenge(&mut self, now: Instant, request: &Message, status: u16, refusal: Refusal) {
        if refusal != Refusal::Absent {
            self.stats.credentials_refused += 1;
        }
        let (name, reason) = match status {
            401 => ("WWW-Authenticate", "Unauthorized"),
            _ => ("Proxy-Authenticate", "Proxy Authentication Required"),
        };
        let values = self.authenticator.challenge(now, self.entropy.as_mut(), refusal);
        let headers: Vec<_> = values.into_iter().map(|v| (name, v)).collect();
        self.reply(request, status, reason, &headers);
    }
}
