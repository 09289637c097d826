//! SIP user agent (RFC 3261) and SDP (RFC 6193) as a sans-IO core.
