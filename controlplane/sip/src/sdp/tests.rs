use super::*;
use crate::message::Body;
use sipsec_net::HashFunc;

const SHA256: &str =
    "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:00:01:02:03:04:05:06:07:08:09:0A:0B";
const SHA1: &str = "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB";

fn offer_text(media: &str) -> String {
    format!(
        "v=0\r\no=- 3786512345 3786512345 IN IP4 198.51.100.6\r\ns=-\r\nc=IN IP4 198.51.100.6\r\nt=0 0\r\n\
         m=application 50001 udp ike-esp-udpencap\r\n{media}"
    )
}

fn parse(media: &str) -> Result<SessionDescription, SdpError> {
    SessionDescription::parse(offer_text(media).as_bytes())
}

fn ours(setup: IkeSetup, kbps: u32) -> IkeMedia {
    IkeMedia {
        addr: "198.51.100.7:50002".parse().expect("address"),
        bandwidth: Some(Kbps(kbps)),
        setup: Some(setup),
        fingerprints: Vec::new(),
        psk_fingerprints: Vec::new(),
    }
}

/// The reference offer, byte for byte, and back.
#[test]
fn the_offer_on_the_wire() {
    let mut media = ours(IkeSetup::Active, 512);
    media.addr = "198.51.100.6:50001".parse().expect("address");
    media.fingerprints = [format!("sha-256 {SHA256}"), format!("sha-1 {SHA1}")]
        .iter()
        .map(|f| f.parse().expect("fingerprint"))
        .collect();
    let offer = SessionDescription::new(3_786_512_345, media);
    let text = offer_text(&format!(
        "b=AS:512\r\na=ike-setup:active\r\na=fingerprint:sha-256 {SHA256}\r\na=fingerprint:sha-1 {SHA1}\r\n"
    ));
    assert_eq!(offer.to_string(), text);
    assert_eq!(SessionDescription::parse(text.as_bytes()), Ok(offer));
}

/// T1, T2 and the whole table of RFC 6193 §4.
#[test]
fn who_starts_ike() {
    use IkeSetup::{Active, Actpass, Passive};
    let answering = |line: &str| {
        let offer = parse(&format!("b=AS:64\r\n{line}")).expect("valid");
        negotiate_answering(&offer.ike, &ours(Passive, 64)).expect("agreed").role
    };
    assert_eq!(answering(""), SetupRole::Passive, "T1: active is the default of an offer");
    assert_eq!(answering("a=ike-setup:passive\r\n"), SetupRole::Active, "T2");
    assert_eq!(answering("a=ike-setup:actpass\r\n"), SetupRole::Passive);
    assert_eq!(answering("a=IKE-setup:Active\r\n"), SetupRole::Passive, "literals have no case");
    let offered = |ours_is, line: &str| {
        let answer = parse(&format!("b=AS:64\r\n{line}")).expect("valid");
        negotiate_offered(&ours(ours_is, 64), &answer.ike).map(|n| n.role)
    };
    assert_eq!(offered(Active, ""), Ok(SetupRole::Active), "passive is the default of an answer");
    assert_eq!(offered(Active, "a=ike-setup:active\r\n"), Err(SdpError::SetupConflict("active")));
    assert_eq!(offered(Passive, "a=ike-setup:active\r\n"), Ok(SetupRole::Passive));
    assert_eq!(offered(Passive, ""), Err(SdpError::SetupConflict("passive")));
    assert_eq!(offered(Actpass, "a=ike-setup:active\r\n"), Ok(SetupRole::Passive));
    assert_eq!(offered(Actpass, "a=ike-setup:passive\r\n"), Ok(SetupRole::Active));
    assert!(matches!(offered(Active, "a=ike-setup:actpass\r\n"), Err(SdpError::BadSetup(_))));
    // T3: holdconn is not defined here.
    let error = parse("b=AS:64\r\na=ike-setup:holdconn\r\n").expect_err("unknown");
    assert_eq!((&error, error.status()), (&SdpError::BadSetup("holdconn".into()), 488));
}

