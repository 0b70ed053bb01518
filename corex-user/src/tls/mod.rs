//! TLS as a client, with rustls: whom to trust, and whom a certificate must be for.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::kernel::root_files;

/// What connects by TLS: TLS 1.2 and 1.3, the peer's certificate verified.
#[derive(Clone)]
pub struct Tls(TlsConnector);

impl Tls {
    /// Trusts the authorities in a PEM file, or those of the system.
    pub fn new(ca: Option<&Path>) -> io::Result<Tls> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(path) => {
                let with_path = |error: &dyn std::fmt::Display| {
                    io::Error::other(format!("{}: {error}", path.display()))
                };
                // Streams start when corex isn't root any more.
                let pem = root_files::read(path, |path| fs::read(path));
                let pem = pem.map_err(|error| with_path(&error))?;
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let certificate = certificate.map_err(|error| with_path(&error))?;
                    roots.add(certificate).map_err(|error| with_path(&error))?;
                }
            }
            None => {
                // Those that can't be read are the system's affair.
                for certificate in rustls_native_certs::load_native_certs().certs {
                    let _ = roots.add(certificate);
                }
            }
        }
        if roots.is_empty() {
            return Err(io::Error::other(match ca {
                Some(path) => format!("{}: no certificate in it", path.display()),
                None => "this system has no certificate authorities".to_owned(),
            }));
        }
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands. The certificate must be for `name`, or for the address without one.
    pub async fn connect(
        &self,
        stream: TcpStream,
        name: Option<String>,
        peer: SocketAddr,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match name {
            Some(name) => ServerName::try_from(name).map_err(io::Error::other)?,
            None => ServerName::from(peer.ip()),
        };
        self.0.connect(name, stream).await
    }
}
