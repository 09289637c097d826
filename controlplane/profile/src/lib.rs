//! The profile of a gateway: its model, the YAML reader, checks and importers. Pure: the callers read and write files.
#![forbid(unsafe_code)]

pub mod ios;
