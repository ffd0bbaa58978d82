//! An authority, and the certificates that it signs.

use crate::Folder;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

/// An authority of one test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, crate::unique("authority"));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }
}

impl Authority {
    /// Writes its own certificate.
    pub fn write(&self, folder: &Folder, name: &str) -> PathBuf {
        folder.write(name, self.0.pem())
    }

    /// Writes `NAME.pem` and `NAME.key` for these names and addresses.
    pub fn sign(&self, folder: &Folder, name: &str, names: &[&str]) {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        folder.write(&format!("{name}.key"), key.serialize_pem());
        folder.write(&format!("{name}.pem"), certificate.pem());
    }
}

/// A file for its owner alone.
pub fn secret(folder: &Folder, name: &str, text: &str) -> PathBuf {
    let path = folder.write(name, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}
