//! Benchmarks, the lab carrier and the end-to-end tests.

pub mod lab;
