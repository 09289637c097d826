//! A DNS query (RFC 1035). An answer says that the server works, also if the name does not exist (NXDOMAIN); a failure of the
//! server or a refusal does not.

use super::socket::Exit;
use super::udp;
use std::io;
use std::net::SocketAddr;

/// A datagram of DNS without EDNS is no longer (RFC 1035 §2.3.4).
const DATAGRAM_MAX: usize = 512;
const HEADER: usize = 12;
const NXDOMAIN: u8 = 3;

/// An A query, or an AAAA query over IPv6.
pub fn query(id: u16, name: &str, v6: bool) -> io::Result<Vec<u8>> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "no domain name");
    let mut out = id.to_be_bytes().to_vec();
    out.extend([0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0]); // RD, one question
    for label in name.trim_end_matches('.').split('.') {
        let len = u8::try_from(label.len()).ok().filter(|len| (1..=63).contains(len)).ok_or_else(wrong)?;
        out.push(len);
        out.extend(label.as_bytes());
    }
    let kind = if v6 { 28 } else { 1 };
    out.extend([0, 0, kind, 0, 1]);
    if out.len() > HEADER + 255 + 4 { Err(wrong()) } else { Ok(out) }
}

/// Whether this is the answer to the query; an error if it says that the server has failed.
pub fn answers(query: &[u8], answer: &[u8]) -> io::Result<bool> {
    let question = query.get(HEADER..).unwrap_or_default();
    let ours = answer.get(..2) == query.get(..2)
        && answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
        && answer.get(HEADER..).is_some_and(|rest| {
            rest.get(..question.len()).is_some_and(|asked| asked.eq_ignore_ascii_case(question))
        });
    // A server that fails may leave the question out (RFC 1035 §4.1.1).
    let failed = answer.get(..2) == query.get(..2) && answer.len() >= HEADER;
    match answer.get(3).map(|flags| flags & 0xf) {
        Some(0 | NXDOMAIN) => Ok(ours),
        Some(code) if failed && answer[2] & 0x80 != 0 => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("the server answers with code {code}")))
        }
        _ => Ok(false),
    }
}

pub async fn ask(exit: &Exit, server: SocketAddr, name: &str, id: u16) -> io::Result<()> {
    let query = query(id, name, server.is_ipv6())?;
    let socket = udp::connected(exit, server).await?;
    socket.send(&query).await?;
    let mut answer = [0; DATAGRAM_MAX];
    loop {
        let len = socket.recv(&mut answer).await?;
        if answers(&query, answer.get(..len).unwrap_or_default())? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_that_of_the_rfc() {
        let query = query(0x1234, "ns.example.", false).expect("a name");
        let question = b"\x02ns\x07example\x00\x00\x01\x00\x01";
        assert_eq!(query, [b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", &question[..]].concat());
        for wrong in ["", "a..b", &"x".repeat(64), &"abcdefgh.".repeat(40)] {
            assert!(super::query(1, wrong, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_repeats_the_question_and_a_failure_is_one() {
        let query = query(7, "a.example", true).expect("a name");
        let mut answer = query.clone();
        assert!(!answers(&query, &answer).expect("a query is no answer"));
        answer[2] |= 0x80;
        assert!(answers(&query, &answer).expect("an answer"));
        answer[3] = 3;
        assert!(answers(&query, &answer).expect("no such name is an answer"));
        answer[3] = 2;
        assert!(answers(&query, &answer).is_err(), "SERVFAIL");
        assert!(answers(&query, &answer[..HEADER]).is_err(), "SERVFAIL without the question");
        answer[3] = 0;
        answer[0] ^= 1;
        assert!(!answers(&query, &answer).expect("another's"));
        for len in 0..answer.len() {
            let _ = answers(&query, &answer[..len]);
        }
    }
}
