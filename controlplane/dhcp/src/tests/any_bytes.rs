use crate::v4::{self, Wanted};
use crate::v6;
use proptest::collection::vec;
use proptest::prelude::*;
use sipsec_net::Instant;
use sipsec_net::entropy::TestEntropy;
use std::time::Duration;

/// One step of an exchange with a server that has no manners.
#[derive(Clone, Debug)]
enum Step {
    Bytes(Vec<u8>),
    /// The last message of the client, made a reply of this kind with this options field behind it.
    Reply(u8, Vec<u8>),
    Wait(u32),
    LinkDown,
    Start,
    Release,
    Conflict,
}

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

    /// Any server: no panic, a bounded number of outputs for each input, and a timer whenever the client is not idle.
    #[test]
    fn v4_survives_any_server(steps in vec(step(), 0..40)) {
        let mut entropy = TestEntropy::new(1);
        let mut client = v4::Client::new(v4::Config {
            mac: [2, 0, 0, 0, 0, 1],
            wanted: Wanted::Address,
            client_id: None,
            vendor_class: Some(v4::VendorClass::ntt([2, 0, 0, 0, 0, 1])),
            host_name: None,
            last: None,
        });
        let mut now = Instant::from_nanos(1);
        client.start(now, &mut entropy);
        let mut last = Vec::new();
        for step in steps {
            match step {
                Step::Bytes(bytes) => client.handle_message(now, &bytes, &mut entropy),
                Step::Reply(kind, tail) => {
                    let mut bytes: Vec<u8> = last.clone();
                    if bytes.len() >= 240 {
                        bytes[0] = 2;
                        bytes[16..20].copy_from_slice(&[192, 0, 2, 7]);
                        bytes.truncate(240);
                        bytes.extend_from_slice(&[53, 1, kind, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 1, 0]);
                        bytes.extend_from_slice(&tail);
                    }
                    client.handle_message(now, &bytes, &mut entropy);
                }
                Step::Wait(ms) => {
                    now = now + Duration::from_millis(u64::from(ms));
                    if client.poll_timeout().is_some_and(|at| at <= now) {
                        client.handle_timeout(now, &mut entropy);
                    }
                }
                Step::LinkDown => client.link_down(),
                Step::Start => client.start(now, &mut entropy),
                Step::Release => client.release(now),
                Step::Conflict => client.handle_conflict(now, [192, 0, 2, 7].into()),
            }
            let mut outputs = 0;
            while let Some(output) = client.poll_output() {
                outputs += 1;
                if let v4::Output::Send { payload, .. } = output {
                    last = payload;
                }
            }
            prop_assert!(outputs <= 3);
            prop_assert!(client.phase() == v4::Phase::Stopped || client.poll_timeout().is_some());
        }
    }

    #[test]
    fn v6_survives_any_server(steps in vec(step(), 0..40)) {
        let mut entropy = TestEntropy::new(1);
        let duid = v6::Duid::link_layer([2, 0, 0, 0, 0, 1]);
        let mut client = v6::Client::new(v6::Config {
            duid: duid.clone(),
            iaid: 7,
            wanted: v6::Wanted::Lease { address: true, prefix: true },
            vendor_class: None,
        });
        let mut now = Instant::from_nanos(1);
        client.start(now, &mut entropy);
        let mut last = vec![0; 4];
        for step in steps {
            match step {
                Step::Bytes(bytes) => client.handle_message(now, &bytes, &mut entropy),
                Step::Reply(kind, tail) => {
                    let mut bytes = vec![if kind % 2 == 0 { 2 } else { 7 }, last[1], last[2], last[3]];
                    bytes.extend_from_slice(&[0, 1, 0, duid.as_bytes().len() as u8]);
                    bytes.extend_from_slice(duid.as_bytes());
                    bytes.extend_from_slice(&[0, 2, 0, 3, 0, 3, kind]);
                    bytes.extend_from_slice(&tail);
                    client.handle_message(now, &bytes, &mut entropy);
                }
                Step::Wait(ms) => {
                    now = now + Duration::from_millis(u64::from(ms));
                    if client.poll_timeout().is_some_and(|at| at <= now) {
                        client.handle_timeout(now, &mut entropy);
                    }
                }
                Step::LinkDown => client.link_down(),
                Step::Start => client.start(now, &mut entropy),
                Step::Release => client.release(now, &mut entropy),
                Step::Conflict => client.handle_conflict(now, "2001:db8::7".parse().unwrap(), &mut entropy),
            }
            let mut outputs = 0;
            while let Some(output) = client.poll_output() {
                outputs += 1;
                if let v6::Output::Send { payload } = output {
                    last = payload;
                }
            }
            prop_assert!(outputs <= 3);
            prop_assert!(client.phase() == v6::Phase::Stopped || client.poll_timeout().is_some());
        }
    }
}
