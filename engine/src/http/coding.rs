//! Content coding of responses (RFC 9110, section 12.5.3).

use std::io::Write as _;

use brotli::enc::BrotliEncoderParams;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::{ResponseBody, config::engine::EngineConfig};

/// The Brotli quality for responses. It is about as fast as gzip at its default level, with slightly smaller
/// output.
const BROTLI_QUALITY: i32 = 4;
/// The Brotli quality for content that is compressed once. Higher values take ten times as long and save a
/// few percent.
const BROTLI_BEST: i32 = 9;
/// The minimum size of a body that is compressed outside of the worker threads. Compressing a body of this
/// size takes about a millisecond.
const MIN_BLOCKING_LEN: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Brotli,
    /// The zlib format, which HTTP calls `deflate`.
    Deflate,
}

impl Coding {
    /// The order of preference among codings of equal weight, fastest first.
    const FASTEST: [Self; 3] = [Self::Gzip, Self::Brotli, Self::Deflate];
    /// The order of preference for content that is compressed once, smallest output first.
    const SMALLEST: [Self; 3] = [Self::Brotli, Self::Gzip, Self::Deflate];

    fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Deflate => "deflate",
        }
    }

    /// Returns the coding that the client prefers, or `None` if the client prefers an uncompressed response.
    fn accepted(headers: &HeaderMap, preferred: [Self; 3]) -> Option<Self> {
        let values = headers.get_all(header::ACCEPT_ENCODING);
        let elements: Vec<(&str, u16)> = values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(element)
            .collect();
        let weight = |name: &str| elements.iter().find(|(listed, _)| listed.eq_ignore_ascii_case(name));
        let any = weight("*").map_or(0, |&(_, weight)| weight);
        let identity = weight("identity").map_or(0, |&(_, weight)| weight);
        preferred
            .into_iter()
            .map(|coding| (weight(coding.as_str()).map_or(any, |&(_, weight)| weight), coding))
            .rev()
            .max_by_key(|&(weight, _)| weight)
            .filter(|&(weight, _)| weight > 0 && weight >= identity)
            .map(|(_, coding)| coding)
    }

    /// Compresses the body. Returns `None` if compression fails.
    fn encode(self, body: &[u8], level: u32, quality: i32) -> Option<Vec<u8>> {
        let out = Vec::with_capacity(body.len() / 3);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::new(level));
                encoder.write_all(body).and_then(|()| encoder.finish()).ok()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, Compression::new(level));
                encoder.write_all(body).and_then(|()| encoder.finish()).ok()
            }
            Self::Brotli => {
                let mut out = out;
                let parameters =
                    BrotliEncoderParams { quality, size_hint: body.len(), ..BrotliEncoderParams::default() };
                brotli::BrotliCompress(&mut &*body, &mut out, &parameters).ok().map(|_| out)
            }
        }
    }
}

/// Not public API. Returns the coding that the client prefers for content that is compressed once.
#[doc(hidden)]
pub fn __preferred_coding(headers: &HeaderMap) -> Option<&'static str> {
    Coding::accepted(headers, Coding::SMALLEST).map(Coding::as_str)
}

/// Not public API. Compresses the body with the best compression. Returns `None` if compression fails or the
/// coding is unknown.
#[doc(hidden)]
pub fn __encode_once(coding: &str, body: &[u8]) -> Option<Vec<u8>> {
    let coding = Coding::SMALLEST.into_iter().find(|known| known.as_str() == coding)?;
    coding.encode(body, Compression::best().level(), BROTLI_BEST)
}

/// Returns `true` if responses to polls may be compressed.
pub(crate) fn compresses_responses(config: &EngineConfig) -> bool {
    config.http_compression.is_some()
}

/// Parses one element of `Accept-Encoding`: a coding and its weight in thousandths. Returns `None` if the
/// element is malformed.
fn element(element: &str) -> Option<(&str, u16)> {
    let (name, weight) = match element.split_once(';') {
        None => (element, None),
        Some((name, weight)) => (name, Some(weight.trim())),
    };
    let weight = match weight {
        None => 1000,
        Some(weight) => {
            let value = weight.strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('=')?.trim_start();
            let value: f32 = value.parse().ok().filter(|value| (0.0..=1.0).contains(value))?;
            // The product is between 0 and 1000.
            #[allow(clippy::cast_sign_loss, reason = "checked above")]
            let thousandths = (value * 1000.0).round() as u16;
            thousandths
        }
    };
    Some((name.trim(), weight)).filter(|(name, _)| !name.is_empty())
}

/// The compression options for the response to one request. They are kept while the response is pending.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptedCoding {
    threshold: usize,
    level: u32,
    coding: Option<Coding>,
}

