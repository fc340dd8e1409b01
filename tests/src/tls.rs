//! TLS in front of a server without TLS, under a certificate authority that no other process trusts.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

pub struct Authority {
    /// The authority's certificate in PEM. A process whose `SSL_CERT_FILE` names this file trusts only this
    /// authority.
    pub file: PathBuf,
    acceptor: TlsAcceptor,
}

impl Authority {
    /// An authority with a certificate for `localhost`.
    pub fn new(folder: &Path) -> Self {
        let mut own = CertificateParams::new(Vec::new()).expect("no names");
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let file = folder.join("authority.pem");
        std::fs::write(&file, own.self_signed(&key).expect("signed").pem()).expect("written");
        let issuer = Issuer::new(own, key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &issuer).expect("signed").der().clone();
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf], PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
            .expect("a certificate");
        Self { file, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// Opens a port that removes TLS and forwards to `port`.
    pub async fn before(&self, port: u16) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let acceptor = self.acceptor.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut outside = acceptor.accept(stream).await?;
                    let mut inside = TcpStream::connect(("127.0.0.1", port)).await?;
                    tokio::io::copy_bidirectional(&mut outside, &mut inside).await
                });
            }
        });
        own
    }
}
