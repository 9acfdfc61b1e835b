//! The files that the process may open: each connection is one.

/// The most connections, however many descriptors there are.
const MANY: usize = 1_000_000;

/// How many connections a server may have: nine tenths of the descriptors of the process, because it needs some itself.
pub(crate) fn connections_of_descriptors() -> usize {
    let descriptors = descriptors().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (descriptors / 10 * 9).clamp(1, MANY)
}

/// The soft limit `RLIMIT_NOFILE`.
#[cfg(unix)]
fn descriptors() -> Option<u64> {
    rlimit::Resource::NOFILE.get_soft().ok()
}

#[cfg(not(unix))]
fn descriptors() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_some_descriptors() {
        let default = connections_of_descriptors();
        assert!((1..=MANY).contains(&default));
        if let Some(descriptors) = descriptors() {
            assert!(default as u64 <= (descriptors / 10 * 9).max(1));
        }
    }
}
