//! The filters that tunnels name exist, and can permit something.

use crate::diagnose::{Problem, Sink, nearest};
use crate::model::filter::{Action, ROUTING};
use crate::model::{FilterLine, Profile};
use crate::read::KeyPath;
use std::collections::HashSet;

pub fn check(profile: &Profile, sink: &Sink) {
    let known: HashSet<&str> = profile.filters.iter().map(|f| f.name.as_str()).chain([ROUTING]).collect();
    let root = KeyPath::dotted("tunnels");
    for (i, tunnel) in profile.tunnels.iter().enumerate().take_while(|_| !sink.is_full()) {
        for (key, name) in [("trigger_filter", &tunnel.trigger_filter), ("idle_filter", &tunnel.idle_filter)]
        {
            let Some(name) = name.as_deref().filter(|name| !known.contains(name)) else { continue };
            let message = format!("{} names the filter {name}, which `filters` does not have", tunnel.name);
            let hint = match nearest(name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "add it to `filters`, or write `routing`, which is always there".to_owned(),
            };
            let problem = Problem::error("filters::unknown", &root.index(i).key(key), message);
            sink.push(problem.label("no such filter").hint(hint));
        }
    }
    let root = KeyPath::dotted("filters");
    for (i, filter) in profile.filters.iter().enumerate() {
        let at = root.index(i).key("rules");
        if filter.rules.iter().all(|rule| rule.action == Action::Deny) {
            let message = format!("the filter {} permits nothing", filter.name);
            let problem = Problem::warning("filters::denies-all", &at, message);
            sink.push(problem.hint("end it with `- { action: permit }` to permit the rest"));
        }
        let all = FilterLine::default().rule();
        let agrees_with_all = |rule: &FilterLine| {
            let mut compared = rule.rule();
            compared.permit = all.permit;
            compared == all
        };
        let last = filter.rules.len() - 1;
        if let Some(place) = filter.rules.iter().position(agrees_with_all).filter(|place| *place < last) {
            let message = "rules after the one that agrees with every packet are never asked".to_owned();
            let problem = Problem::warning("filters::unreachable", &at.index(place), message);
            sink.push(problem.hint("move it to the end"));
        }
    }
}
