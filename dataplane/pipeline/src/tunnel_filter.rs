//! A tunnel's filters: which packets are worth a call, and which are a sign that it is in use.

use crate::parse::Info;
use sipsec_net::filter::{FilterFacts, FilterRule, FilterUse, permits};

/// Behind one pointer, because few tunnels have any.
#[derive(Debug, Default)]
pub(crate) struct TunnelFilters(Option<Box<[Vec<FilterRule>; 2]>>);

const fn place(used: FilterUse) -> usize {
    match used {
        FilterUse::Trigger => 0,
        FilterUse::Idle => 1,
    }
}

impl TunnelFilters {
    /// The number of rules was validated.
    pub(crate) fn add(&mut self, used: FilterUse, rule: FilterRule) {
        self.0.get_or_insert_default()[place(used)].push(rule);
    }

    pub(crate) fn clear(&mut self, used: FilterUse) {
        if let Some(filters) = &mut self.0 {
            filters[place(used)].clear();
            self.0.take_if(|f| f.iter().all(Vec::is_empty));
        }
    }

    /// A packet that leaves is worth a call.
    #[inline]
    pub(crate) fn triggers(&self, info: &Info) -> bool {
        self.0.is_none() || self.permits(FilterUse::Trigger, facts(info))
    }

    /// A packet that leaves is a sign of use.
    #[inline]
    pub(crate) fn counts_out(&self, info: &Info) -> bool {
        !info.hello && (self.0.is_none() || self.permits(FilterUse::Idle, facts(info)))
    }

    /// A packet that has come in is a sign of use.
    #[inline]
    pub(crate) fn counts_in(&self, info: &Info) -> bool {
        !info.hello && (self.0.is_none() || self.permits(FilterUse::Idle, facts(info).reversed()))
    }

    #[cold]
    fn permits(&self, used: FilterUse, facts: FilterFacts) -> bool {
        let rules = self.0.as_ref().map(|f| &f[place(used)]).filter(|rules| !rules.is_empty());
        rules.is_none_or(|rules| permits(rules, &facts))
    }
}

fn facts(info: &Info) -> FilterFacts {
    FilterFacts {
        protocol: info.protocol,
        source: info.source,
        destination: info.destination,
        ports: info.ports,
        dscp: info.class >> 2,
        len: info.len,
    }
}
