//! The one way in which destinations open connections.
//!
//! Certificates are checked against Mozilla's list, which is part of the binary, so that an image without any CA
//! files works, or against the operator's own authorities and no others. HTTP/1.1 only: every bulk API speaks it, and one request a connection keeps time-outs and
//! cut connections apart. Redirects are never followed, since they would carry the key elsewhere (G10), and proxies
//! of the environment are not used.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, redirect};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;

/// How long opening a connection may take, TLS included; what Algolia's own clients use.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Pooled connections are given up before a load balancer's usual minute does it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ClientError {
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The operator's file of authorities is of no use.
    #[error("the CA file holds no certificate that could be read: {problem}")]
    Authorities {
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTP client cannot be built.
    #[error("cannot build the HTTP client")]
    Http(#[from] reqwest::Error),
}

/// Builds a client with its own pool of connections. `authorities` is a PEM file's text with the certificates of those
/// that are trusted, instead of Mozilla's list.
///
/// # Errors
/// If `user_agent` is no header value, there is no authority, or TLS cannot be set up.
pub fn client(user_agent: &str, authorities: Option<&str>) -> Result<Client, ClientError> {
    let roots = match authorities {
        Some(pem) => own_roots(pem)?,
        None => mozillas_roots(),
    };
    let client = Client::builder()
        .tls_backend_preconfigured(tls(roots)?)
        .user_agent(user_agent)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .build()?;
    Ok(client)
}

fn mozillas_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    roots
}

fn own_roots(pem: &str) -> Result<RootCertStore, ClientError> {
    let unusable = |problem: String| ClientError::Authorities { problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no BEGIN CERTIFICATE in it".to_owned()));
    }
    Ok(roots)
}

/// The provider is named here instead of being installed for the whole process: nothing depends on who comes first.
fn tls(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
