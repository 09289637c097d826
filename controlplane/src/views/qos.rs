//! Classes of tunnels, as the dataplane counts them.

use crate::api::model::{PolicePart, PolicyClass, PolicyMap};
use crate::api::{Page, Reply, Target};
use crate::runtime::Runtime;
use sipsec_net::dp::{OuterDscp, TunnelActivity};
use sipsec_net::qos::{ClassActivity, ClassSpec, PoliceAction, QosActivity, Share};
use sipsec_session::TunnelConfig;

impl Runtime {
    pub(super) fn policy_maps(&mut self, target: &Target, page: Page) -> Reply {
        let configs = self.core.tunnel_configs_in(page.places());
        let meant = configs.filter(|c| target.covers(&c.name, c.remote_number));
        let list = meant.map(|c| policy_map(c, self.link.qos(c.id()), self.link.activity(c.id()))).collect();
        Reply::PolicyMaps(list, page.next(self.core.session_places()))
    }
}

fn policy_map(
    config: &TunnelConfig,
    counted: Option<QosActivity>,
    carried: Option<TunnelActivity>,
) -> PolicyMap {
    let qos = &config.qos;
    let specs = qos.spec.classes().iter().zip(&qos.class_names).enumerate();
    let of = |i: usize| counted.as_ref().and_then(|q| q.classes().get(i).copied()).unwrap_or_default();
    let mut classes: Vec<PolicyClass> = specs.map(|(i, (spec, name))| class(name, spec, &of(i))).collect();
    let carried = carried.unwrap_or_default();
    if qos.spec.is_plain()
        && let [only] = &mut classes[..]
    {
        only.packets = only.packets.max(carried.packets_out);
    }
    let exceeded = counted.map_or((0, 0), |q| (q.exceeded, q.exceeded_bytes));
    let (exceed, dscp) = match qos.spec.police.action {
        PoliceAction::Off => ("off", None),
        PoliceAction::Count => ("count", None),
        PoliceAction::Mark(dscp) => ("mark", Some(dscp)),
        PoliceAction::Drop => ("drop", None),
    };
    let accepted_above = if qos.spec.police.action == PoliceAction::Drop { 0 } else { exceeded.0 };
    PolicyMap {
        interface: config.name.clone(),
        policy: qos.policy.clone(),
        rate_kbps: counted.map_or(0, |q| q.rate_kbps),
        fails_calls: qos.fails_calls,
        // The default class last, as in IOS.
        classes: classes.iter().skip(1).chain(classes.first()).cloned().collect(),
        police: PolicePart {
            exceed: exceed.to_owned(),
            dscp,
            burst_ms: qos.spec.police.burst_ms,
            conformed_packets: carried.packets_in.saturating_sub(accepted_above),
            exceeded_packets: exceeded.0,
            exceeded_bytes: exceeded.1,
        },
    }
}

fn class(name: &str, spec: &ClassSpec, counted: &ClassActivity) -> PolicyClass {
    let share = |share: Share| match share {
        Share::Kbps(kbps) => format!("{kbps} kbps"),
        Share::Percent(percent) => format!("{percent} %"),
    };
    PolicyClass {
        name: name.to_owned(),
        priority: spec.priority,
        guarantee: spec.guarantee.map(share),
        ceiling: spec.ceiling.map(share),
        outer_dscp: spec.outer_dscp.map(|dscp| match dscp {
            OuterDscp::CopyInner => "copy".to_owned(),
            OuterDscp::Fixed(dscp) => dscp.to_string(),
        }),
        packets: counted.packets,
        bytes: counted.bytes,
        delayed: counted.delayed,
        delay_p50_us: counted.delay_p50_us,
        delay_p99_us: counted.delay_p99_us,
        queued_packets: counted.queued_packets,
        queued_bytes: counted.queued_bytes,
        drops_full: counted.drops_full,
        drops_aqm: counted.drops_aqm,
        ecn_marks: counted.marks,
    }
}
