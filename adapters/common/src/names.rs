//! Names of bounded length.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// Returns 22 characters of the alphabet of base64url that stand for a name: the first 128 bits of its SHA-256.
pub fn digest(name: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(name).split_at(16).0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn digests_are_stable() {
        assert_eq!(super::digest(""), "47DEQpj8HBSa-_TImW-5JA");
        assert_eq!(super::digest("/chat").len(), 22);
    }
}
