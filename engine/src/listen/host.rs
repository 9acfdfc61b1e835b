//! The syntax of `Host`.

use std::net::Ipv6Addr;

use memchr::memchr;

/// Returns `true` for a valid value of `Host` (RFC 9110, section 7.2). The host may be empty, as a `reg-name`
/// may be.
pub(super) fn is_host(value: &[u8]) -> bool {
    let port = if let Some(literal) = value.strip_prefix(b"[") {
        let Some(end) = memchr(b']', literal) else { return false };
        let address = str::from_utf8(&literal[..end]).ok();
        if address.is_none_or(|address| address.parse::<Ipv6Addr>().is_err()) {
            return false;
        }
        &literal[end + 1..]
    } else {
        let end = memchr(b':', value).unwrap_or(value.len());
        if !is_name(&value[..end]) {
            return false;
        }
        &value[end..]
    };
    port.is_empty() || (port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit))
}

/// Returns `true` for a `reg-name` (RFC 3986, section 3.2.2).
fn is_name(mut rest: &[u8]) -> bool {
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'%', [first, second, tail @ ..]) if first.is_ascii_hexdigit() && second.is_ascii_hexdigit() => {
                tail
            }
            (b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=', _) => tail,
            _ if byte.is_ascii_alphanumeric() => tail,
            _ => return false,
        };
    }
    true
}
