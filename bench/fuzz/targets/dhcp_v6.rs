#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sipsec_dhcp::fuzz::dhcp_v6(bytes));
