#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sipsec_ike::fuzz::endpoint(bytes));
