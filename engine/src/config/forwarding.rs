//! The address of a server as a part of its session ids.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use http::HeaderValue;
use parking_lot::RwLock;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::proto::sid::LENGTH;

const NONCE: usize = 12;
/// Separates the encrypted addresses from anything else that might be encrypted with the same key.
const CONTEXT: &[u8] = b"engineio session address 1";
/// The shortest secret that cannot be guessed.
const MIN_SECRET: usize = 16;
/// The maximum number of addresses that are remembered.
const MAX_KNOWN: usize = 1024;

/// Lets every server of a cluster handle the requests of every session, so that the load balancer needs no sticky
/// sessions.
///
/// The ids of sessions then have more characters, which contain the address of their server, encrypted and
/// authenticated with the secret of the cluster. A server that receives a request for a session of another server
/// forwards it to that address, where [`Engine::serve_forwarded`](crate::Engine::serve_forwarded) accepts it: polls
/// and POSTs over one connection, and each WebSocket over a connection of its own. Origins and hooks are
/// checked by the server that the client has reached.
///
/// Requests are forwarded without encryption, so the addresses must belong to a private network. Node.js has no such
/// option; its closest relative is the package `@socket.io/cluster-engine`.
///
/// # Examples
///
/// ```
/// use engineio::{EngineConfig, Forwarding};
///
/// # let secret = "0123456789abcdef";
/// let forwarding = Forwarding::new(secret, "10.0.0.5:4000".parse()?);
/// let config = EngineConfig::default().forwarding(forwarding);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone)]
pub struct Forwarding(Arc<Inner>);

struct Inner {
    cipher: ChaCha20Poly1305,
    address: SocketAddr,
    suffix: String,
    authorization: HeaderValue,
    /// The addresses of other servers that were decrypted, by the part of the id. Decryption costs more than all other
    /// checks of a poll.
    known: RwLock<HashMap<Box<str>, SocketAddr>>,
}

/// The server of a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Location<'a> {
    /// This server, which knows the session by this part of the id.
    Here(&'a str),
    /// Another server.
    Remote(SocketAddr),
}

impl Forwarding {
    /// Creates the option for the server at `address`, where the other servers reach its
    /// [`serve_forwarded`](crate::Engine::serve_forwarded). All servers of the cluster have the same secret. It has
    /// at least 16 bytes, and should be random.
    ///
    /// # Panics
    ///
    /// Panics if the secret is shorter than 16 bytes, or if the address is unspecified, such as `0.0.0.0`, or has
    /// port 0.
    #[track_caller]
    pub fn new(secret: impl AsRef<[u8]>, address: SocketAddr) -> Self {
        let secret = secret.as_ref();
        assert!(secret.len() >= MIN_SECRET, "the secret must have at least {MIN_SECRET} bytes");
        let is_reachable = !address.ip().is_unspecified() && address.port() != 0;
        assert!(is_reachable, "other servers cannot connect to {address}");
        let cipher = ChaCha20Poly1305::new(&derive(secret, b"engineio address").into());
        let token = BASE64_URL_SAFE_NO_PAD.encode(derive(secret, b"engineio authorization"));
        // Base64 has only characters that are allowed in a header.
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {token}")).unwrap_or(HeaderValue::from_static(""));
        authorization.set_sensitive(true);
        let suffix = seal(&cipher, address);
        Self(Arc::new(Inner { cipher, address, suffix, authorization, known: RwLock::default() }))
    }

    /// Returns the part of session ids that names this server.
    pub(crate) fn suffix(&self) -> &str {
        &self.0.suffix
    }

    /// Returns the server of a session. The id was sent by a client. An id that no server of the cluster has issued
    /// is not a session of this server either.
    pub(crate) fn locate<'a>(&self, id: &'a str) -> Location<'a> {
        let Some((sid, suffix)) = id.split_at_checked(LENGTH) else { return Location::Here(id) };
        if suffix.is_empty() || suffix == self.0.suffix {
            return Location::Here(sid);
        }
        match self.address(suffix) {
            // The address may have belonged to an earlier server.
            Some(address) if address == self.0.address => Location::Here(sid),
            Some(address) => Location::Remote(address),
            None => Location::Here(id),
        }
    }

    /// Returns the address in a part of an id.
    fn address(&self, suffix: &str) -> Option<SocketAddr> {
        if let Some(address) = self.0.known.read().get(suffix) {
            return Some(*address);
        }
        let address = open(&self.0.cipher, suffix)?;
        let known = &mut *self.0.known.write();
        // Only servers of the cluster can add entries.
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(suffix.into(), address);
        Some(address)
    }

    /// Returns the value of `Authorization` of forwarded requests.
    pub(crate) fn authorization(&self) -> &HeaderValue {
        &self.0.authorization
    }

    /// Returns `true` if a request has the `Authorization` of a server of the cluster.
    pub(crate) fn is_authorized(&self, value: Option<&HeaderValue>) -> bool {
        value.is_some_and(|value| value.as_bytes().ct_eq(self.0.authorization.as_bytes()).into())
    }
}

impl fmt::Debug for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarding").field("address", &self.0.address).finish_non_exhaustive()
    }
}