/// T4: the strongest set decides alone. T5: any case is read. T17: the session's value is inherited.
#[test]
fn fingerprints() {
    let lower = SHA256.to_lowercase();
    let offer = parse(&format!(
        "b=AS:64\r\na=fingerprint:SHA-1 {SHA1}\r\na=fingerprint:sha-256 {lower}\r\na=fingerprint:md5 00:11\r\n"
    ))
    .expect("valid");
    assert_eq!(offer.ike.fingerprints.len(), 2, "md5 is not verified");
    let agreed = negotiate_answering(&offer.ike, &ours(IkeSetup::Passive, 64)).expect("agreed");
    assert_eq!(agreed.fingerprints, vec![format!("sha-256 {SHA256}").parse().expect("fingerprint")]);
    assert!(offer.to_string().contains(SHA256), "T5: upper case is written");

    let session = offer_text("b=AS:64\r\n").replace(
        "t=0 0\r\n",
        &format!("t=0 0\r\na=fingerprint:sha-1 {SHA1}\r\na=psk-fingerprint:sha-1 {SHA1}\r\n"),
    );
    let inherited = SessionDescription::parse(session.as_bytes()).expect("valid").ike;
    assert_eq!(inherited.fingerprints[0].hash(), HashFunc::Sha1);
    assert_eq!(inherited.psk_fingerprints.len(), 1);
    let own = session + &format!("a=fingerprint:sha-256 {SHA256}\r\n");
    let own = SessionDescription::parse(own.as_bytes()).expect("valid").ike.fingerprints;
    assert_eq!(own.iter().map(Fingerprint::hash).collect::<Vec<_>>(), [HashFunc::Sha256]);

    for (line, why) in [
        ("a=fingerprint:md5 00:11\r\n", "only hash functions that must not be used"),
        ("a=fingerprint:sha-1 00:11\r\n", "length"),
        ("a=fingerprint:sha-1\r\n", "syntax"),
        // RFC 6193 §6.1: the backslash is the printer's; the value must be on the line.
        ("a=fingerprint:sha-1 \\\r\n", "syntax"),
    ] {
        assert_eq!(parse(&format!("b=AS:64\r\n{line}")), Err(SdpError::BadFingerprint(why)), "{line}");
    }
}

