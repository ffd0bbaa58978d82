//! As whom the agent speaks to another machine: the headers of its requests.

use super::fault::Fault;
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use netsonde_core::config::Remote;
use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

/// A file with a secret is no larger, in bytes.
const LARGEST: u64 = 64 << 10;

/// The configured headers, and the credentials, which are read anew whenever their file has changed.
pub struct Auth {
    headers: HeaderMap,
    /// Headers that the configuration has and HTTP does not take: told when something is sent.
    wrong: Option<String>,
    username: Option<String>,
    file: Option<PathBuf>,
    /// The file as it was read.
    read: Option<Stamp>,
}

/// Tells versions of a file apart, also where another file took its name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(about: &Metadata) -> Self {
        let modified = (about.mtime(), about.mtime_nsec());
        Self { device: about.dev(), inode: about.ino(), size: about.size(), modified }
    }
}

impl Auth {
    pub fn new(remote: &Remote) -> Self {
        let mut auth = Self {
            headers: HeaderMap::new(),
            wrong: None,
            username: remote.username.clone(),
            file: remote.password_file.clone().or_else(|| remote.token_file.clone()),
            read: None,
        };
        remote.headers.iter().for_each(|(name, value)| auth.set(name, value.expose()));
        auth
    }

    /// One more header.
    pub fn set(&mut self, name: &str, value: &str) {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                self.headers.insert(name, value);
            }
            _ => {
                self.wrong = Some(format!("the header `{name}` or its value has a character that headers cannot have"))
            }
        }
    }

    /// What goes with the next request.
    ///
    /// # Errors
    /// If the file of the password or token cannot be read. What is in it is not told.
    pub fn headers(&mut self) -> Result<&HeaderMap, Fault> {
        if let Some(wrong) = &self.wrong {
            return Err(Fault::later(wrong));
        }
        if let Some(path) = &self.file {
            let failed = |error| Fault::later(format!("cannot read the credentials in {}: {error}", path.display()));
            let stamp = Stamp::from(&fs::metadata(path).map_err(failed)?);
            if self.read != Some(stamp) {
                let secret = read(path).map_err(failed)?;
                let text = match &self.username {
                    Some(username) => format!("Basic {}", STANDARD.encode(format!("{username}:{secret}"))),
                    None => format!("Bearer {secret}"),
                };
                let value = HeaderValue::from_str(&text);
                let mut value = value.map_err(|_| failed(io::Error::other("it holds a control character")))?;
                value.set_sensitive(true);
                self.headers.insert(AUTHORIZATION, value);
                self.read = Some(stamp);
            }
        }
        Ok(&self.headers)
    }
}

/// The text of a file, without the line's end that editors leave there.
fn read(path: &std::path::Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(io::Error::other("it is empty")) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::tests::Folder;
    use netsonde_core::config::Secret;

    fn authorization(auth: &mut Auth) -> Result<String, String> {
        let headers = auth.headers().map_err(|fault| fault.to_string())?;
        Ok(headers[AUTHORIZATION].to_str().unwrap().to_owned())
    }

    #[test]
    fn credentials_are_those_of_rfc_7617_and_6750_and_follow_their_file() {
        let folder = Folder::new();
        let path = folder.path("secret");
        let remote = |username: Option<&str>| Remote {
            username: username.map(str::to_owned),
            password_file: username.map(|_| path.clone()),
            token_file: username.is_none().then(|| path.clone()),
            headers: vec![("X-Key".into(), Secret::new("hunter2"))],
            ..Remote::default()
        };
        fs::write(&path, "open sesame\n").unwrap();
        let mut basic = Auth::new(&remote(Some("Aladdin")));
        assert_eq!(authorization(&mut basic).unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let mut bearer = Auth::new(&remote(None));
        assert_eq!(authorization(&mut bearer).unwrap(), "Bearer open sesame");
        assert!(!format!("{:?}", bearer.headers().unwrap()).contains("hunter2"));

        // As Kubernetes does it: another file takes the name. Without another file, the time of its change tells.
        fs::write(folder.path("new"), "new token\r\n").unwrap();
        fs::rename(folder.path("new"), &path).unwrap();
        assert_eq!(authorization(&mut bearer).unwrap(), "Bearer new token");
        fs::write(&path, "newer token").unwrap();
        assert_eq!(authorization(&mut bearer).unwrap(), "Bearer newer token");
    }

    #[test]
    fn a_file_that_is_of_no_use_is_told_without_what_is_in_it() {
        let folder = Folder::new();
        let path = folder.path("secret");
        let mut auth = Auth::new(&Remote { token_file: Some(path.clone()), ..Remote::default() });
        for (text, told) in
            [(None, "No such file"), (Some(""), "it is empty"), (Some("hun\0ter2"), "control character")]
        {
            text.inspect(|text| fs::write(&path, text).unwrap());
            let error = authorization(&mut auth).unwrap_err();
            assert!(error.contains(told) && error.contains("secret") && !error.contains("ter2"), "{error}");
        }
    }
}
