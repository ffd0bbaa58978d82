//! TLS as the web configuration says it.

mod clients;
mod san;

use clients::Clients;
use netsonde_core::config::web::{Cipher, ClientAuth, Curve, Pem, Tls, TlsVersion};
use rustls::{
    CipherSuite, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
    version::{TLS12, TLS13},
};
use std::sync::Arc;

/// All that is spoken inside: our server has no other.
const HTTP: &[u8] = b"http/1.1";

/// Makes the server's side of TLS. `read` gives what a [`Pem`] holds.
///
/// # Errors
/// All that is wrong with the files, or with all of it together, in words.
pub fn server(
    tls: &Tls,
    mut read: impl FnMut(&Pem) -> Result<Vec<u8>, String>,
) -> Result<Arc<ServerConfig>, Vec<String>> {
    let mut errors = Vec::new();
    let certificates = read(&tls.cert).and_then(|bytes| certificates(&bytes, &tls.cert, "cert"));
    let certificates = certificates.map_err(|error| errors.push(error)).ok();
    let key = read(&tls.key).and_then(|bytes| key(&bytes, &tls.key)).map_err(|error| errors.push(error)).ok();
    let mut authorities = RootCertStore::empty();
    if let Some(pem) = &tls.client_ca
        && let Err(error) = read(pem).and_then(|bytes| take_authorities(&bytes, pem, &mut authorities))
    {
        errors.push(error);
    }
    match (certificates, key) {
        (Some(certificates), Some(key)) if errors.is_empty() => {
            build(tls, certificates, key, authorities).map(Arc::new).map_err(|error| vec![error])
        }
        _ => Err(errors),
    }
}

fn build(
    tls: &Tls,
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: RootCertStore,
) -> Result<ServerConfig, String> {
    let provider = Arc::new(provider(tls));
    let wrong = |error: rustls::Error| format!("`tls_server_config`: TLS cannot be spoken so: {error}");
    let versions: Vec<&SupportedProtocolVersion> = [(TlsVersion::Tls12, &TLS12), (TlsVersion::Tls13, &TLS13)]
        .into_iter()
        .filter(|(version, _)| (tls.min_version..=tls.max_version).contains(version))
        .map(|(_, version)| version)
        .collect();
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions);
    let builder = builder.map_err(wrong)?;
    let asks = tls.client_auth != ClientAuth::None;
    let builder = if asks {
        let clients = Clients::new(tls, authorities, provider).map_err(|error| {
            format!("`tls_server_config.client_ca`: certificates of clients cannot be verified: {error}")
        })?;
        builder.with_client_cert_verifier(Arc::new(clients))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| {
        format!("the certificate {} and the key {} do not go together: {error}", shown(&tls.cert), shown(&tls.key))
    })?;
    config.alpn_protocols = vec![HTTP.to_vec()];
    config.ignore_client_order = tls.server_order;
    if asks {
        // Who asks must show a certificate each time: one that has expired since is found.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// Ciphers and groups that the file leaves, in its order.
fn provider(tls: &Tls) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !tls.cipher_suites.is_empty() {
        let all = std::mem::take(&mut provider.cipher_suites);
        // Those of TLS 1.3 are not for choice.
        provider.cipher_suites.extend(all.iter().filter(|suite| suite.tls13().is_some()));
        let named = tls.cipher_suites.iter().filter_map(|cipher| suite(*cipher));
        provider.cipher_suites.extend(named.filter_map(|name| all.iter().find(|suite| suite.suite() == name)));
    }
    if !tls.curves.is_empty() {
        let group = |curve: &Curve| match curve {
            Curve::X25519 => ring::kx_group::X25519,
            Curve::P256 => ring::kx_group::SECP256R1,
            Curve::P384 => ring::kx_group::SECP384R1,
        };
        provider.kx_groups = tls.curves.iter().map(group).collect();
    }
    provider
}

fn suite(cipher: Cipher) -> Option<CipherSuite> {
    Some(match cipher {
        Cipher::EcdheEcdsaAes128Gcm => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Cipher::EcdheEcdsaAes256Gcm => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Cipher::EcdheEcdsaChacha20 => CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        Cipher::EcdheRsaAes128Gcm => CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Cipher::EcdheRsaAes256Gcm => CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Cipher::EcdheRsaChacha20 => CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        Cipher::Tls13 => return None,
    })
}

fn certificates(bytes: &[u8], pem: &Pem, key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(format!("`tls_server_config.{key}`: {} holds no certificate in PEM", shown(pem)))
        }
        certificates => certificates.map_err(|error| format!("`tls_server_config.{key}`: {}: {error}", shown(pem))),
    }
}

fn take_authorities(bytes: &[u8], pem: &Pem, into: &mut RootCertStore) -> Result<(), String> {
    for certificate in certificates(bytes, pem, "client_ca")? {
        into.add(certificate).map_err(|error| format!("`tls_server_config.client_ca`: {}: {error}", shown(pem)))?;
    }
    Ok(())
}

fn key(bytes: &[u8], pem: &Pem) -> Result<PrivateKeyDer<'static>, String> {
    // The error of a key never holds a part of it.
    PrivateKeyDer::from_pem_slice(bytes)
        .map_err(|_| format!("`tls_server_config.key`: {} holds no key in PEM that is not encrypted", shown(pem)))
}

/// For messages.
fn shown(pem: &Pem) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Inline(_) => "what stands in the file".to_owned(),
    }
}