/// T7, T8, T9 and the other ways in which an IKE media can be of no use.
#[test]
fn port_rate_and_address() {
    let answer = |text: &str| {
        SessionDescription::of_answer(if text.is_empty() { Body::None } else { Body::Sdp(text.as_bytes()) })
    };
    let good = offer_text("b=AS:64\r\n");
    assert_eq!(answer(&good.replace(" 50001 ", " 0 ")), Err(SdpError::Refused), "T7");
    let none = parse("").expect("valid");
    let offer = ours(IkeSetup::Active, 1000);
    assert_eq!(negotiate_offered(&offer, &none.ike), Err(SdpError::MissingBandwidth), "T8");
    let agreed =
        negotiate_offered(&offer, &parse("b=TIAS:1\r\nb=as:64\r\n").expect("valid").ike).expect("agreed");
    assert_eq!(
        (agreed.rate, agreed.remote),
        (Kbps(64), "198.51.100.6:50001".parse().expect("address")),
        "T9"
    );
    // RFC 8866 §5.8: the session's if the media has none; anywhere in the section.
    let at_session = offer_text("").replace("t=0 0\r\n", "b=AS:77\r\nt=0 0\r\n");
    assert_eq!(answer(&at_session).expect("valid").ike.bandwidth, Some(Kbps(77)));
    assert_eq!(parse("a=ike-setup:active\r\nb=AS:512\r\n").expect("valid").ike.bandwidth, Some(Kbps(512)));
    for kbps in ["0", "4294967296"] {
        assert_eq!(parse(&format!("b=AS:{kbps}\r\n")), Err(SdpError::BadBandwidth), "{kbps}");
    }
    // T20.
    let v6 = good.replace("c=IN IP4 198.51.100.6", "c=IN IP6 2001:db8::6");
    let v6 = answer(&v6).expect("valid");
    assert_eq!(v6.ike.addr, "[2001:db8::6]:50001".parse().expect("address"));
    assert!(v6.to_string().contains("c=IN IP6 2001:db8::6\r\n"));
    for c in [
        "IN IP4 0.0.0.0",
        "IN IP4 224.0.0.1/16",
        "IN IP4 /24",
        "IN IP4",
        "IN IP6 ::ffff:224.0.0.1",
        "IN IP6 ::ffff:0.0.0.0",
        "IN IP6 fe80::1%eth0",
        "IN IP6 198.51.100.6",
        "IN IP4 peer.example",
        "ATM IP4 1.2.3.4",
    ] {
        let text = good.replace("c=IN IP4 198.51.100.6", &format!("c={c}"));
        assert_eq!(answer(&text), Err(SdpError::BadConnection), "{c}");
    }
    let m = "m=application 50001 udp ike-esp-udpencap";
    assert_eq!(answer(&good.replace(m, "m=application 500 udp ike-esp")), Err(SdpError::PlainEsp));
    // The other profile of the same service: bare IP packets.
    assert_eq!(answer(&good.replace(m, "m=application 50001 udp octet-stream")), Err(SdpError::NoIkeMedia));
    assert_eq!(answer(&format!("{good}{m}\r\n")), Err(SdpError::SeveralIkeMedia));
    assert_eq!(answer(&format!("{good}m=audio 4000 RTP/AVP 0\r\n")), Err(SdpError::MediaMismatch));
    assert_eq!(answer("").expect_err("empty").status(), 488);
    assert_eq!(answer("hello").expect_err("no SDP").status(), 400);
}

/// T18: foreign media keep their place with port 0. T19: lines may end in LF.
#[test]
fn media_that_is_not_ours_is_refused_in_place() {
    let text = "v=0\no=peer 1 2 IN IP4 192.0.2.1\ns=x\nc=IN IP4 192.0.2.1\nt=0 0\n\
                m=audio 4000 RTP/AVP 0 8\na=rtpmap:0 PCMU/8000\n\
                m=application 50001 udp ike-esp-udpencap\nb=AS:100\na=candidate:1 1 UDP 1 192.0.2.1 9 typ host\n\
                m=video 4002/2 RTP/AVP 31\n";
    let offer = SessionDescription::parse(text.as_bytes()).expect("valid");
    let answer = SessionDescription::new(7, ours(IkeSetup::Passive, 64)).answering(&offer);
    let lines: Vec<_> =
        answer.to_string().lines().filter(|l| l.starts_with("m=")).map(str::to_owned).collect();
    assert_eq!(
        lines,
        ["m=audio 0 RTP/AVP 0 8", "m=application 50002 udp ike-esp-udpencap", "m=video 0 RTP/AVP 31"]
    );
}

/// IKE cannot go from IPv4 to IPv6: found before anything is answered.
#[test]
fn both_sides_have_one_address_family() {
    let mut offer = parse("b=AS:64\r\n").expect("valid");
    offer.ike.addr = "[2001:db8::6]:50001".parse().expect("address");
    let ours = ours(IkeSetup::Passive, 64);
    let refused = Err(SdpError::AddressFamily);
    assert_eq!(negotiate_answering(&offer.ike, &ours), refused);
    offer.ike.setup = Some(IkeSetup::Active);
    assert_eq!(negotiate_offered(&ours, &offer.ike), refused);
    assert_eq!(SdpError::AddressFamily.status(), 488);
}