impl AcceptedCoding {
    /// Parses `Accept-Encoding`. Returns `None` if the server does not compress responses.
    pub(crate) fn from_headers(headers: &HeaderMap, config: &EngineConfig) -> Option<Self> {
        let options = config.http_compression.as_ref()?;
        let coding = Coding::accepted(headers, Coding::FASTEST);
        Some(Self { threshold: options.threshold, level: options.level, coding })
    }

    /// Compresses the body if it is large enough and the client accepts a supported coding.
    pub(crate) async fn apply(self, response: Response<ResponseBody>) -> Response<ResponseBody> {
        let (mut parts, body) = response.into_parts();
        let body = body.into_bytes();
        if body.len() < self.threshold || parts.status != StatusCode::OK {
            return Response::from_parts(parts, body.into());
        }
        parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        let Some(coding) = self.coding else { return Response::from_parts(parts, body.into()) };
        let encoded = if body.len() < MIN_BLOCKING_LEN {
            coding.encode(&body, self.level, BROTLI_QUALITY)
        } else {
            let body = body.clone();
            let encode =
                tokio::task::spawn_blocking(move || coding.encode(&body, self.level, BROTLI_QUALITY));
            encode.await.ok().flatten()
        };
        let body = if let Some(encoded) = encoded {
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
            encoded.into()
        } else {
            body
        };
        Response::from_parts(parts, body.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::HttpCompression;

    fn accepted(value: &str) -> Option<&'static str> {
        let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().unwrap())]);
        Coding::accepted(&headers, Coding::FASTEST).map(Coding::as_str)
    }

    #[test]
    fn the_client_chooses_and_gzip_wins_a_tie() {
        let cases = [
            ("gzip, deflate, br, zstd", Some("gzip")),
            ("br", Some("br")),
            ("GZIP", Some("gzip")),
            ("deflate", Some("deflate")),
            ("*", Some("gzip")),
            ("*;q=0.5, gzip;q=0", Some("br")),
            ("gzip;q=0.8, br;q=0.9, deflate;q=0.1", Some("br")),
            ("gzip ; Q = 0.001", Some("gzip")),
            ("gzip;q=0.5, identity", None),
            ("identity;q=0.5, gzip", Some("gzip")),
            ("gzip;q=0", None),
            ("gzip;q=2", None),
            ("gzip;level=1", None),
            ("*;q=0", None),
            ("zstd, compress", None),
            ("", None),
            (",;q=1,", None),
        ];
        for (value, expected) in cases {
            assert_eq!(accepted(value), expected, "{value}");
        }
        assert_eq!(Coding::accepted(&HeaderMap::new(), Coding::FASTEST), None);
    }

    async fn answer(accept: Option<&str>, len: usize) -> (HeaderMap, bytes::Bytes) {
        let config = EngineConfig::default().http_compression(HttpCompression::default());
        let headers = accept.map(|value| (header::ACCEPT_ENCODING, value.parse().unwrap()));
        let wanted = AcceptedCoding::from_headers(&HeaderMap::from_iter(headers), &config).unwrap();
        let (parts, body) =
            wanted.apply(Response::new(ResponseBody::from("x".repeat(len)))).await.into_parts();
        (parts.headers, body.into_bytes())
    }

    #[tokio::test]
    async fn each_coding_can_be_read_back() {
        for len in [1024, 10_000, 1_000_000] {
            for coding in Coding::FASTEST {
                let (headers, body) = answer(Some(coding.as_str()), len).await;
                assert_eq!(headers[header::CONTENT_ENCODING], coding.as_str());
                assert_eq!(headers[header::VARY], "Accept-Encoding");
                assert!(body.len() < len / 10);
                let mut text = String::new();
                match coding {
                    Coding::Gzip => flate2::read::GzDecoder::new(&*body).read_to_string(&mut text),
                    Coding::Deflate => flate2::read::ZlibDecoder::new(&*body).read_to_string(&mut text),
                    Coding::Brotli => brotli::Decompressor::new(&*body, 4096).read_to_string(&mut text),
                }
                .unwrap();
                assert!(text == "x".repeat(len));
            }
        }
    }

    #[tokio::test]
    async fn small_answers_and_clients_without_wishes_are_left_alone() {
        let (headers, body) = answer(Some("gzip"), 1023).await;
        assert!(headers.is_empty());
        assert_eq!(body.len(), 1023);
        let (headers, body) = answer(None, 1024).await;
        assert!(!headers.contains_key(header::CONTENT_ENCODING));
        assert_eq!(
            (&headers[header::VARY], body.len()),
            (&HeaderValue::from_static("Accept-Encoding"), 1024)
        );
    }
}
