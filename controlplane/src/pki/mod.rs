//! Certificates as files: read and judged for the gateway, made and imported for the operator.

pub mod credential;
pub mod files;
pub mod make;
