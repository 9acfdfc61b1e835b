//! The negotiation of permessage-deflate (RFC 6455, section 9.1; RFC 7692, sections 5 and 7.1).

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue, header};

use crate::{
    config::{compression::PerMessageDeflate, engine::EngineConfig},
    proto::deflate::{MAX_BITS, Negotiated},
};

const NAME: &str = "permessage-deflate";

/// Accepts the first offer that the server supports. Returns `None`, for an uncompressed WebSocket, if there
/// is no such offer.
pub(crate) fn negotiate(headers: &HeaderMap, config: &EngineConfig) -> Option<Negotiated> {
    let options = config.per_message_deflate.as_ref()?;
    headers
        .get_all(header::SEC_WEBSOCKET_EXTENSIONS)
        .iter()
        .map_while(|value| Extensions(value.to_str().ok()?).all())
        .flatten()
        .filter(|extension| extension.name.eq_ignore_ascii_case(NAME))
        .filter_map(|extension| Offer::of(&extension.parameters))
        .find_map(|offer| offer.accept(options))
}

/// Returns the value of `Sec-WebSocket-Extensions` in the response.
pub(crate) fn response_header(negotiated: Negotiated) -> HeaderValue {
    let mut value = NAME.to_owned();
    if !negotiated.server_takeover {
        value.push_str("; server_no_context_takeover");
    }
    if !negotiated.client_takeover {
        value.push_str("; client_no_context_takeover");
    }
    // Writing to a `String` never fails.
    if negotiated.server_bits_offered || negotiated.server_bits < MAX_BITS {
        let _ = write!(value, "; server_max_window_bits={}", negotiated.server_bits);
    }
    if negotiated.client_bits < MAX_BITS {
        let _ = write!(value, "; client_max_window_bits={}", negotiated.client_bits);
    }
    // Names and numbers are always a valid header value.
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(NAME))
}

/// An offer of the client. `client_max_window_bits` without a value declares support of the parameter and is
/// stored as [`MAX_BITS`].
#[derive(Debug, Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<u8>,
}

impl Offer {
    /// Parses the parameters of an offer. Returns `None` if a parameter is unknown, repeated, or has an
    /// invalid value (RFC 7692, section 7.1).
    fn of(parameters: &[(&str, Option<&str>)]) -> Option<Self> {
        let mut offer = Self::default();
        for &(name, value) in parameters {
            let repeated = match (name.to_ascii_lowercase().as_str(), value) {
                ("server_no_context_takeover", None) => {
                    std::mem::replace(&mut offer.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    std::mem::replace(&mut offer.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(value)) => {
                    offer.server_max_window_bits.replace(window_bits(value)?).is_some()
                }
                ("client_max_window_bits", value) => {
                    let bits = value.map_or(Some(MAX_BITS), window_bits)?;
                    offer.client_max_window_bits.replace(bits).is_some()
                }
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        Some(offer)
    }

    fn accept(&self, options: &PerMessageDeflate) -> Option<Negotiated> {
        let server_bits = self.server_max_window_bits.unwrap_or(MAX_BITS).min(options.server_max_window_bits);
        if server_bits < 9 {
            // zlib does not support a window of 8 bits.
            return None;
        }
        let limited = self.client_max_window_bits.is_some() || options.client_max_window_bits == MAX_BITS;
        let client_takeover =
            limited && !options.client_no_context_takeover && !self.client_no_context_takeover;
        // Without context takeover, the client's window occupies no memory between messages.
        let own_bits = if client_takeover { options.client_max_window_bits } else { MAX_BITS };
        Some(Negotiated {
            threshold: options.threshold,
            level: options.level,
            server_takeover: !options.server_no_context_takeover && !self.server_no_context_takeover,
            client_takeover,
            server_bits,
            client_bits: self.client_max_window_bits.unwrap_or(MAX_BITS).min(own_bits),
            server_bits_offered: self.server_max_window_bits.is_some(),
        })
    }
}

/// Parses a number from 8 to 15. Rejects leading zeros and signs.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=MAX_BITS).contains(bits))?;
    (!value.starts_with(['0', '+'])).then_some(bits)
}

#[derive(Debug)]
struct Extension<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<&'a str>)>,
}

/// The unparsed rest of a header value.
struct Extensions<'a>(&'a str);

impl<'a> Extensions<'a> {
    /// Parses all extensions. Returns `None` if any part of the value is malformed.
    fn all(mut self) -> Option<Vec<Extension<'a>>> {
        let mut all = Vec::new();
        loop {
            let mut extension = Extension { name: self.token()?, parameters: Vec::new() };
            while self.eat(';') {
                let name = self.token()?;
                let value = if self.eat('=') { Some(self.value()?) } else { None };
                extension.parameters.push((name, value));
            }
            all.push(extension);
            if !self.eat(',') {
                return self.0.is_empty().then_some(all);
            }
        }
    }

