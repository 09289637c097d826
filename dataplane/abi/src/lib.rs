//! Every byte that two processes share: ring, segment, handshake, counters.
