//! Files that were put aside: `PATH.1` is the youngest.

use netsonde_core::config::Rotate;
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Whether a file of `len` bytes and this age is put aside before `more` are written. An empty one never is.
pub fn is_due(rotate: &Rotate, len: u64, more: u64, age: Duration) -> bool {
    let too_long = rotate.size.is_some_and(|size| len + more > size);
    let too_old = rotate.age.is_some_and(|limit| age >= limit);
    len > 0 && (too_long || too_old)
}

/// Puts the file aside; of those before, `keep - 1` stay.
///
/// # Errors
/// If one cannot get its next name. The file itself has its name then.
pub fn rotate(path: &Path, keep: u64) -> io::Result<()> {
    let kept = (1..keep).rev().map(|age| (numbered(path, age), numbered(path, age + 1)));
    for (from, to) in kept.chain([(path.to_owned(), numbered(path, 1))]) {
        match fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn numbered(path: &Path, age: u64) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{age}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_age_are_looked_at_before_a_write() {
        let (size, age) = (Some(100), Some(Duration::from_secs(60)));
        let neither = Rotate::default();
        let [by_size, by_age] = [Rotate { size, ..neither.clone() }, Rotate { age, ..neither.clone() }];
        for (rotate, len, more, seconds, want) in [
            (&neither, 1 << 40, 1, 1 << 30, false),
            (&by_size, 60, 40, 1 << 30, false),
            (&by_size, 60, 41, 0, true),
            (&by_size, 0, 1000, 0, false),
            (&by_age, 1 << 40, 1, 59, false),
            (&by_age, 1, 1, 60, true),
            (&by_age, 0, 1, 60, false),
        ] {
            let got = is_due(rotate, len, more, Duration::from_secs(seconds));
            assert_eq!(got, want, "{rotate:?} {len} {more} {seconds}");
        }
    }
}
