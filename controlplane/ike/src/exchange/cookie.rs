//! Stateless cookies (RFC 7296 §2.6): <VersionIDofSecret> | Hash(Ni | IPi | SPIi | <secret>), here as an HMAC.

use crate::algorithm::Prf;
use crate::crypto::prf::prf;
use crate::ctx::Ctx;
use crate::secret::Secret;
use core::net::IpAddr;
use core::time::Duration;
use sipsec_net::Instant;
use subtle::ConstantTimeEq;

/// RFC 7296 §2.6: the secret SHOULD be changed frequently; the one before it is still honoured.
const SECRET_AGE_MAX: Duration = Duration::from_secs(30);

/// The current secret and the one before.
#[derive(Default)]
pub(crate) struct Jar {
    secrets: [Option<Secret>; 2],
    version: u8,
    since: Instant,
}

impl Jar {
    fn rotate(&mut self, ctx: &mut Ctx, now: Instant) {
        if self.secrets[0].is_some() && now < self.since + SECRET_AGE_MAX {
            return;
        }
        let fresh = ctx.secret(32);
        let [current, previous] = &mut self.secrets;
        *previous = current.replace(fresh);
        self.version = self.version.wrapping_add(1);
        self.since = now;
    }

    fn cookie(version: u8, secret: &Secret, ctx: &Ctx, ni: &[u8], spi_i: u64) -> Vec<u8> {
        let ip = match ctx.config.remote.ip() {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        };
        let mac = prf(Prf::HmacSha256, secret.expose(), &[ni, &ip, &spi_i.to_be_bytes()]);
        let mut out = vec![version];
        out.extend_from_slice(mac.expose());
        out
    }

    pub fn bake(&mut self, ctx: &mut Ctx, now: Instant, ni: &[u8], spi_i: u64) -> Vec<u8> {
        self.rotate(ctx, now);
        let secret = self.secrets[0].as_ref().expect("rotate leaves a current secret");
        Self::cookie(self.version, secret, ctx, ni, spi_i)
    }

    pub fn is_good(&mut self, ctx: &mut Ctx, now: Instant, cookie: &[u8], ni: &[u8], spi_i: u64) -> bool {
        self.rotate(ctx, now);
        let versions = [self.version, self.version.wrapping_sub(1)];
        self.secrets.iter().zip(versions).any(|(secret, version)| {
            secret.as_ref().is_some_and(|s| {
                bool::from(Self::cookie(version, s, ctx, ni, spi_i).as_slice().ct_eq(cookie))
            })
        })
    }
}
