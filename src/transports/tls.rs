//! Who a peer is, by a certificate of the cluster's own authority.
//!
//! The node's name is a DNS name in the certificate, `node-<id>.<cluster>.quorate` with the cluster's id in 32
//! hexadecimal digits: what an operator can make with any tool, and what libraries compare without a parser of one's
//! own. The end that dials asks for the name of the node that it wants; the end that answers, for that of the node that
//! the other says it is. TLS 1.3 alone.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection, version};

use super::handshake::PeerRefusal;
use crate::ids::{ClusterId, NodeId};

/// A node's certificate and key, and the authority that it believes.
#[derive(Clone)]
pub struct Tls {
    dialling: Arc<ClientConfig>,
    answering: Arc<ServerConfig>,
    own: CertificateDer<'static>,
}

/// Why certificates can't be used. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// What should be PEM isn't, or holds nothing of the kind.
    #[error("the {what} is not there: {why}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// Why it was not found.
        why: String,
    },
    /// The authority can't be one, or key and certificate don't belong together.
    #[error("these certificates can't be used: {0}")]
    Unusable(String),
    /// The certificate doesn't say that it is this node's.
    #[error("the certificate does not name {0}")]
    NotOwn(String),
}

impl Tls {
    /// Reads PEM: the certificates of the cluster's authority (two, while one replaces the other), the node's own, first
    /// in its chain, and its key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn from_pem(authority: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates("authority's certificate", authority)? {
            roots.add(root).map_err(unusable)?;
        }
        let (roots, chain) = (Arc::new(roots), certificates("node's certificate", certificate)?);
        let key = || {
            let why = |error: rustls::pki_types::pem::Error| TlsError::Pem { what: "key", why: error.to_string() };
            PrivateKeyDer::from_pem_slice(key).map_err(why)
        };
        let own = chain[0].clone();
        let provider = provider();
        let mut dialling = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(unusable)?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain.clone(), key()?)
            .map_err(unusable)?;
        // A session that was resumed would not show its certificate again.
        dialling.resumption = rustls::client::Resumption::disabled();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let mut answering = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier.map_err(|error| TlsError::Unusable(error.to_string()))?)
            .with_single_cert(chain, key()?)
            .map_err(unusable)?;
        answering.send_tls13_tickets = 0;
        Ok(Self { dialling: Arc::new(dialling), answering: Arc::new(answering), own })
    }

    /// The DNS name that a node's certificate must have among its subject's alternative names.
    #[must_use]
    pub fn name_of(cluster: ClusterId, node: NodeId) -> String {
        format!("node-{}.{:032x}.quorate", node.0, cluster.0)
    }

    pub(super) fn check(&self, cluster: ClusterId, node: NodeId) -> Result<(), TlsError> {
        if names(&self.own, cluster, node) { Ok(()) } else { Err(TlsError::NotOwn(Self::name_of(cluster, node))) }
    }

    pub(super) fn dialling(&self, cluster: ClusterId, node: NodeId) -> Result<Connection, rustls::Error> {
        let name = ServerName::try_from(Self::name_of(cluster, node))
            .map_err(|_| rustls::Error::General(String::from("a node's name is no DNS name")))?;
        ClientConnection::new(Arc::clone(&self.dialling), name).map(Into::into)
    }

    pub(super) fn answering(&self) -> Result<Connection, rustls::Error> {
        ServerConnection::new(Arc::clone(&self.answering)).map(Into::into)
    }
}

/// The one that is asked for by name: a default of the process would be somebody else's choice.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(list) if list.is_empty() => Err(TlsError::Pem { what, why: String::from("no certificate in it") }),
        Ok(list) => Ok(list),
        Err(error) => Err(TlsError::Pem { what, why: error.to_string() }),
    }
}

fn unusable(error: rustls::Error) -> TlsError {
    TlsError::Unusable(error.to_string())
}

/// Whether a certificate is that node's, whoever has signed it.
pub(super) fn names(certificate: &CertificateDer<'_>, cluster: ClusterId, node: NodeId) -> bool {
    let Ok(name) = ServerName::try_from(Tls::name_of(cluster, node)) else { return false };
    ParsedCertificate::try_from(certificate)
        .is_ok_and(|certificate| rustls::client::verify_server_name(&certificate, &name).is_ok())
}

/// What an error says about the other end: its certificate won't do, or it doesn't speak TLS.
pub(super) fn refusal_of(error: &io::Error) -> Option<PeerRefusal> {
    use rustls::Error;
    match error.get_ref()?.downcast_ref()? {
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Some(PeerRefusal::Certificate),
        Error::AlertReceived(_) => None,
        _ => Some(PeerRefusal::Malformed),
    }
}

/// Whether the other end has said that it won't have this one.
pub(super) fn is_alert(error: &io::Error) -> bool {
    matches!(error.get_ref().and_then(|error| error.downcast_ref()), Some(rustls::Error::AlertReceived(_)))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
