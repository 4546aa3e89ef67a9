//! How producers come in: by TLS or not, and whether a header may say who they are. A reload changes it for what comes from
//! then on.

use std::{io, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::ring,
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::caller::{Peer, of_certificate};
use crate::config::{ClientAuth, Listen, Tls};

/// See the module's text.
#[derive(Clone, Default)]
pub struct Entrance {
    acceptor: Option<TlsAcceptor>,
    trusts_xfcc: bool,
}

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The library has no use for the certificate.
    #[error("TLS cannot be served: {0}")]
    Server(#[from] rustls::Error),
    /// Or for the authorities.
    #[error("certificates of clients cannot be verified: {0}")]
    Clients(#[from] VerifierBuilderError),
}

impl Entrance {
    /// As the config has it.
    ///
    /// # Errors
    /// If TLS cannot be served by what the config's files hold.
    pub fn of(listen: &Listen) -> Result<Self, TlsError> {
        let acceptor = listen.tls.as_ref().map(acceptor).transpose()?;
        Ok(Self { acceptor, trusts_xfcc: listen.trust_xfcc })
    }

    /// What takes handshakes; none: connections are plain.
    pub(crate) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.acceptor.clone()
    }

    /// Whether the callers of plain connections are whom the header names.
    pub(crate) fn trusts_xfcc(&self) -> bool {
        self.trusts_xfcc
    }
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (tls, trusts_xfcc) = (self.acceptor.is_some(), self.trusts_xfcc);
        f.debug_struct("Entrance").field("tls", &tls).field("trusts_xfcc", &trusts_xfcc).finish()
    }
}

/// The handshake of a connection, and whom it is with.
pub(crate) async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> io::Result<(TlsStream<TcpStream>, Peer)> {
    let stream = acceptor.accept(stream).await?;
    let shown = stream.get_ref().1.peer_certificates();
    let name = shown.and_then(|chain| of_certificate(chain.first()?));
    Ok((stream, Peer::Tls(name)))
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let clients = match &tls.clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(clients) => {
            let authorities = clients.authorities.clone();
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider.clone());
            match clients.auth {
                ClientAuth::Required => verifier.build()?,
                ClientAuth::Optional => verifier.allow_unauthenticated().build()?,
            }
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(tls.identity.clone())));
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Every connection shows its certificate anew: a session that is taken up again would outlive it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
