//! The login of administrators.

use std::{error::Error, fmt, str::FromStr, sync::Arc};

use serde::Deserialize;
use socketio::{ConnectError, Handshake, Sid};
use tokio::sync::Semaphore;

use crate::sessions::{MemoryStore, SessionStore};

/// The message for which the UI asks for the credentials again.
const INVALID: &str = "invalid credentials";
/// The maximum number of clients whose password is checked or waits for that. Further clients are refused.
const MAX_WAITING: usize = 32;
/// No longer password is hashed. bcrypt itself ignores what follows after 72 bytes.
const MAX_PASSWORD_BYTES: usize = 1024;
/// The maximum length of the id of a session.
const MAX_SESSION_BYTES: usize = 256;

/// The error for a password that is no bcrypt hash.
///
/// # Examples
///
/// ```
/// use socketio_admin::Admin;
///
/// let error = Admin::basic_auth("admin", "secret").unwrap_err();
/// assert_eq!(error.to_string(), "the password must be a bcrypt hash, such as `$2b$10$...`");
/// ```
#[derive(Debug)]
pub struct InvalidHash(());

impl fmt::Display for InvalidHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the password must be a bcrypt hash, such as `$2b$10$...`")
    }
}

impl Error for InvalidHash {}

/// How administrators log in.
pub(crate) enum Authentication {
    /// Everyone is let in.
    None,
    Basic(Box<BasicAuth>),
}

pub(crate) struct BasicAuth {
    username: String,
    hash: String,
    pub(crate) store: Arc<dyn SessionStore>,
    /// Bounds the passwords that are checked at a time.
    checks: Arc<Semaphore>,
    /// Bounds the clients that wait for a check.
    waiting: Semaphore,
}

/// What the UI sends: a session of an earlier login, or a name and a password.
#[derive(Deserialize)]
struct Credentials {
    #[serde(rename = "sessionId")]
    session_id: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl BasicAuth {
    pub(crate) fn new(username: String, hash: String) -> Result<Self, InvalidHash> {
        bcrypt::HashParts::from_str(&hash).map_err(|_| InvalidHash(()))?;
        let (checks, waiting) = (Arc::new(Semaphore::new(2)), Semaphore::new(MAX_WAITING));
        Ok(Self { username, hash, store: Arc::new(MemoryStore::default()), checks, waiting })
    }

    pub(crate) fn set_max_checks(&mut self, max: usize) {
        self.checks = Arc::new(Semaphore::new(max));
    }

    /// Returns the id of a new session, or `None` if the client has a session.
    async fn login(&self, credentials: Credentials) -> Result<Option<String>, ConnectError> {
        let session = credentials.session_id.filter(|id| (1..=MAX_SESSION_BYTES).contains(&id.len()));
        if let Some(session) = session
            && self.store.contains(session).await.map_err(ConnectError::internal)?
        {
            return Ok(None);
        }
        let (Some(username), Some(password)) = (credentials.username, credentials.password) else {
            return Err(ConnectError::new(INVALID));
        };
        // The password is checked for any name, because the duration would reveal which name is right.
        let is_right = self.check(password).await?;
        if !is_right || username != self.username {
            tracing::warn!("an administrator was refused");
            return Err(ConnectError::new(INVALID));
        }
        let session = Sid::random().as_str().to_owned();
        self.store.save(session.clone()).await.map_err(ConnectError::internal)?;
        Ok(Some(session))
    }

    async fn check(&self, password: String) -> Result<bool, ConnectError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            tracing::warn!("too many passwords are being checked");
            return Err(ConnectError::new("too many logins, try again later"));
        };
        let permit = self.checks.clone().acquire_owned().await.map_err(ConnectError::internal)?;
        let hash = self.hash.clone();
        let check = tokio::task::spawn_blocking(move || {
            // Released at the end of the check, even if the client has gone before.
            let _permit = permit;
            bcrypt::verify(password, &hash)
        });
        check.await.map_err(ConnectError::internal)?.map_err(ConnectError::internal)
    }
}

impl Authentication {
    /// Returns the id of a new session, or `None` if the client needs none.
    pub(crate) async fn admit(&self, handshake: &Handshake) -> Result<Option<String>, ConnectError> {
        match self {
            Self::None => Ok(None),
            Self::Basic(basic) => {
                let credentials = handshake.auth().map_err(|_| ConnectError::new(INVALID))?;
                basic.login(credentials).await
            }
        }
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic(_) => "Basic",
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_limited_number_of_passwords_waits() {
        let hash = "$2a$04$8Xi9AP6MMkW8584x8GzsTOO7e4.XjeGgbdIhViAZak1H57lo4vBY2";
        let auth = BasicAuth::new("admin".into(), hash.into()).unwrap();
        for (clients, refusals) in [(MAX_WAITING, 0), (MAX_WAITING + 1, 1), (MAX_WAITING, 0)] {
            let all_checks = auth.checks.acquire_many(2).await.unwrap();
            let mut waiting: Vec<_> = (0..clients).map(|_| Box::pin(auth.check("changeit".into()))).collect();
            // Those that wait are pending, the others are refused at once.
            let refused = waiting.iter_mut().filter_map(FutureExt::now_or_never).count();
            assert_eq!(refused, refusals);
            drop(all_checks);
            for check in waiting.into_iter().take(MAX_WAITING) {
                assert_eq!(check.await, Ok(true));
            }
        }
        // bcrypt reads 72 bytes.
        let hash = bcrypt::hash("x".repeat(72), 4).unwrap();
        let auth = BasicAuth::new("admin".into(), hash).unwrap();
        let longest = "x".repeat(MAX_PASSWORD_BYTES);
        assert_eq!(auth.check(longest.clone() + "x").await, Ok(false));
        assert_eq!(auth.check(longest).await, Ok(true));
    }
}
