//! TLS with another machine: whom the agent trusts, and what it shows of itself.

use super::fault::Fault;
use crate::anybody::Anybody;
use netsonde_core::config::Tls;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{fmt::Display, path::Path, sync::Arc};

/// Where distributions keep the authorities that the system trusts, as Go's `crypto/x509` knows them. The environment is not asked.
const SYSTEM: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What connections are made with. The files are read now.
///
/// # Errors
/// If one of the files is not what it should be, with its name.
pub fn client(tls: &Tls, protocols: &[&[u8]]) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::later(format!("cannot set up TLS: {error}")))?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(authorities(tls)?)
    };
    let mut config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates("tls.cert", cert)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("tls.key", key, error))?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| wrong("tls.key", key, error))?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// The name that the certificate of `host` must have.
///
/// # Errors
/// If it is none.
pub fn server_name(tls: &Tls, host: &str) -> Result<ServerName<'static>, Fault> {
    let name = tls.server_name.as_deref().unwrap_or(host);
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(name.to_owned())
        .map_err(|_| Fault::later(format!("`{name}` is no name that a certificate could have; set `tls.server_name`")))
}

fn authorities(tls: &Tls) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let system = SYSTEM.iter().map(Path::new).find(|path| path.is_file());
    let system = system.map(|path| rustls_native_certs::load_certs_from_paths(Some(path), None).certs);
    roots.add_parsable_certificates(system.unwrap_or_default());
    if let Some(ca) = &tls.ca {
        for certificate in certificates("tls.ca", ca)? {
            roots.add(certificate).map_err(|error| wrong("tls.ca", ca, error))?;
        }
    }
    if roots.is_empty() {
        return Err(Fault::later("this system trusts no authority; install its certificates, or set `tls.ca`"));
    }
    Ok(roots)
}

/// All certificates of a file; one at least.
fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let all = CertificateDer::pem_file_iter(path).and_then(|all| all.collect::<Result<Vec<_>, _>>());
    match all {
        Ok(all) if all.is_empty() => Err(wrong(key, path, "there is no certificate in it")),
        Ok(all) => Ok(all),
        Err(error) => Err(wrong(key, path, error)),
    }
}

fn wrong(key: &str, path: &Path, error: impl Display) -> Fault {
    Fault::later(format!("cannot use `{key}`, the file {}: {error}", path.display()))
}
