//! The connection to an agent: TCP, and TLS over it if it is asked for.

use super::{ClientArgs, ClientError};
use crate::anybody::Anybody;
use rustls::{
    ClientConfig, ClientConnection, Error as TlsError, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// How long to wait for a connection and for the beginning of an answer.
pub const WAIT: Duration = Duration::from_secs(10);

/// What is read and written.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// How long a read may wait; None: without end.
    pub fn set_read_timeout(&self, wait: Option<Duration>) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.set_read_timeout(wait),
            Wire::Tls(stream) => stream.sock.set_read_timeout(wait),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(into),
            Wire::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

/// Connects to `host`, an address or name with its port.
pub fn connect(args: &ClientArgs, host: &str, tls: bool) -> Result<Wire, ClientError> {
    // What is wrong with files is told before anybody is asked.
    let config = if tls { Some(config(args)?) } else { None };
    let stream = tcp(host, &args.address)?;
    let no_agent = |source| ClientError::NoAgent { address: args.address.clone(), source };
    stream.set_read_timeout(Some(WAIT)).map_err(no_agent)?;
    stream.set_write_timeout(Some(WAIT)).map_err(no_agent)?;
    let Some(config) = config else { return Ok(Wire::Plain(stream)) };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name)
        .map_err(|error| ClientError::Address { address: args.address.clone(), source: io::Error::other(error) })?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other).map_err(no_agent)?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|source| of_tls(&args.address, source))?;
    }
    Ok(Wire::Tls(Box::new(stream)))
}

fn tcp(host: &str, address: &str) -> Result<TcpStream, ClientError> {
    let addresses =
        host.to_socket_addrs().map_err(|source| ClientError::Address { address: address.to_owned(), source })?;
    let mut last = io::Error::other("the name has no address");
    for one in addresses {
        match TcpStream::connect_timeout(&one, WAIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(ClientError::NoAgent { address: address.to_owned(), source: last })
}

/// What a failed handshake, or the first read behind it, means for the one who asked.
pub fn of_tls(address: &str, source: io::Error) -> ClientError {
    let address = address.to_owned();
    let error = source.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match error {
        Some(TlsError::InvalidCertificate(_)) => ClientError::Untrusted { address, source },
        Some(TlsError::AlertReceived(_)) => ClientError::Turned { address, source },
        Some(TlsError::InvalidMessage(_)) => ClientError::NoTls { address },
        _ => ClientError::NoAgent { address, source },
    }
}

fn config(args: &ClientArgs) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(ring::default_provider());
    let wrong = |source: TlsError| ClientError::Tls { source };
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(wrong)?;
    let builder = if args.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(roots(args.ca.as_deref())?)
    };
    let (Some(cert), Some(key)) = (&args.cert, &args.key) else { return Ok(builder.with_no_client_auth()) };
    let no_key = |source| ClientError::Pem { file: key.clone(), source };
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(io::Error::other).map_err(no_key)?;
    builder.with_client_auth_cert(certificates(cert)?, key).map_err(wrong)
}

/// The authorities of `ca`, else of this machine.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            for certificate in certificates(file)? {
                let wrong = |source| ClientError::Pem { file: file.to_owned(), source: io::Error::other(source) };
                roots.add(certificate).map_err(wrong)?;
            }
        }
        // One that this machine has and that cannot be read is as if it were not there.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let wrong = |source| ClientError::Pem { file: file.to_owned(), source };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(wrong(io::Error::other("it holds no certificate"))),
        certificates => certificates.map_err(io::Error::other).map_err(wrong),
    }
}

pub fn read(file: &Path) -> Result<Vec<u8>, ClientError> {
    fs::read(file).map_err(|source| ClientError::Pem { file: file.to_owned(), source })
}
