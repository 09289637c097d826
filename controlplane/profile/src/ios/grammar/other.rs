//! Modes of which the report needs to know what belongs together.

use super::{Command, ignore};
use crate::ios::report::Class::System;

const PROBE: Command = ignore(System, "of no matter to the gateway's probes");
const RULE: Command = Command::Member;

pub const SLA: &[(&str, Command)] = &[
    ("icmp-echo", Command::SlaEcho),
    ("icmp-jitter", Command::SlaJitter),
    ("tcp-connect", Command::SlaTcp),
    ("udp-jitter", Command::SlaOther),
    ("udp-echo", Command::SlaUdp),
    ("http", Command::SlaHttp),
    ("https", Command::SlaOther),
    ("dns", Command::SlaDns),
    ("dhcp", Command::SlaOther),
    ("ftp", Command::SlaOther),
    ("path-echo", Command::SlaOther),
    ("path-jitter", Command::SlaOther),
    ("ethernet", Command::SlaOther),
    ("mpls", Command::SlaOther),
    ("voip", Command::SlaOther),
    ("type", Command::SlaType),
    ("frequency", Command::SlaFrequency),
    ("threshold", Command::SlaThreshold),
    ("timeout", Command::SlaTimeout),
    ("tag", Command::SlaText),
    ("owner", PROBE),
    ("tos", PROBE),
    ("traffic-class", PROBE),
    ("flow-label", PROBE),
    ("precision", PROBE),
    ("request-data-size", PROBE),
    ("verify-data", PROBE),
    ("data-pattern", PROBE),
    ("vrf", Command::SlaVrf),
    ("vrfName", Command::SlaVrf),
    ("history", PROBE),
    ("buckets-of-history-kept", PROBE),
    ("distributions-of-statistics-kept", PROBE),
    ("enhanced-history", PROBE),
    ("filter-for-history", PROBE),
    ("hours-of-statistics-kept", PROBE),
    ("lives-of-history-kept", PROBE),
    ("samples-of-history-kept", PROBE),
    ("statistics-distribution-interval", PROBE),
    ("exit", Command::Exit),
];

pub const TRACK: &[(&str, Command)] = &[
    ("delay", Command::Delay),
    ("object", Command::TrackObject),
    ("threshold", Command::TrackThreshold),
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
