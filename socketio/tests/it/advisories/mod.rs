//! Every published weakness of this family of servers that could apply to this one, as the input that showed it: through
//! real sockets, with a client beside it that must not notice. `docs/security.md` lists them.
//!
//! What cannot apply, and why:
//!
//! | advisory | reason |
//! |---|---|
//! | GHSA-gr94-w7qr-f4j3 (engine.io, WebTransport) | there is no such transport |
//! | GHSA-7xpx-rcqc-8qjh, RUSTSEC-2017-0006, RUSTSEC-2022-0092, msgpack of GHSA-c6g7-r2mf-pf5g | no msgpack |
//! | CVE-2025-61765 (pickle over the message queue), garbage from Redis | no adapter reads from a network |
//! | CVE-2016-10536, CVE-2020-28502, CVE-2021-31597 (TLS of clients) | there is no client |
//! | RUSTSEC-2026-0258, RUSTSEC-2024-0332, RUSTSEC-2024-0003, CVE-2023-44487, CVE-2025-8671 (HTTP/2) | only HTTP/1.1 is served; that its preface does no harm is tested |
//! | RUSTSEC-2024-0336, RUSTSEC-2024-0399 (rustls) | TLS is terminated by others |
//! | RUSTSEC-2022-0002 and the like (memory safety of dependencies) | no input shows them: minimum versions in `Cargo.toml` |
//! | RUSTSEC-2022-0055 (axum-core, bodies without a limit) | bodies are read by the engine, see `cve_2020_36048` |

mod attachments;
mod floods;
mod frames;
mod http;
mod packets;
mod requests;
mod sessions;
mod stage;
