//! A server for tests, over TCP or TLS: it says what the test tells it, and keeps what it hears.

use super::tests::Folder;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// With all headers, in lower case.
    pub head: String,
    pub body: Vec<u8>,
    /// Of the server, from 0.
    pub connection: usize,
}

/// What is said to it.
pub enum Say {
    Bytes(Vec<u8>),
    /// The connection stays open, in silence.
    Nothing,
    Close,
}

/// Ends with the tests' process.
pub struct Server {
    pub port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// An answer with this status and body.
pub fn answer(status: &str, more: &str, body: &str) -> Say {
    Say::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{more}\r\n{body}", body.len()).into())
}

impl Server {
    pub fn start(tls: Option<Arc<ServerConfig>>, say: impl Fn(&Heard) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let (kept, say) = (heard.clone(), Arc::new(say));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (kept, say, tls) = (kept.clone(), say.clone(), tls.clone());
                thread::spawn(move || serve(secured(stream.unwrap(), tls), connection, &kept, &*say));
            }
        });
        Self { port, heard }
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

fn secured(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> Box<dyn Stream> {
    match tls {
        Some(tls) => Box::new(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream)),
        None => Box::new(stream),
    }
}

fn serve(mut stream: Box<dyn Stream>, connection: usize, kept: &Mutex<Vec<Heard>>, say: &dyn Fn(&Heard) -> Say) {
    while let Some(mut heard) = listen(&mut stream) {
        heard.connection = connection;
        kept.lock().unwrap().push(heard.clone());
        match say(&heard) {
            Say::Bytes(bytes) => {
                if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() {
                    return;
                }
            }
            Say::Nothing => thread::sleep(Duration::from_secs(60)),
            Say::Close => return,
        }
    }
}

/// A whole request; none when there is no more.
fn listen(stream: &mut impl Read) -> Option<Heard> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Heard { head, body, connection: 0 })
}

/// An authority of a test, and its files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: Folder,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = Folder::new();
        // Each has a name of its own: nobody mistakes one for the other.
        params.distinguished_name.push(DnType::CommonName, folder.path("").to_string_lossy().into_owned());
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, folder };
        fs::write(authority.path("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub fn issue(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), cert.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// Of a server with this name, which may want a certificate of its clients, too.
    pub fn server(&self, name: &str, of_clients: bool, protocols: &[&str]) -> Arc<ServerConfig> {
        self.issue(name);
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = if of_clients {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let cert = CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let mut config = builder.with_single_cert(vec![cert], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
