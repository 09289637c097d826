//! The two ends of a tunnel, compared before the first call is paid for. Secrets are compared, never shown.

use crate::diagnose::Severity;
use crate::model::secret::psk_octets;
use crate::model::{
    CarrierLines, KeyOwner, KeyringEntry, PpkEntry, Profile, Proof, Secret, SecretSource, TunnelEntry,
};
use crate::surroundings::{ProposalFor, Surroundings};
use serde::Serialize;
use sipsec_net::{IpPrefix, TelNumber};

/// Differences reported at most.
const DIFFERENCES_MAX: usize = 1000;

/// Two profiles that do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub severity: Severity,
    pub code: &'static str,
    /// The tunnels of both ends, as `branch Tunnel1 <-> headend Tunnel7`.
    pub between: String,
    pub message: String,
    #[serde(rename = "cure")]
    pub hint: String,
}

/// What was compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Tunnels that join the two gateways.
    pub joined: usize,
    pub differences: Vec<Difference>,
}

impl Comparison {
    #[must_use]
    pub fn errors(&self) -> usize {
        self.differences.iter().filter(|d| d.severity == Severity::Error).count()
    }
}

/// One end.
#[derive(Clone, Copy)]
struct End<'a> {
    profile: &'a Profile,
    around: &'a dyn Surroundings,
}

/// Compares two profiles. `around` reads the secrets of both; files of another machine are simply not there.
#[must_use]
pub fn compare(a: &Profile, b: &Profile, around: &dyn Surroundings) -> Comparison {
    let (a, b) = (End { profile: a, around }, End { profile: b, around });
    let mut out = Comparison::default();
    for ours in &a.profile.tunnels {
        if !b.has_line(ours.remote_number) {
            continue;
        }
        match b.tunnel(ours.remote_number, ours.local_number) {
            Some(theirs) => {
                out.joined += 1;
                Pair { a, b, ours, theirs }.compare(&mut out);
            }
            None => missing(&a, &b, ours, &mut out),
        }
    }
    for theirs in &b.profile.tunnels {
        if a.has_line(theirs.remote_number) && a.tunnel(theirs.remote_number, theirs.local_number).is_none() {
            missing(&b, &a, theirs, &mut out);
        }
    }
    if out.joined == 0 && out.differences.is_empty() {
        let message = format!(
            "no tunnel of {} calls a line of {}, and none the other way round",
            a.profile.gateway, b.profile.gateway
        );
        let hint = "the `remote_number` of each end is a number of `sip.lines` at the other: compare them digit by digit";
        push(&mut out, Severity::Error, "pair::not-joined", String::new(), message, hint);
    }
    let lines = (a.profile.carrier_lines(), b.profile.carrier_lines());
    let domains = |ours: &TunnelEntry| {
        b.tunnel(ours.remote_number, ours.local_number)?;
        let of = |end: &CarrierLines<'_>, line| end.sip(line).domain.clone();
        let (x, y) = (of(&lines.0, ours.local_number), of(&lines.1, ours.remote_number));
        (x != y).then_some((x, y))
    };
    let first = || (a.profile.sip.domain.clone(), b.profile.sip.domain.clone());
    let apart = match out.joined {
        0 => Some(first()).filter(|(x, y)| x != y),
        _ => a.profile.tunnels.iter().find_map(domains),
    };
    if let Some((x, y)) = apart {
        let message = format!("the domains are {x} and {y}");
        push(
            &mut out,
            Severity::Warning,
            "pair::domain",
            String::new(),
            message,
            "both ends are with the same carrier",
        );
    }
    out
}

fn push(
    out: &mut Comparison,
    severity: Severity,
    code: &'static str,
    between: String,
    message: String,
    hint: impl Into<String>,
) {
    if out.differences.len() < DIFFERENCES_MAX {
        out.differences.push(Difference { severity, code, between, message, hint: hint.into() });
    }
}

/// The far end of a tunnel has no tunnel back: its gateway refuses the call with 403.
fn missing(here: &End<'_>, there: &End<'_>, tunnel: &TunnelEntry, out: &mut Comparison) {
    let (here, there) = (&here.profile.gateway, &there.profile.gateway);
    let (local, remote) = (tunnel.local_number, tunnel.remote_number);
    let message = format!(
        "{} of {here} calls {remote}, a line of {there}, which has no tunnel for {local}",
        tunnel.name
    );
    let hint = format!(
        "add to {there}: `local_number: \"{remote}\"`, `remote_number: \"{local}\"`; without it each call is refused with 403"
    );
    push(out, Severity::Error, "pair::no-tunnel", format!("{here} {}", tunnel.name), message, hint);
}

impl<'a> End<'a> {
    fn has_line(&self, number: TelNumber) -> bool {
        self.profile.all_carriers().any(|(_, sip)| sip.lines.iter().any(|line| line.number == number))
    }