    fn eat(&mut self, separator: char) -> bool {
        let rest = self.0.trim_start_matches([' ', '\t']);
        self.0 = rest.strip_prefix(separator).unwrap_or(rest);
        self.0.len() < rest.len()
    }

    fn token(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let end = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
        self.0 = &rest[end..];
        Some(&rest[..end]).filter(|token| !token.is_empty())
    }

    /// Parses a token, which may be quoted. Escapes are not supported, because no client uses them.
    fn value(&mut self) -> Option<&'a str> {
        let quoted = self.eat('"');
        let token = self.token()?;
        (!quoted || self.0.starts_with('"')).then(|| {
            self.0 = &self.0[usize::from(quoted)..];
            token
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(offer: &str, options: PerMessageDeflate) -> Option<String> {
        let headers = HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, offer.parse().unwrap())]);
        let negotiated = negotiate(&headers, &EngineConfig::default().per_message_deflate(options))?;
        let answer = response_header(negotiated).to_str().unwrap().to_owned();
        Some(answer.strip_prefix("permessage-deflate").unwrap().to_owned())
    }

    #[test]
    fn by_default_the_client_is_asked_for_nothing_that_it_has_not_offered() {
        const SERVER: &str = "; server_no_context_takeover";
        const BOTH: &str = "; server_no_context_takeover; client_no_context_takeover";
        let cases = [
            ("permessage-deflate", SERVER),
            ("permessage-deflate; client_max_window_bits", SERVER),
            ("PerMessage-Deflate;Client_Max_Window_Bits", SERVER),
            ("permessage-deflate; client_max_window_bits=15", SERVER),
            ("permessage-deflate;server_no_context_takeover", SERVER),
            ("permessage-deflate;server_no_context_takeover;client_no_context_takeover", BOTH),
            ("permessage-deflate; client_no_context_takeover; client_max_window_bits", BOTH),
            ("x-webkit-deflate-frame, permessage-deflate", SERVER),
            ("a; b=\"c\"; d , \tpermessage-deflate", SERVER),
            ("permessage-deflate; server_max_window_bits=8, permessage-deflate", SERVER),
            ("permessage-deflate; nothing, permessage-deflate", SERVER),
        ];
        for (offer, expected) in cases {
            assert_eq!(answer(offer, PerMessageDeflate::default()).as_deref(), Some(expected), "{offer}");
        }
        for (offer, bits) in [
            ("permessage-deflate; server_max_window_bits=10", "; server_max_window_bits=10"),
            ("permessage-deflate; server_max_window_bits=\"15\"", "; server_max_window_bits=15"),
            ("permessage-deflate; client_max_window_bits=8", "; client_max_window_bits=8"),
        ] {
            let expected = format!("{SERVER}{bits}");
            assert_eq!(answer(offer, PerMessageDeflate::default()), Some(expected), "{offer}");
        }
        // The server requires the parameter if configured.
        let none = PerMessageDeflate::default().client_no_context_takeover(true);
        assert_eq!(answer("permessage-deflate", none).as_deref(), Some(BOTH));
    }

    #[test]
    fn what_cannot_be_met_is_declined() {
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate2",
            "x-permessage-deflate; permessage-deflate",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_max_window_bits=x",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=\"10",
            "permessage-deflate; client_max_window_bits=10; client_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; unknown",
            "permessage-deflate;",
            "permessage-deflate,,",
            "permessage-deflate foo",
            "permessage-deflate; a=\"b c\"",
        ] {
            assert_eq!(answer(offer, PerMessageDeflate::default()), None, "{offer}");
        }
    }

    #[test]
    fn takeover_is_refused_to_a_client_that_asks_for_none() {
        let takeover = || {
            PerMessageDeflate::default().server_no_context_takeover(false).client_no_context_takeover(false)
        };
        let small = || takeover().server_max_window_bits(12).client_max_window_bits(11);
        let cases = [
            (takeover(), "", ""),
            (takeover(), "; server_no_context_takeover", "; server_no_context_takeover"),
            (takeover(), "; client_no_context_takeover", "; client_no_context_takeover"),
            (small(), "; client_max_window_bits", "; server_max_window_bits=12; client_max_window_bits=11"),
            (
                small(),
                "; client_max_window_bits=9; server_max_window_bits=10",
                "; server_max_window_bits=10; client_max_window_bits=9",
            ),
            // The client cannot limit its window, so context takeover would need more memory than configured.
            (small(), "", "; client_no_context_takeover; server_max_window_bits=12"),
        ];
        for (options, offer, expected) in cases {
            assert_eq!(answer(&format!("permessage-deflate{offer}"), options).as_deref(), Some(expected));
        }
    }

    #[test]
    fn nothing_is_negotiated_unless_it_is_on() {
        let headers = HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, NAME.parse().unwrap())]);
        assert_eq!(negotiate(&headers, &EngineConfig::default()), None);
    }
}