/// RFC 8866 §5.8: a line that is not used, or used with blanks at its end, does not make the description useless.
#[test]
fn lines_that_say_nothing_about_the_vpn_are_passed_over() {
    let good = offer_text("b=AS:512\r\na=ike-setup:active\r\n");
    let expected = SessionDescription::parse(good.as_bytes()).expect("valid").ike;
    let o = "o=- 3786512345 3786512345 IN IP4 198.51.100.6\r\n";
    for (what, with) in [
        ("v=0\r\n", "v=0 \r\n"),
        ("v=0\r\n", "\r\nv=0\t\r\n"),
        (o, "o=- x\r\n"),
        (o, ""),
        (o, "o=\r\n"),
        ("s=-\r\n", ""),
        ("s=-\r\n", "s=\r\n"),
        ("t=0 0\r\n", ""),
        ("t=0 0\r\n", "t=now\r\nr=x\r\nz=1\r\nk=\r\n"),
        ("b=AS:512\r\n", "b=AS:512 \r\n"),
        ("b=AS:512\r\n", "b= AS : 512\t\r\n"),
        ("b=AS:512\r\n", "b=AS:512\r\nb=X-FOO:-1\r\n"),
        ("b=AS:512\r\n", "b=TIAS:512000.0\r\nb=AS:512\r\n"),
        ("b=AS:512\r\n", "b=RS\r\nb=\r\nb=AS:512\r\n"),
        ("a=ike-setup:active\r\n", "a=ike-setup:active \r\na=\r\na=:\r\na\r\n=\r\nx=y\r\njunk\r\n"),
        ("c=IN IP4 198.51.100.6\r\n", "c=IN  IP4 198.51.100.6 \r\n"),
        ("c=IN IP4 198.51.100.6\r\n", " c = IN IP4 198.51.100.6/127 x\r\n"),
        ("c=IN IP4 198.51.100.6\r\n", "c=IN IP6 ::ffff:198.51.100.6\r\n"),
        ("c=IN IP4 198.51.100.6\r\n", "c=IN IP6 ::FFFF:C633:6406\r\n"),
        ("v=0\r\n", "\u{feff}v=0\r\n"),
        ("a=ike-setup", "a=fmtp:ike-esp-udpencap x\r\na=mid:1\r\na=sendrecv\r\n\0\r\n\ta=ike-setup"),
        ("m=application 50001 udp", "m=application  50001/1 UDP"),
        ("a=ike-setup", "i=\u{fffd}\r\na=ike-setup"),
    ] {
        let text = good.replacen(what, with, 1);
        assert_eq!(SessionDescription::parse(text.as_bytes()).map(|s| s.ike), Ok(expected.clone()), "{with}");
    }
    let latin = [b"v=0\r\ns=B\xfcro\r\n", good.split_once("s=-\r\n").expect("s=").1.as_bytes()].concat();
    assert_eq!(SessionDescription::parse(&latin).map(|s| s.ike), Ok(expected));
    for (value, error) in [
        ("-1", SdpError::BadBandwidth),
        ("+512", SdpError::BadBandwidth),
        ("512.0", SdpError::BadBandwidth),
        ("", SdpError::BadBandwidth),
    ] {
        assert_eq!(parse(&format!("b=AS:{value}\r\n")), Err(error), "{value}");
    }
    for (text, error) in [
        (good.replacen("v=0", "v=1", 1), SdpError::Syntax),
        (good.replacen("v=0\r\n", "", 1), SdpError::Syntax),
        (good.replacen(" 50001 ", " x ", 1), SdpError::Syntax),
        (good.replacen(" 50001 ", " 65536 ", 1), SdpError::Syntax),
        (good.replacen("IN IP4 198.51.100.6\r\nt", "IN IP4\r\nt", 1), SdpError::BadConnection),
        (format!("v=0\r\n{}", "m=audio 1 RTP/AVP 0\r\n".repeat(17)), SdpError::TooLong),
    ] {
        assert_eq!(SessionDescription::parse(text.as_bytes()), Err(error), "{text}");
    }
}

