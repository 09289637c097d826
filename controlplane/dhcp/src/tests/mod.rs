//! Both clients against scripted servers and against arbitrary bytes.
#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing fails")]

mod any_bytes;
mod v4;
mod v4_options;
mod v6;
