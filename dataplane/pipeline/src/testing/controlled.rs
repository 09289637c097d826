//! A pipeline and the registry that commands it, on one thread.

use super::VecPacket;
use crate::config::Config;
use crate::engine::AeadEngine;
use crate::graph::Pipeline;
use crate::registry::Registry;
use core::ops::{Deref, DerefMut};
use sipsec_net::Instant;
use sipsec_net::dp::{Op, RejectReason};

pub struct Controlled {
    pipeline: Pipeline<VecPacket>,
    registry: Registry,
    engine: Box<dyn AeadEngine>,
}

impl Controlled {
    #[must_use]
    pub fn new(config: Config, engine: Box<dyn AeadEngine>) -> Self {
        Self { pipeline: Pipeline::new(config), registry: Registry::new(&config), engine }
    }

    /// Applies all of `ops` in order or none: then the error says which one was at fault.
    pub fn apply(&mut self, now: Instant, ops: &[Op]) -> Result<(), (u16, RejectReason)> {
        let validated = self.registry.validate(&*self.engine, ops)?;
        self.registry.commit(ops, &validated);
        self.pipeline.commit(now, ops, validated);
        Ok(())
    }

    /// The WAN's MTU has changed.
    pub fn set_outside_mtu(&mut self, mtu: u16) {
        self.registry.set_outside_mtu(mtu);
        self.pipeline.set_outside_mtu(mtu);
    }

    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl core::fmt::Debug for Controlled {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.pipeline.fmt(f)
    }
}

impl Deref for Controlled {
    type Target = Pipeline<VecPacket>;

    fn deref(&self) -> &Self::Target {
        &self.pipeline
    }
}

impl DerefMut for Controlled {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.pipeline
    }
}
