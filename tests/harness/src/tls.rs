//! Certificates made for a test, and a client that shows them: what TLS looks like from outside.

use std::{io, net::SocketAddr, sync::Arc};

use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
    string::Ia5String,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

/// Who signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its key, both as PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate alone.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// Speaks TLS and HTTP/2 to an agent; clones are the same client.
#[derive(Clone)]
pub struct Client(TlsConnector);

impl Authority {
    /// A new one of this name.
    ///
    /// # Panics
    /// If the name is no text of a certificate.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = new_key();
        let certificate = params.self_signed(&key).expect("an authority signs itself").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Its own certificate, as PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a certificate for these names: URIs, and what has no `:` is a DNS name. An agent on loopback is `localhost`.
    ///
    /// # Panics
    /// If one of them is no name of a certificate.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(params(names))
    }

    /// The same, but it was valid in the year 2000 only.
    ///
    /// # Panics
    /// See [`Authority::issue`].
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Identity {
        let mut params = params(names);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2000, 12, 31);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority signs").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a test machine has random numbers")
}

fn params(names: &[&str]) -> CertificateParams {
    let text = |name: &str| Ia5String::try_from(name).expect("a certificate's names are ASCII");
    let name = |name: &&str| match name.contains(':') {
        true => SanType::URI(text(name)),
        false => SanType::DnsName(text(name)),
    };
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(name).collect();
    params
}

impl Client {
    /// Trusts the agents of this authority, and shows this certificate, if any.
    ///
    /// # Panics
    /// If one of them is no PEM of its kind.
    #[must_use]
    pub fn new(authority: &str, identity: Option<&Identity>) -> Self {
        let certificate = |pem: &str| {
            CertificateDer::from_pem_slice(pem.as_bytes()).expect("the harness has made a certificate")
        };
        let mut trusted = RootCertStore::empty();
        trusted.add(certificate(authority)).expect("the harness has made an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has both versions")
            .with_root_certificates(trusted);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
                let key = key.expect("the harness has made a key");
                config
                    .with_client_auth_cert(vec![certificate(&identity.certificate)], key)
                    .expect("a certificate and its key")
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// Connects to an agent of the name `localhost`. Whoever is refused for its certificate learns it when it reads.
    ///
    /// # Errors
    /// If nobody listens, or the handshake fails.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a host's name");
        self.0.connect(name, stream).await
    }

    /// A channel with one connection, which exists already.
    ///
    /// # Errors
    /// If it cannot be made.
    ///
    /// # Panics
    /// Never: an address makes a URI.
    pub async fn channel(&self, address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes a URI");
        let client = self.clone();
        let connector = tower::service_fn(move |_| {
            let client = client.clone();
            async move { client.connect(address).await.map(TokioIo::new) }
        });
        endpoint.connect_with_connector(connector).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}
