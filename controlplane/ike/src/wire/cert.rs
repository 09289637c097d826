//! Certificate (RFC 7296 §3.6) and Certificate Request (§3.7).

use super::reader::Reader;
use super::{Chain, ParseError, PayloadType};

/// X.509 Certificate - Signature.
const ENCODING_X509: u8 = 4;

/// The certificate, if it is of the one encoding that we understand; what else comes is passed over.
pub(crate) fn parse(body: &[u8]) -> Result<Option<&[u8]>, ParseError> {
    let mut r = Reader::new(body, "certificate");
    Ok(if r.u8()? == ENCODING_X509 { Some(r.rest()) } else { None })
}

impl Chain {
    pub fn cert(&mut self, der: &[u8]) -> &mut Self {
        self.push(PayloadType::CERT, &[&[ENCODING_X509], der].concat())
    }

    /// `authorities`: SHA-1 hashes of the public keys of those that we trust.
    pub fn cert_request(&mut self, authorities: &[[u8; 20]]) -> &mut Self {
        self.push(PayloadType::CERTREQ, &[&[ENCODING_X509], authorities.concat().as_slice()].concat())
    }
}
