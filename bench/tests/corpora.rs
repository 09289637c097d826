//! Every input that fuzzing has found worth keeping, once more: `bench/fuzz/README.md`.

use std::fs;
use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus of a target is committed") {
        let path = entry.expect("a folder that can be read").path();
        let bytes = fs::read(&path).expect("an input that can be read");
        // Shown when the test fails: the last one is the culprit.
        eprintln!("{}", path.display());
        run(&bytes);
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

macro_rules! targets {
    ($($name:ident => $run:path),* $(,)?) => { $(
        #[test]
        fn $name() {
            replay(stringify!($name), $run);
        }
    )* };
}

targets! {
    ike_message => sipsec_ike::fuzz::message,
    ike_payload => sipsec_ike::fuzz::payload,
    ike_certificate => sipsec_ike::fuzz::certificate,
    ike_endpoint => sipsec_ike::fuzz::endpoint,
    sip_datagram => sipsec_sip::fuzz::datagram,
    sip_dialog => sipsec_sip::fuzz::dialog,
    sip_framing => sipsec_sip::fuzz::framing,
    sip_locate => sipsec_sip::fuzz::locate,
    sdp => sipsec_sip::fuzz::sdp,
    dhcp_v4 => sipsec_dhcp::fuzz::dhcp_v4,
    dhcp_v6 => sipsec_dhcp::fuzz::dhcp_v6,
    pipeline => sipsec_pipeline::testing::fuzz,
    abi_slot => sipsec_abi::fuzz::slot,
}
