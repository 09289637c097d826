//! Other values while the user agent works.

use super::UserAgent;
use crate::config::{Config, Line};
use crate::output::RegistrationState;
use crate::registration::Registration;
use sipsec_net::Instant;

impl UserAgent {
    /// Takes from `new` what may change under registrations and calls: added lines, credentials, and how long a registration lasts.
    /// Registrar and domain are [`Self::set_server`]'s. Lines that `new` does not have stay.
    pub fn set_values(&mut self, now: Instant, new: &Config) {
        self.config.expires_s = new.expires_s;
        for line in &new.lines {
            match self.config.line_of(line.number) {
                Some(known) => self.set_credentials(now, known, line),
                None => self.add_line(now, line.clone()),
            }
        }
        self.settle();
    }

    fn add_line(&mut self, now: Instant, line: Line) {
        let added = self.config.lines.len();
        let contact_user = self.config.dialect.contact_user.of(line.number, &mut *self.entropy);
        self.contact_users.push(contact_user);
        self.config.lines.push(line);
        self.registrations.push(Registration::new(&mut *self.entropy));
        if self.registrar(now).is_some() && !self.stopping {
            self.registration_state(added, RegistrationState::Registering);
            self.register_in_turn(now, added);
        }
    }

    /// A line whose registration fails tries again at once: other credentials are the cure.
    fn set_credentials(&mut self, now: Instant, line: usize, new: &Line) {
        let same = match (&self.config.lines[line].auth, &new.auth) {
            (None, None) => true,
            (Some(a), Some(b)) => a.username == b.username && a.password.expose() == b.password.expose(),
            _ => false,
        };
        if same {
            return;
        }
        self.config.lines[line].auth.clone_from(&new.auth);
        if self.registrar(now).is_some() && !self.stopping && !self.registrations[line].is_registered() {
            self.forget_register(line);
            self.registrations[line].begin();
            self.register_in_turn(now, line);
        }
    }
}