fn derive(secret: &[u8], purpose: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    // Only keys of more than 8,160 bytes cannot be derived.
    let _ = Hkdf::<Sha256>::new(None, secret).expand(purpose, &mut key);
    key
}

/// Encrypts an address: the nonce, the octets of the IP address and of the port, and the tag, in base64.
fn seal(cipher: &ChaCha20Poly1305, address: SocketAddr) -> String {
    let mut octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    octets.extend(address.port().to_be_bytes());
    let nonce: [u8; NONCE] = rand::random();
    let mut sealed = nonce.to_vec();
    let payload = Payload { msg: &octets, aad: CONTEXT };
    // Only messages of more than 256 GiB cannot be encrypted.
    sealed.extend(cipher.encrypt(&Nonce::from(nonce), payload).unwrap_or_default());
    BASE64_URL_SAFE_NO_PAD.encode(sealed)
}

/// Decrypts an address, or returns `None` if it was not encrypted with the same secret.
fn open(cipher: &ChaCha20Poly1305, suffix: &str) -> Option<SocketAddr> {
    let mut buffer = [0; 64];
    let len = BASE64_URL_SAFE_NO_PAD.decode_slice(suffix, &mut buffer).ok()?;
    let (nonce, msg) = buffer[..len].split_first_chunk::<NONCE>()?;
    let octets = cipher.decrypt(&Nonce::from(*nonce), Payload { msg, aad: CONTEXT }).ok()?;
    let (ip, port) = octets.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sid;

    const SECRET: &str = "a secret of 27 bytes, or so";

    fn server(address: &str) -> Forwarding {
        Forwarding::new(SECRET, address.parse().unwrap())
    }

    #[test]
    fn an_id_names_its_server() {
        for address in ["10.0.0.5:4000", "[2001:db8::7]:65535"] {
            let (owner, other) = (server(address), server("10.0.0.6:4000"));
            let sid = Sid::random();
            let id = format!("{sid}{}", owner.suffix());
            assert_eq!(owner.locate(&id), Location::Here(sid.as_str()));
            for _ in 0..2 {
                assert_eq!(other.locate(&id), Location::Remote(address.parse().unwrap()));
            }
            // A server that was started again has the same address.
            assert_eq!(server(address).locate(&id), Location::Here(sid.as_str()));
            assert!(
                !id.contains(address)
                    && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            );
        }
    }

    #[test]
    fn an_address_cannot_be_forged() {
        let (owner, other) = (server("10.0.0.5:4000"), server("10.0.0.6:4000"));
        let sid = Sid::random();
        let id = format!("{sid}{}", owner.suffix());
        let foreign = Forwarding::new("another secret of 30 bytes ...", "10.0.0.9:1".parse().unwrap());
        for forged in [
            format!("{sid}{}", foreign.suffix()),
            format!("{sid}{}", "A".repeat(46)),
            format!("{sid}{}", "A".repeat(500)),
            format!("{id}A"),
            format!("{sid}{sid}"),
            format!("{sid}A"),
        ] {
            assert_eq!(other.locate(&forged), Location::Here(&forged));
        }
        for at in LENGTH..id.len() {
            let mut forged = id.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'Q' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(other.locate(&forged), Location::Here(&forged), "character {at}");
        }
    }

    #[test]
    fn a_bounded_number_of_addresses_is_remembered() {
        let other = server("10.0.0.6:4000");
        for port in 1..=MAX_KNOWN as u16 + 1 {
            let id = format!("{}{}", Sid::random(), server(&format!("10.0.0.5:{port}")).suffix());
            assert!(matches!(other.locate(&id), Location::Remote(_)));
            assert!(other.0.known.read().len() <= MAX_KNOWN);
        }
        assert_eq!(other.0.known.read().len(), 1);
    }

    #[test]
    fn ids_without_an_address_belong_to_this_server() {
        let server = server("10.0.0.5:4000");
        for id in ["", "abc", "abcdefghijklmnopqrst", "éééééééééé€"] {
            assert_eq!(server.locate(id), Location::Here(id));
        }
    }

    #[test]
    fn only_the_servers_of_the_cluster_are_authorized() {
        let (one, two) = (server("10.0.0.5:4000"), server("10.0.0.6:4000"));
        assert!(one.is_authorized(Some(two.authorization())));
        let foreign = Forwarding::new("another secret of 30 bytes ...", "10.0.0.9:1".parse().unwrap());
        assert!(!one.is_authorized(Some(foreign.authorization())));
        assert!(!one.is_authorized(Some(&HeaderValue::from_static(""))));
        assert!(!one.is_authorized(None));
    }

    #[test]
    fn debug_hides_the_secret() {
        assert_eq!(format!("{:?}", server("10.0.0.5:4000")), "Forwarding { address: 10.0.0.5:4000, .. }");
    }

    #[test]
    #[should_panic(expected = "other servers cannot connect to 0.0.0.0:4000")]
    fn the_address_must_be_reachable() {
        server("0.0.0.0:4000");
    }

    #[test]
    #[should_panic(expected = "the secret must have at least 16 bytes")]
    fn a_short_secret_is_refused() {
        Forwarding::new("0123456789abcde", "10.0.0.5:4000".parse().unwrap());
    }
}
