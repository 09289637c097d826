//! The packet pipeline: pure, bounded, allocation-free after build.