/// RFC 3264 §6: foreign media are refused in their place, however their line looks.
#[test]
fn a_foreign_media_line_may_be_anything() {
    for (line, refused) in [
        ("m=audio 0 RTP/AVP", "m=audio 0 RTP/AVP 0"),
        ("m=audio 0", "m=audio 0 RTP/AVP 0"),
        ("m=", "m=audio 0 RTP/AVP 0"),
        ("m=image 99999 udptl t3\u{7}8", "m=image 0 udptl t3?8"),
        // What is left of it must not become a VPN.
        ("m=application 5 udp ike-esp-udp\u{7}encap", "m=application 0 udp ike-esp-udp?encap"),
        ("m=audio 4000/2 RTP/AVP 0 8 ", "m=audio 0 RTP/AVP 0 8"),
    ] {
        let text = offer_text(&format!("b=AS:512\r\n{line}\r\n"));
        let offer = SessionDescription::parse(text.as_bytes()).expect(line);
        assert_eq!(offer.others, [refused], "{line}");
        let answer = SessionDescription::new(7, ours(IkeSetup::Passive, 64)).answering(&offer);
        assert!(answer.to_string().ends_with(&format!("{refused}\r\n")));
    }
}

/// RFC 3261 §20.43, §25.1: what a peer wrote into its SDP cannot end the quoted text of our Warning.
#[test]
fn a_warning_is_a_quoted_string() {
    for value in ["pas\"sive", "a\\", "bel\u{7}l", "tab\tbed", "\u{1b}[31m"] {
        let error = parse(&format!("b=AS:64\r\na=ike-setup:{value}\r\n")).expect_err("unknown");
        let warning = error.warning();
        let text = warning.strip_prefix("399 sipsec ").expect("code and agent");
        assert!(crate::message::unquote(text).is_some(), "{warning}");
        assert!(!warning.contains(char::is_control), "{warning:?}");
    }
}

/// RFC 8122 §5.1: the strongest function is checked, so one that cannot be read beside it decides nothing; if it is the
/// strongest itself, nothing weaker takes its place.
#[test]
fn a_fingerprint_that_cannot_be_read_beside_one_that_can() {
    let good = format!("a=fingerprint:sha-256 {SHA256}\r\n");
    for beside in [
        "a=fingerprint:\r\n",
        "a=fingerprint:sha-1\r\n",
        "a=fingerprint:sha-1 4A:AD\r\n",
        "a=fingerprint:SHA-1 4A-AD\r\n",
        "a=fingerprint:sha-256 4A\r\n",
        "a=fingerprint:sha3-512 00:11\r\n",
        "a=fingerprint:4A:AD:B9\r\n",
    ] {
        for text in [format!("b=AS:64\r\n{good}{beside}"), format!("b=AS:64\r\n{beside}{good}")] {
            assert_eq!(parse(&text).map(|s| s.ike.fingerprints.len()), Ok(1), "{beside}");
        }
        assert!(
            matches!(parse(&format!("b=AS:64\r\n{beside}")), Err(SdpError::BadFingerprint(_))),
            "{beside}"
        );
    }
    for stronger in ["sha-384 00:11", "SHA-512", "sha-512 xx"] {
        let text = format!("b=AS:64\r\n{good}a=fingerprint:{stronger}\r\n");
        assert!(matches!(parse(&text), Err(SdpError::BadFingerprint(_))), "{stronger}");
    }
    // Any white space, any case, and more than one of a function.
    let spaced = format!("b=AS:64\r\na=FINGERPRINT: Sha-256 \t{} \r\n{good}", SHA256.to_lowercase());
    let read = parse(&spaced).expect("valid").ike.fingerprints;
    assert_eq!((read.len(), read[0]), (2, read[1]));
}

