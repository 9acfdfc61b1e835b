//! Published vulnerabilities of similar servers that could apply to this server. Each test sends the input of
//! the advisory through real sockets while another client must be served without delay. `docs/security.md`
//! lists the advisories.
//!
//! These advisories cannot apply:
//!
//! | advisory | reason |
//! |---|---|
//! | GHSA-gr94-w7qr-f4j3 (engine.io, WebTransport) | WebTransport is not supported |
//! | GHSA-7xpx-rcqc-8qjh, RUSTSEC-2017-0006, RUSTSEC-2022-0092, msgpack of GHSA-c6g7-r2mf-pf5g | MessagePack is off by default; the decoder of the feature `msgpack` is fuzzed |
//! | CVE-2025-61765 (pickle over the message queue), garbage from Redis | no adapter reads from a network |
//! | CVE-2016-10536, CVE-2020-28502, CVE-2021-31597 (TLS of clients) | the crate contains no network client |
//! | RUSTSEC-2026-0258, RUSTSEC-2024-0332, RUSTSEC-2024-0003, CVE-2023-44487, CVE-2025-8671 (HTTP/2) | only HTTP/1.1 is served; a test sends the preface of HTTP/2 |
//! | RUSTSEC-2024-0336, RUSTSEC-2024-0399 (rustls) | TLS is off by default; `Cargo.lock` selects a release of rustls with the fixes |
//! | RUSTSEC-2022-0002 and the like (memory safety of dependencies) | no input triggers them; `Cargo.toml` requires fixed versions |
//! | RUSTSEC-2022-0055 (axum-core, bodies without a limit) | the engine reads the bodies, see `cve_2020_36048` |

mod attachments;
mod floods;
mod frames;
mod http;
mod packets;
mod requests;
mod sessions;
mod stage;
