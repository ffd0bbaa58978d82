//! Names and passwords. A comparison by bcrypt takes a tenth of a second of CPU on purpose: few are made, one after the other, beside the
//! thread that answers, and what was right once is remembered.

use super::counts::Refusal;
use netsonde_core::config::web::User;
use sha2::{Digest, Sha256};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{sync::Semaphore, task};

/// Comparisons that may wait for the one that is made; more are answered that they should come again.
const MAX_WAITING: usize = 8;

/// Right passwords that are remembered; a user has one.
const MAX_KNOWN: usize = 256;

/// What compares, and remembers.
pub struct Passwords {
    /// Digests of names, hashes and passwords that were right: a changed hash makes another.
    known: Mutex<HashSet<[u8; 32]>>,
    places: Semaphore,
    one: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { known: Mutex::default(), places: Semaphore::new(1 + MAX_WAITING), one: Arc::new(Semaphore::new(1)) }
    }
}

impl Passwords {
    /// Whether this is a user's name and password. An unknown name takes as long as a wrong password.
    ///
    /// # Errors
    /// [`Refusal::WrongPassword`], or [`Refusal::Busy`].
    pub async fn check(&self, users: &[User], name: &[u8], password: &[u8]) -> Result<(), Refusal> {
        let user = users.iter().find(|user| user.name.as_bytes() == name);
        // The cost stands in front of salt and hash: `$2y$10$`.
        let costliest = || users.iter().max_by_key(|user| user.hash.reveal().get(4..6));
        let hash = user.or_else(costliest).ok_or(Refusal::WrongPassword)?.hash.reveal();
        let digest = digest(&[name, hash.as_bytes(), password]);
        if user.is_some() && self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest) {
            return Ok(());
        }
        let _place = self.places.try_acquire().map_err(|_| Refusal::Busy)?;
        let one = self.one.clone().acquire_owned().await.map_err(|_| Refusal::Busy)?;
        let (password, hash) = (password.to_vec(), hash.to_owned());
        // The client may go meanwhile: the next one is compared only after this one.
        let compared = task::spawn_blocking(move || {
            let right = bcrypt::verify(&password, &hash);
            drop(one);
            right.unwrap_or(false)
        });
        if !compared.await.unwrap_or(false) || user.is_none() {
            return Err(Refusal::WrongPassword);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(digest);
        Ok(())
    }
}

/// Of several texts, so that no two lists of them have the same.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use netsonde_core::config::web;
    use std::{path::Path, time::Instant};

    fn users(list: &[(&str, &str, u32)]) -> Vec<User> {
        let line = |(name, password, cost): &(&str, &str, u32)| {
            format!("  {name}: '{}'\n", bcrypt::hash(password, *cost).unwrap())
        };
        let text: String = list.iter().map(line).collect();
        web::parse(&format!("basic_auth_users:\n{text}"), "web.yml", Path::new("/")).unwrap().users
    }

    #[tokio::test]
    async fn right_ones_pass_and_others_do_not() {
        let users = users(&[("alice", "secret", 4), ("bob", "", 4)]);
        let passwords = Passwords::default();
        for (name, password, right) in [
            ("alice", "secret", true),
            ("alice", "secret", true),
            ("bob", "", true),
            ("alice", "Secret", false),
            ("alice", "", false),
            ("bob", "secret", false),
            ("carol", "secret", false),
            ("", "", false),
        ] {
            let result = passwords.check(&users, name.as_bytes(), password.as_bytes()).await;
            assert_eq!(result, if right { Ok(()) } else { Err(Refusal::WrongPassword) }, "{name} {password}");
        }
        assert_eq!(passwords.known.lock().unwrap().len(), 2);
        assert_eq!(passwords.check(&[], b"alice", b"secret").await, Err(Refusal::WrongPassword));
    }

    #[tokio::test]
    async fn a_changed_hash_is_compared_anew() {
        let passwords = Passwords::default();
        assert_eq!(passwords.check(&users(&[("alice", "old", 4)]), b"alice", b"old").await, Ok(()));
        let changed = users(&[("alice", "new", 4)]);
        assert_eq!(passwords.check(&changed, b"alice", b"old").await, Err(Refusal::WrongPassword));
    }

    #[tokio::test]
    async fn too_many_at_once_are_told_to_come_again_and_known_ones_pass() {
        let users = users(&[("alice", "secret", 8)]);
        let passwords = Arc::new(Passwords::default());
        assert_eq!(passwords.check(&users, b"alice", b"secret").await, Ok(()));
        let wrong = (0..30).map(|index| {
            let (passwords, users) = (passwords.clone(), users.clone());
            tokio::spawn(async move { passwords.check(&users, b"alice", format!("{index}").as_bytes()).await })
        });
        let wrong: Vec<_> = wrong.collect();
        task::yield_now().await;
        let began = Instant::now();
        assert_eq!(passwords.check(&users, b"alice", b"secret").await, Ok(()));
        let alone = began.elapsed();
        let mut results = Vec::new();
        for task in wrong {
            results.push(task.await.unwrap());
        }
        let busy = results.iter().filter(|result| **result == Err(Refusal::Busy)).count();
        assert_eq!(busy, 30 - 1 - MAX_WAITING, "{results:?}");
        assert!(alone < began.elapsed());
    }
}
