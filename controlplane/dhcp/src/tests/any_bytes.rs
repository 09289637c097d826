use crate::fuzz::{self, Step};
use proptest::collection::vec;
use proptest::prelude::*;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        vec(any::<u8>(), 0..600).prop_map(Step::Bytes),
        (0u8..12, vec(any::<u8>(), 0..200)).prop_map(|(kind, bytes)| Step::Reply(kind, bytes)),
        (0u32..100_000).prop_map(Step::Wait),
        Just(Step::LinkDown),
        Just(Step::Start),
        Just(Step::Release),
        Just(Step::Conflict),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn v4_survives_any_server(steps in vec(step(), 0..40)) {
        fuzz::exchange_v4(steps);
    }

    #[test]
    fn v6_survives_any_server(steps in vec(step(), 0..40)) {
        fuzz::exchange_v6(steps);
    }

    #[test]
    fn the_fuzzers_read_any_bytes(bytes in vec(any::<u8>(), 0..2000)) {
        fuzz::dhcp_v4(&bytes);
        fuzz::dhcp_v6(&bytes);
    }
}
