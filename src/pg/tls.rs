//! TLS as libpq's `sslmode` means it, through rustls with ring.
//!
//! Without root certificates a connection is encrypted, but any certificate is accepted; the server must
//! still prove that it holds the certificate's key. With them the chain is verified, and with `verify-full`
//! the name too. As in libpq, a root file that is there is used in every mode.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::der::Decode;

use super::connect_error::ConnectError;
use super::resolve::{Certificates, SslMode};

/// A connector for `mode`; files that are named are read now.
pub(super) fn connector(mode: SslMode, files: &Certificates) -> Result<MakeRustlsConnect, ConnectError> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let verifies = matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull);
    let trusted = match files.root.as_deref() {
        _ if mode == SslMode::Disable => None,
        Some(path) if path == Path::new("system") => Some(system_roots(path)?),
        Some(path) => Some(certificates("root certificate file", path)?),
        None if verifies => {
            return Err(ConnectError::Conninfo(
                "sslmode verify-ca and verify-full need a root certificate: set sslrootcert to a file or to \"system\", \
                 or create ~/.postgresql/root.crt"
                    .to_owned(),
            ));
        }
        None => None,
    };
    let verifier = Verifier {
        roots: trusted.map(|trusted| Roots::new(files.root.as_deref(), trusted)).transpose()?,
        name: mode == SslMode::VerifyFull,
        algorithms,
    };
    let client = match &files.client {
        Some((certificate, key)) if mode != SslMode::Disable => {
            Some((certificates("client certificate file", certificate)?, private_key(key)?, certificate))
        }
        _ => None,
    };
    Ok(MakeRustlsConnect::new(configuration(provider, verifier, client, files.tls13_only)?))
}

fn configuration(
    provider: Arc<CryptoProvider>,
    verifier: Verifier,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, &std::path::PathBuf)>,
    tls13_only: bool,
) -> Result<ClientConfig, ConnectError> {
    const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
    let versions = if tls13_only { TLS13 } else { rustls::DEFAULT_VERSIONS };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| ConnectError::Conninfo(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut configuration = match client {
        Some((chain, key, path)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            ConnectError::Certificate { what: "client certificate", path: path.clone(), why: error.to_string() }
        })?,
        None => builder.with_no_client_auth(),
    };
    // Every connection has its own configuration, so there is nothing to resume.
    configuration.resumption = Resumption::disabled();
    configuration.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(configuration)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let pem = read(what, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let why = match found {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => "there is no certificate in it".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(ConnectError::Certificate { what, path: path.to_owned(), why })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConnectError> {
    const WHAT: &str = "private key file";
    let pem = read(WHAT, path)?;
    let fault = |why: String| ConnectError::Certificate { what: WHAT, path: path.to_owned(), why };
    let about =
        std::fs::metadata(path).map_err(|source| ConnectError::File { what: WHAT, path: path.to_owned(), source })?;
    // The rule of libpq: only the owner may read it; one of root's may be readable for its group.
    let forbidden = if about.uid() == 0 { 0o037 } else { 0o077 };
    if about.mode() & forbidden != 0 {
        return Err(fault(
            "it has group or world access; permissions should be 0600, or 0640 if owned by root".to_owned(),
        ));
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| fault(error.to_string()))
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|source| ConnectError::File { what, path: path.to_owned(), source })
}

fn system_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or_else(|| "the system has none".to_owned(), ToString::to_string);
        return Err(ConnectError::Certificate { what: "root certificates", path: path.to_owned(), why });
    }
    Ok(found.certs)
}

/// The trusted certificates.
#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// As they are in the file: a server's self-signed certificate may itself be the trusted one.
    exact: Vec<CertificateDer<'static>>,
}

impl Roots {
    fn new(path: Option<&Path>, trusted: Vec<CertificateDer<'static>>) -> Result<Self, ConnectError> {
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(trusted.iter().cloned());
        if added == 0 {
            return Err(ConnectError::Certificate {
                what: "root certificate file",
                path: path.unwrap_or(Path::new("")).to_owned(),
                why: "none of its certificates can be used".to_owned(),
            });
        }
        Ok(Self { store, exact: trusted })
    }
}

#[derive(Debug)]
struct Verifier {
    /// `None`: any certificate will do.
    roots: Option<Roots>,
    /// The certificate must be for the host that was asked for.
    name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn verify_chain(
        &self,
        roots: &Roots,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if roots.exact.iter().any(|trusted| trusted.as_ref() == server.as_ref()) {
            return verify_period(server, now);
        }
        let server = ParsedCertificate::try_from(server)?;
        let algorithms = self.algorithms.all;
        rustls::client::verify_server_cert_signed_by_trust_anchor(&server, &roots.store, intermediates, now, algorithms)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            self.verify_chain(roots, end_entity, intermediates, now)?;
        }
        if self.name {
            verify_name(end_entity, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn parsed(certificate: &CertificateDer<'_>) -> Result<x509_cert::Certificate, Error> {
    x509_cert::Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

fn verify_period(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let validity = parsed(certificate)?.tbs_certificate.validity;
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// The subject alternative names decide; the common name only where there is none of them, as in libpq.
fn verify_name(certificate: &CertificateDer<'_>, wanted: &ServerName<'_>) -> Result<(), Error> {
    let Err(fault) = rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, wanted) else {
        return Ok(());
    };
    let about = parsed(certificate)?.tbs_certificate;
    let names = about.get::<x509_cert::ext::pkix::SubjectAltName>();
    let ServerName::DnsName(wanted) = wanted else { return Err(fault) };
    if !matches!(names, Ok(None)) {
        return Err(fault);
    }
    let common_name = about.subject.0.iter().flat_map(|rdn| rdn.0.iter()).find_map(|attribute| {
        const COMMON_NAME: x509_cert::der::oid::ObjectIdentifier =
            x509_cert::der::oid::ObjectIdentifier::new_unwrap("2.5.4.3");
        let is_common_name = attribute.oid == COMMON_NAME;
        is_common_name.then(|| String::from_utf8_lossy(attribute.value.value()).into_owned())
    });
    if common_name.is_some_and(|pattern| name_fits(&pattern, wanted.as_ref())) { Ok(()) } else { Err(fault) }
}

/// A star stands for one whole first label.
fn name_fits(pattern: &str, name: &str) -> bool {
    if pattern.eq_ignore_ascii_case(name) {
        return true;
    }
    match (pattern.strip_prefix("*."), name.split_once('.')) {
        (Some(pattern), Some((_, rest))) => pattern.contains('.') && pattern.eq_ignore_ascii_case(rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label() {
        assert!(name_fits("db.example.com", "DB.example.com"));
        assert!(name_fits("*.example.com", "db.example.com"));
        assert!(!name_fits("*.example.com", "a.db.example.com"));
        assert!(!name_fits("*.example.com", "example.com"));
        assert!(!name_fits("*.com", "example.com"));
    }

    #[test]
    fn verification_without_roots_is_refused() {
        let error = connector(SslMode::VerifyCa, &Certificates::default()).err().unwrap().to_string();
        assert!(error.contains("sslrootcert"), "{error}");
        assert!(connector(SslMode::Require, &Certificates::default()).is_ok());
    }
}
