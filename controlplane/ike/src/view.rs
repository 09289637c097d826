//! What `show crypto session` shows.

use crate::algorithm::{EspSuite, IkeSuite};
use crate::auth::{AuthMethod, FingerprintBasis};
use crate::config::Role;
use crate::ctx::Ctx;
use crate::exchange::IkeSa;
use crate::identity::Identity;
use crate::negotiate::ts::TrafficSelectors;
use crate::output::ChildId;
use crate::path::PathView;
use crate::state::State;
use core::net::SocketAddr;
use sipsec_net::{Instant, Spi};

#[derive(Clone, Debug)]
pub struct SaView {
    pub role: Role,
    pub state: StateName,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub spi_i: u64,
    pub spi_r: u64,
    pub suite: Option<IkeSuite>,
    pub local_id: Identity,
    pub remote_id: Option<Identity>,
    pub auth: Option<AuthMethod>,
    pub fingerprint: Option<FingerprintBasis>,
    pub nat: NatView,
    /// The longest message that we send in one piece (RFC 7383); `None` if the two do not fragment.
    pub fragment_bytes: Option<usize>,
    /// What probes have found of the path.
    pub path: PathView,
    /// A post-quantum pre-shared key is in the keys (RFC 8784).
    pub ppk: bool,
    pub established_at: Option<Instant>,
    pub rekey_at: Option<Instant>,
    pub expires_at: Option<Instant>,
    /// When we authenticate anew, because the peer limits how long a proof holds (RFC 4478).
    pub reauth_at: Option<Instant>,
    pub last_heard: Option<Instant>,
    pub children: Vec<ChildView>,
    pub counters: Counters,
}

impl SaView {
    /// The algorithms in use that are for old peers alone, each once.
    #[must_use]
    pub fn weak(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.suite.iter().flat_map(IkeSuite::weak).collect();
        names.extend(self.children.iter().flat_map(|c| c.suite.weak()));
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateName {
    Idle,
    KeyGen,
    InitSent,
    Agreeing,
    Intermediate,
    Signing,
    AuthSent,
    Verifying,
    Listening,
    HalfOpen,
    Established,
    /// The IKE SA is gone, and another may follow in the same call.
    Reauthenticating,
    Closing,
    Closed,
}

/// RFC 7296 §2.23.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NatView {
    pub supported: bool,
    /// Our source was seen differently by the peer (or the peer forces encapsulation).
    pub local: bool,
    /// The peer's source is not what it believes (or it forces encapsulation).
    pub remote: bool,
    pub force_encap: bool,
}

#[derive(Clone, Debug)]
pub struct ChildView {
    pub child: ChildId,
    pub spi_in: Spi,
    pub spi_out: Spi,
    pub suite: EspSuite,
    pub selectors: TrafficSelectors,
    pub established_at: Instant,
    pub rekey_at: Instant,
    pub expires_at: Instant,
    /// Limit of ESP bytes in each direction; 0 for none.
    pub hard_bytes_max: u64,
    /// Replaced, waiting for late packets or for the peer's DELETE.
    pub retired: bool,
}

/// Tokens of RFC 6290 in clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CrashTokens {
    /// Ours, for IKE SAs that we do not know.
    pub sent: u64,
    /// The peer's that proved a loss.
    pub proved: u64,
    /// Others.
    pub bad: u64,
}

/// Every message that comes ends in exactly one of `requests_in`, `responses_in`, `fragments_in`, `duplicates_in`,
/// `cookies_sent`, `crash_tokens.proved`, `crash_tokens.bad` or a `dropped_…`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    pub requests_out: u64,
    pub responses_out: u64,
    pub retransmits_out: u64,
    pub requests_in: u64,
    pub responses_in: u64,
    /// All but the last of a message.
    pub fragments_in: u64,
    /// Of messages that were longer than one may be; repetitions are not counted.
    pub fragments_out: u64,
    /// Messages that went on in smaller fragments, for want of an answer (RFC 7383 §2.5.2).
    pub shrunk_out: u64,
    /// A request that was answered before: the cached response went out again.
    pub duplicates_in: u64,
    /// Not an IKEv2 message, or of a length other than it says.
    pub dropped_malformed: u64,
    /// IKEv1.
    pub dropped_version: u64,
    /// SPIs that are not of this endpoint.
    pub dropped_spi: u64,
    /// Message ID outside the window.
    pub dropped_window: u64,
    /// The integrity check failed.
    pub dropped_integrity: u64,
    /// An error in clear where only a protected message may decide (RFC 7296 §2.21.1).
    pub dropped_clear_text: u64,
    /// Does not fit the state we are in.
    pub dropped_state: u64,
    /// Half-open table or reassembly buffer full.
    pub dropped_full: u64,
    /// Requests of an exchange type that we do not know; each got an empty answer.
    pub unknown_exchanges_in: u64,
    pub cookies_sent: u64,
    pub cookies_accepted: u64,
    pub rekeys_child: u64,
    pub rekeys_ike: u64,
    /// IKE SAs of this call that took the place of an earlier one.
    pub reauthentications: u64,
    pub rekey_collisions: u64,
    pub dpd_sent: u64,
    pub crash_tokens: CrashTokens,
    pub nat_keepalives_out: u64,
}

impl SaView {
    pub(crate) fn of(ctx: &Ctx, state: &State) -> Self {
        let mut view = Self {
            role: ctx.config.role,
            state: state.name(),
            local: ctx.config.local,
            remote: ctx.config.remote,
            spi_i: 0,
            spi_r: 0,
            suite: None,
            local_id: ctx.config.local_id.clone(),
            remote_id: None,
            auth: None,
            fingerprint: None,
            nat: NatView::default(),
            fragment_bytes: None,
            path: ctx.path.search.view(),
            ppk: false,
            established_at: None,
            rekey_at: None,
            expires_at: None,
            reauth_at: None,
            last_heard: (ctx.last_heard != Instant::ZERO).then_some(ctx.last_heard),
            children: Vec::new(),
            counters: ctx.counters,
        };
        match state {
            State::Intermediate(s) => view.put_sa(ctx, s.sa()),
            State::AuthSent(s) => view.put_sa(ctx, s.sa()),
            State::Established(s) => {
                view.put_sa(ctx, &s.current().sa);
                view.remote_id = Some(s.who.id.clone());
                view.auth = Some(s.who.method);
                view.fingerprint = Some(s.who.basis);
                view.reauth_at = s.reauth_at;
                view.nat = s.nat;
                view.ppk = s.ppk;
                view.established_at = Some(s.established_at);
                view.rekey_at = Some(s.rekey_at);
                view.expires_at = Some(s.expires_at);
                view.children = s.children.iter().map(crate::task::child::Child::view).collect();
            }
            _ => {}
        }
        view
    }

    fn put_sa(&mut self, ctx: &Ctx, sa: &IkeSa) {
        self.spi_i = sa.spi_i;
        self.spi_r = sa.spi_r;
        self.suite = Some(sa.suite);
        self.fragment_bytes = sa.fragment_limit(ctx);
    }
}
