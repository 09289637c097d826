#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sipsec_sip::fuzz::locate(bytes));