/// RFC 3264 §5.1, §8.2: a line with port 0 keeps the place of media that are not wanted any more.
#[test]
fn a_line_that_was_given_up_is_no_second_vpn() {
    let gone =
        "m=application 0 udp ike-esp-udpencap\r\nc=IN IP4 0.0.0.0\r\nb=AS:9\r\na=ike-setup:holdconn\r\n";
    let live = "m=application 50003 udp ike-esp ike-esp-udpencap\r\nb=AS:64\r\n";
    let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
    for (text, index) in [(format!("{head}{gone}{live}"), 1), (format!("{head}{live}{gone}"), 0)] {
        let offer = SessionDescription::parse(text.as_bytes()).expect("one VPN");
        assert_eq!(
            (offer.index, offer.ike.addr.port(), offer.ike.bandwidth),
            (index, 50_003, Some(Kbps(64)))
        );
        assert_eq!(offer.others, ["m=application 0 udp ike-esp-udpencap"]);
    }
    let none = format!("{head}{gone}m=application 500 udp ike-esp\r\n");
    assert_eq!(SessionDescription::parse(none.as_bytes()), Err(SdpError::Refused));
}

/// RFC 8866 §5.7, §5.8: address and rate at either level; the media's own wins.
#[test]
fn address_and_rate_at_either_level() {
    let sdp = |session: &str, media: &str| {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n{session}t=0 0\r\n\
             m=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.77\r\nb=AS:7\r\na=ike-setup:passive\r\n\
             m=application 50001 udp ike-esp-udpencap\r\n{media}"
        );
        SessionDescription::parse(text.as_bytes())
            .map(|s| (s.ike.addr.ip().to_string(), s.ike.bandwidth, s.ike.setup))
    };
    let one = |ip: &str, kbps, setup| Ok((ip.to_owned(), Some(Kbps(kbps)), setup));
    let active = Some(IkeSetup::Active);
    assert_eq!(sdp("c=IN IP4 192.0.2.1\r\nb=AS:64\r\n", ""), one("192.0.2.1", 64, None));
    assert_eq!(sdp("", "c=IN IP4 192.0.2.2\r\nb=AS:64\r\n"), one("192.0.2.2", 64, None));
    assert_eq!(
        sdp("c=IN IP6 2001:db8::1\r\nb=AS:9\r\na=ike-setup:active\r\n", "c=IN IP4 192.0.2.2\r\nb=AS:64\r\n"),
        one("192.0.2.2", 64, active)
    );
    assert_eq!(
        sdp("c=IN IP4 peer.example\r\n", "b=AS:64\r\nc=in ip4 192.0.2.2\r\n"),
        one("192.0.2.2", 64, None)
    );
    // RFC 3890: TIAS leaves out the headers that AS counts, and the carrier polices by AS.
    assert_eq!(
        sdp("c=IN IP4 192.0.2.1\r\nb=TIAS:64000\r\n", "b=TIAS:64000\r\nb=CT:64\r\n").map(|(_, rate, _)| rate),
        Ok(None)
    );
    assert_eq!(
        sdp("", "b=AS:64\r\n"),
        Err(SdpError::BadConnection),
        "the address of foreign media is not ours"
    );
    // RFC 4145 has `setup`, RFC 6193 `ike-setup`.
    let setups =
        "b=AS:64\r\na=setup:active\r\na=connection:new\r\na=ike-setup: ActPass\r\na=ike-setup:actpass\r\n";
    assert_eq!(sdp("c=IN IP4 192.0.2.1\r\n", setups), one("192.0.2.1", 64, Some(IkeSetup::Actpass)));
    let two = "b=AS:64\r\na=ike-setup:active\r\na=ike-setup:passive\r\n";
    assert_eq!(sdp("c=IN IP4 192.0.2.1\r\n", two), Err(SdpError::BadSetup("passive".into())));
}
