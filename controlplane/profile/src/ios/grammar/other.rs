//! Modes of which the report needs to know what belongs together.

use super::{Command, ignore};
use crate::ios::report::Class::System;

const PROBE: Command = ignore(System, "a probe is not imported");
const RULE: Command = Command::Member;

pub const SLA: &[(&str, Command)] = &[
    ("icmp-echo", PROBE),
    ("icmp-jitter", PROBE),
    ("tcp-connect", PROBE),
    ("udp-jitter", PROBE),
    ("udp-echo", PROBE),
    ("http", PROBE),
    ("dns", PROBE),
    ("dhcp", PROBE),
    ("ftp", PROBE),
    ("path-echo", PROBE),
    ("path-jitter", PROBE),
    ("ethernet", PROBE),
    ("mpls", PROBE),
    ("type", PROBE),
    ("frequency", PROBE),
    ("threshold", PROBE),
    ("timeout", PROBE),
    ("tag", PROBE),
    ("owner", PROBE),
    ("tos", PROBE),
    ("traffic-class", PROBE),
    ("request-data-size", PROBE),
    ("verify-data", PROBE),
    ("data-pattern", PROBE),
    ("vrf", PROBE),
    ("history", PROBE),
    ("exit", Command::Exit),
];

pub const TRACK: &[(&str, Command)] = &[
    ("delay", Command::Delay),
    ("object", ignore(System, "a probe is not imported")),
    ("threshold", PROBE),
    ("default-state", PROBE),
    ("ip vrf", PROBE),
    ("carrier-delay", PROBE),
    ("exit", Command::Exit),
];

/// A line of an access list, with or without a sequence number before it.
pub const ACL: &[(&str, Command)] = &[
    ("permit", RULE),
    ("deny", RULE),
    ("remark", RULE),
    ("evaluate", RULE),
    ("dynamic", RULE),
    ("sequence", RULE),
    ("exit", Command::Exit),
];

pub const ROUTE_MAP: &[(&str, Command)] =
    &[("match", RULE), ("set", RULE), ("description", RULE), ("continue", RULE), ("exit", Command::Exit)];

pub const CLASS_MAP: &[(&str, Command)] = &[("match", RULE), ("description", RULE), ("exit", Command::Exit)];

pub const POLICY_MAP: &[(&str, Command)] = &[
    ("class", RULE),
    ("description", RULE),
    ("priority", RULE),
    ("bandwidth", RULE),
    ("shape", RULE),
    ("police", RULE),
    ("set", RULE),
    ("queue-limit", RULE),
    ("queue-buffers", RULE),
    ("fair-queue", RULE),
    ("random-detect", RULE),
    ("service-policy", RULE),
    ("drop", RULE),
    ("inspect", RULE),
    ("pass", RULE),
    ("conform-action", RULE),
    ("exceed-action", RULE),
    ("violate-action", RULE),
    ("exit", Command::Exit),
];

pub const ZONE_PAIR: &[(&str, Command)] =
    &[("service-policy", RULE), ("description", RULE), ("exit", Command::Exit)];

pub const VRF: &[(&str, Command)] = &[
    ("rd", RULE),
    ("address-family", RULE),
    ("exit-address-family", RULE),
    ("route-target", RULE),
    ("import", RULE),
    ("export", RULE),
    ("description", RULE),
    ("maximum routes", RULE),
    ("vpn", RULE),
    ("exit", Command::Exit),
];

pub const APPLET: &[(&str, Command)] = &[
    ("event", RULE),
    ("action", RULE),
    ("trigger", RULE),
    ("set", RULE),
    ("description", RULE),
    ("correlate", RULE),
    ("attribute", RULE),
    ("exit", Command::Exit),
];
