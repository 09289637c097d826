//! TLS of SIP: which certificates are taken, and which is shown (RFC 5922).

use crate::config::secret;
use crate::pki::credential::KEY_BYTES_MAX;
use sipsec_profile::model::{SecretError, SecretSource, TlsOwn};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream as ClientStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::server::TlsStream as ServerStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {reason}", path = path.display())]
    File { path: PathBuf, reason: String },
    #[error("{0}")]
    Setup(String),
}

/// The files of `sip.tls`.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    pub ca: &'a Path,
    pub own: Option<&'a TlsOwn>,
}

#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    acceptor: Option<TlsAcceptor>,
    /// The name of servers that have none of their own.
    name: String,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tls {
    /// `fixed` is the name that every server must have, if the profile says so; `domain` that of servers without a name.
    ///
    /// # Errors
    /// If a file cannot be read or used.
    pub fn load(files: Files<'_>, fixed: Option<&str>, domain: &str) -> Result<Self, TlsError> {
        let setup = |e: Error| TlsError::Setup(e.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(files.ca)? {
            let reason = |e: Error| TlsError::File { path: files.ca.to_owned(), reason: e.to_string() };
            roots.add(certificate).map_err(reason)?;
        }
        let roots = Arc::new(roots);
        let chain = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
        let chain = chain.build().map_err(|e| TlsError::Setup(e.to_string()))?;
        let verifier = Arc::new(SipVerifier { chain, fixed: fixed.map(str::to_owned) });
        let own = match files.own {
            Some(own) => Some((certificates(&own.certificate)?, private_key(&own.key)?)),
            None => None,
        };
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(setup)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let (client, acceptor) = match own {
            None => (client.with_no_client_auth(), None),
            Some((chain, key)) => {
                let client = client.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(setup)?;
                // A server that connects proves itself with a certificate of the same authorities.
                let clients = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
                let clients = clients.build().map_err(|e| TlsError::Setup(e.to_string()))?;
                let server = ServerConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map_err(setup)?
                    .with_client_cert_verifier(clients)
                    .with_single_cert(chain, key)
                    .map_err(setup)?;
                (client, Some(TlsAcceptor::from(Arc::new(server))))
            }
        };
        Ok(Self { connector: Arc::new(client).into(), acceptor, name: domain.to_owned() })
    }

    #[must_use]
    pub const fn can_accept(&self) -> bool {
        self.acceptor.is_some()
    }

    /// # Errors
    /// If the handshake fails; the text says why.
    pub async fn connect(&self, tcp: TcpStream, name: Option<String>) -> io::Result<ClientStream<TcpStream>> {
        let name = name.unwrap_or_else(|| self.name.clone());
        let server = ServerName::try_from(name.clone())
            .map_err(|_| io::Error::other(format!("`{name}` is no name that a certificate could have")))?;
        self.connector.connect(server, tcp).await
    }

    /// # Errors
    /// If the handshake fails.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<ServerStream<TcpStream>> {
        match &self.acceptor {
            Some(acceptor) => acceptor.accept(tcp).await,
            None => Err(io::Error::other("TLS has no certificate to show")),
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let all = CertificateDer::pem_file_iter(path).map_err(|e| file(e.to_string()))?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(|e| file(e.to_string()))?;
    if all.is_empty() { Err(file("there is no certificate in it".to_owned())) } else { Ok(all) }
}

fn private_key(source: &SecretSource) -> Result<PrivateKeyDer<'static>, TlsError> {
    let file = |reason: String| TlsError::File { path: secret::shown(source), reason };
    let text = secret::bytes(source, KEY_BYTES_MAX).map_err(|error| match error {
        SecretError::File { reason, .. }
        | SecretError::Command { reason, .. }
        | SecretError::Credential(reason) => file(reason),
        error => file(error.to_string()),
    })?;
    // The parser's errors could repeat the key.
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| file("there is no private key in it".to_owned()))
}

/// Chains as the web has them, names as SIP has them.
#[derive(Debug)]
struct SipVerifier {
    chain: Arc<WebPkiServerVerifier>,
    fixed: Option<String>,
}

impl ServerCertVerifier for SipVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The chain is looked at first; the name is judged below.
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {}
            Err(error) => return Err(error),
        }
        let wanted = self.fixed.clone().unwrap_or_else(|| server_name.to_str().into_owned());
        let names = identities(end_entity).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if names.iter().any(|n| n.eq_ignore_ascii_case(wanted.trim_end_matches('.'))) {
            return Ok(ServerCertVerified::assertion());
        }
        let shown = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(Error::General(format!("the server's certificate is not for {wanted}; it has the names {shown}")))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// RFC 5922 §7.1: the hosts of `sip:` URIs without a user part; only without any, DNS names. A wildcard is no SIP identity
/// (§7.2).
fn identities(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let Ok(Some(san)) = certificate.subject_alternative_name() else { return Some(Vec::new()) };
    let (mut uris, mut dns, mut any_sip) = (Vec::new(), Vec::new(), false);
    for name in &san.value.general_names {
        match name {
            GeneralName::URI(uri) => {
                let Some(rest) = uri.get(..4).filter(|s| s.eq_ignore_ascii_case("sip:")).map(|_| &uri[4..])
                else {
                    continue;
                };
                any_sip = true;
                if !rest.contains('@') {
                    uris.push(rest.split([':', ';', '?']).next().unwrap_or_default().to_owned());
                }
            }
            GeneralName::DNSName(name) if !name.contains('*') => dns.push((*name).to_owned()),
            _ => {}
        }
    }
    Some(if any_sip { uris } else { dns })
}
