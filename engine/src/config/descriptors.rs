//! The default maximum number of connections, derived from the limit of open files of the process.

/// The upper bound of the default, for any number of descriptors.
const MAX_DEFAULT: usize = 1_000_000;

/// Returns the default maximum number of connections: nine tenths of the file descriptors of the process. The
/// rest is left for other files of the server.
pub(crate) fn default_max_connections() -> usize {
    let descriptors = descriptors().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (descriptors / 10 * 9).clamp(1, MAX_DEFAULT)
}

/// Returns the soft limit `RLIMIT_NOFILE`.
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
        let default = default_max_connections();
        assert!((1..=MAX_DEFAULT).contains(&default));
        if let Some(descriptors) = descriptors() {
            assert!(default as u64 <= (descriptors / 10 * 9).max(1));
        }
    }
}
