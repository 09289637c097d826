//! The XDP program that steers tunnel traffic to AF_XDP, and its loader.