    fn tunnel(&self, local: TelNumber, remote: TelNumber) -> Option<&'a TunnelEntry> {
        self.profile.tunnels.iter().find(|t| (t.local_number, t.remote_number) == (local, remote))
    }

    /// The entry for a number, or else the wildcard's.
    fn key(&self, number: TelNumber) -> Option<&'a KeyringEntry> {
        let keyring = &self.profile.ike.keyring;
        let own = keyring.iter().find(|k| k.owner == KeyOwner::Number(number));
        own.or_else(|| keyring.iter().find(|k| k.owner == KeyOwner::Any))
    }

    fn octets(&self, source: &SecretSource) -> Option<Secret> {
        psk_octets(&self.around.secret(source)?.ok()?).ok()
    }
}

/// A tunnel and its other end.
struct Pair<'a> {
    a: End<'a>,
    b: End<'a>,
    ours: &'a TunnelEntry,
    theirs: &'a TunnelEntry,
}

impl Pair<'_> {
    fn push(
        &self,
        out: &mut Comparison,
        severity: Severity,
        code: &'static str,
        message: String,
        hint: &str,
    ) {
        let between = format!(
            "{} {} <-> {} {}",
            self.a.profile.gateway, self.ours.name, self.b.profile.gateway, self.theirs.name
        );
        push(out, severity, code, between, message, hint);
    }

    fn compare(&self, out: &mut Comparison) {
        self.proofs(out);
        self.algorithms(out);
        self.routes(out);
        let (ours, theirs) = (self.ours, self.theirs);
        if ours.bandwidth != theirs.bandwidth {
            let message = format!("the bandwidths are {} and {}", ours.bandwidth, theirs.bandwidth);
            let hint = format!("the smaller one counts: {}", ours.bandwidth.min(theirs.bandwidth));
            self.push(out, Severity::Warning, "pair::bandwidth", message, &hint);
        }
        let mtu = (self.a.profile.tunnel_mtu(ours), self.b.profile.tunnel_mtu(theirs));
        if mtu.0 != mtu.1 {
            let message = format!("the MTUs are {} and {}", mtu.0, mtu.1);
            self.push(out, Severity::Warning, "pair::mtu", message, "write the smaller one at both ends");
        }
    }

    fn proofs(&self, out: &mut Comparison) {
        let (Some(ours), Some(theirs)) =
            (self.a.key(self.ours.remote_number), self.b.key(self.theirs.remote_number))
        else {
            return; // each end's own check reports it
        };
        match (&ours.proof, &theirs.proof) {
            (Proof::Psk(x), Proof::Psk(y)) => self.keys((x, ours), (y, theirs), out),
            (Proof::Certificate(_), Proof::Certificate(_)) => self.certificates(out),
            _ => self.push(
                out,
                Severity::Error,
                "pair::proof",
                "one end has a pre-shared key, the other a certificate".to_owned(),
                "use the same kind of proof at both ends",
            ),
        }
        let announce = (self.a.profile.ike.psk_fingerprint, self.b.profile.ike.psk_fingerprint);
        if matches!(ours.proof, Proof::Psk(_)) && announce.0 != announce.1 {
            let message =
                "`psk_fingerprint` is true at one end only, which insists on the other's".to_owned();
            self.push(out, Severity::Error, "pair::psk-fingerprint", message, "write the same at both ends");
        }
        self.ppks(ours.ppk.as_ref(), theirs.ppk.as_ref(), out);
    }

    /// Each end calls with its current key, which the other one must have as its current or its next key.
    fn keys(
        &self,
        (x, ours): (&SecretSource, &KeyringEntry),
        (y, theirs): (&SecretSource, &KeyringEntry),
        out: &mut Comparison,
    ) {
        let next = |end: &End<'_>, entry: &KeyringEntry| match &entry.next_psk {
            None => Some(None),
            Some(source) => end.octets(source).map(Some),
        };
        let known = (self.a.octets(x), self.b.octets(y), next(&self.a, ours), next(&self.b, theirs));
        let (Some(x), Some(y), Some(next_x), Some(next_y)) = known else {
            let message =
                "the pre-shared keys cannot be compared: one of them cannot be read here".to_owned();
            let hint = "run the comparison where the files and variables of all keys are";
            return self.push(out, Severity::Warning, "pair::key-unknown", message, hint);
        };
        let is = |a: &Secret, b: &Secret| a.expose() == b.expose();
        let accepts = |current: &Secret, next: Option<&Secret>, key: &Secret| {
            is(current, key) || next.is_some_and(|next| is(next, key))
        };
        let b_takes = accepts(&y, next_y.as_ref(), &x);
        let a_takes = accepts(&x, next_x.as_ref(), &y);
        if b_takes && a_takes {
            return;
        }
        let both_next = next_x.as_ref().zip(next_y.as_ref()).is_some_and(|(a, b)| is(a, b));
        if !b_takes && !a_takes && !both_next {
            let hint = "write the same key at both ends; every call would be paid for and end in AUTHENTICATION_FAILED";
            return self.push(
                out,
                Severity::Error,
                "pair::key",
                "the pre-shared keys differ".to_owned(),
                hint,
            );
        }
        let (from, to) = match b_takes {
            true => (&self.b, &self.a),
            false => (&self.a, &self.b),
        };
        let message = format!(
            "{} calls with its current key, which {} does not have",
            from.profile.gateway, to.profile.gateway
        );
        let hint = "write that key as the next one (`psk_file_next`) of the other end";
        self.push(out, Severity::Error, "pair::key", message, hint);
    }

    fn certificates(&self, out: &mut Comparison) {
        let whole = |end: &End<'_>| !end.profile.ike.fragmentation;
        if whole(&self.a) || whole(&self.b) {
            let message = "IKE messages are not fragmented at one end, and certificates are large".to_owned();
            let hint = "remove `fragmentation: false`: fragments of IP may not pass the carrier";
            self.push(out, Severity::Warning, "pair::fragmentation", message, hint);
        }
    }

    fn ppks(&self, ours: Option<&PpkEntry>, theirs: Option<&PpkEntry>, out: &mut Comparison) {
        match (ours, theirs) {
            (Some(x), Some(y)) if x.id != y.id => {
                let message = format!("the PPKs are named {} and {}", x.id, y.id);
                let severity = if x.required || y.required { Severity::Error } else { Severity::Warning };
                self.push(out, severity, "pair::ppk", message, "write the same `ppk_id` at both ends");
            }
            (Some(x), Some(y)) => {
                if let (Some(x), Some(y)) = (self.a.octets(&x.key), self.b.octets(&y.key))
                    && x.expose() != y.expose()
                {
                    let message = "the PPKs differ".to_owned();
                    self.push(out, Severity::Error, "pair::ppk", message, "write the same PPK at both ends");
                }
            }
            (Some(one), None) | (None, Some(one)) => {
                let severity = if one.required { Severity::Error } else { Severity::Warning };
                let message = format!("one end has the PPK {}, the other has none", one.id);
                self.push(out, severity, "pair::ppk", message, "add it at the other end, or remove it");
            }
            (None, None) => {}
        }
    }

    fn algorithms(&self, out: &mut Comparison) {
        let (a, b) = (&self.a.profile.ike, &self.b.profile.ike);
        for (purpose, key, ours, theirs) in [
            (ProposalFor::Ike, "proposals", &a.proposals, &b.proposals),
            (ProposalFor::Esp, "esp_proposals", &a.esp_proposals, &b.esp_proposals),
        ] {
            if self.a.around.proposals_agree(purpose, ours, theirs) == Some(false) {
                let message = format!("no proposal of `ike.{key}` suits both ends");
                let hint = "write one proposal at both ends, or leave the key out at one of them";
                self.push(out, Severity::Error, "pair::algorithms", message, hint);
            }
        }
    }

    /// A network cannot be behind both ends.
    fn routes(&self, out: &mut Comparison) {
        let within = |outer: &IpPrefix, inner: &IpPrefix| {
            outer.prefix_len() <= inner.prefix_len() && outer.contains(inner.addr())
        };
        for ours in &self.ours.prefixes().collect::<Vec<_>>() {
            for theirs in &self.theirs.prefixes().collect::<Vec<_>>() {
                if ours == theirs {
                    let message = format!("both ends send {ours} into the tunnel");
                    let hint = "each end routes the networks of the other: remove it where the network is";
                    self.push(out, Severity::Error, "pair::routes", message, hint);
                } else if ours.prefix_len() > 0
                    && theirs.prefix_len() > 0
                    && (within(ours, theirs) || within(theirs, ours))
                {
                    let message = format!("the routes {ours} and {theirs} overlap");
                    let hint = "packets for the smaller network are sent into the tunnel from both ends";
                    self.push(out, Severity::Warning, "pair::routes", message, hint);
                }
            }
        }
    }
}

/// For people.
impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for d in &self.differences {
            let sign = if d.severity == Severity::Error { "×" } else { "⚠" };
            let between = if d.between.is_empty() { String::new() } else { format!("\n     {}", d.between) };
            writeln!(f, "{}\n\n  {sign} {}{between}\n  help: {}\n", d.code, d.message, d.hint)?;
        }
        let counted = crate::read::counted;
        let warnings = self.differences.len() - self.errors();
        let (errors, warnings) = (counted(self.errors(), "error"), counted(warnings, "warning"));
        writeln!(f, "{} joined: {errors}, {warnings}", counted(self.joined, "tunnel"))
    }
}
