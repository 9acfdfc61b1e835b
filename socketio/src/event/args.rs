//! Untyped arguments of events and acknowledgements.

use std::{fmt, sync::OnceLock};

use bytes::Bytes;
use engineio::Message;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    event::error::DecodeError,
    proto::{
        args::{ArgsError, FromArgs, RawArgs, ToArgs, read_one},
        attachments::Attachments,
        elements::{Elements, Index},
        encode::{Encoder, Frames},
        json,
        parser::{GuardedDecoder, ParserLimits},
        sealed::Sealed,
    },
};

/// The arguments of an event or an acknowledgement as received, as JSON text with attachments.
///
/// A handler that accepts `Args` can read the arguments one by one, or forward them without parsing. The text
/// is valid JSON of bounded depth.
///
/// # Examples
///
/// ```
/// use socketio::{Args, Namespace};
///
/// // Echoes the arguments.
/// let echo = Namespace::new("/echo").on("echo", async |socket, args: Args| socket.emit("echo", &args));
///
/// let args = Args::from_values([1, 2])?;
/// assert_eq!(args.json(), "[1,2]");
/// assert_eq!(args.get::<u8>(1)?, 2);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Args {
    json: Box<str>,
    attachments: Box<[Bytes]>,
    /// The positions of the arguments. Built on the first access by index, because forwarding the arguments
    /// does not need the positions.
    index: OnceLock<Index>,
}

impl Args {
    fn new(json: Box<str>, attachments: Box<[Bytes]>) -> Self {
        Self { json, attachments, index: OnceLock::new() }
    }

    /// Creates arguments from the text of an array without its opening bracket.
    fn from_rest(rest: &str, attachments: Box<[Bytes]>) -> Self {
        Self::new(["[", rest].concat().into(), attachments)
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::new(&self.json))
    }

    /// Creates arguments from several values. Each value becomes one argument.
    ///
    /// # Errors
    ///
    /// Returns an error if a value cannot be written as JSON.
    pub fn from_values<T: Serialize>(values: impl IntoIterator<Item = T>) -> Result<Self, serde_json::Error> {
        let mut json = vec![b'['];
        let mut attachments = Vec::new();
        for value in values {
            if json.len() > 1 {
                json.push(b',');
            }
            // The tuple makes the value a single argument, even if the value itself is a tuple.
            (value,).write(&mut json, &mut attachments, Sealed)?;
        }
        json.push(b']');
        // `serde_json` writes UTF-8.
        let json = String::from_utf8(json).unwrap_or_default().into_boxed_str();
        Ok(Self::new(json, attachments.into()))
    }

    /// Returns the arguments as the text of a JSON array. Attachments are represented by placeholders such as
    /// `{"_placeholder":true,"num":0}`.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Returns the attachments that the placeholders refer to.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Returns the number of arguments.
    pub fn len(&self) -> usize {
        self.index().len()
    }

    /// Returns `true` if there are no arguments.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decodes the argument at an index.
    ///
    /// The text is scanned once to locate all arguments, and not again by later calls. Byte values are copied
    /// from the attachments; use [`attachments`](Self::attachments) to share the attachments instead.
    ///
    /// # Errors
    ///
    /// Returns an error if the argument is missing or is not a `T`. If `T` is an `Option`, a missing argument
    /// decodes as `None`.
    pub fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T, DecodeError> {
        match self.index().get(&self.json, index) {
            Some(argument) => self.read(argument),
            // Decode an empty argument list, so that an `Option` becomes `None`.
            None => Ok(T::from_args(RawArgs {
                payload: "[]",
                args_offset: 1,
                attachments: Attachments::NONE,
                wants_ack: false,
            })?),
        }
    }

    /// Decodes all arguments as one type.
    ///
    /// # Errors
    ///
    /// Returns an error if an argument is not a `T`.
    pub fn values<T: DeserializeOwned>(&self) -> Result<Vec<T>, DecodeError> {
        Elements::new(&self.json).map(|argument| self.read(argument)).collect()
    }

    /// Returns the arguments after the first `count`. All attachments are kept, because placeholders refer to
    /// attachments by number.
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        Self::from_rest(self.index().from(&self.json, count).rest(), self.attachments.clone())
    }

    /// Removes and returns the last argument, if it is a string.
    #[cfg(feature = "testing")]
    pub(crate) fn pop_str(&mut self) -> Option<String> {
        let mut arguments: Vec<&str> = Elements::new(&self.json).collect();
        let text = serde_json::from_str(arguments.pop()?).ok()?;
        *self = Self::new(format!("[{}]", arguments.join(",")).into(), std::mem::take(&mut self.attachments));
        Some(text)
    }

    /// Returns the name and the arguments of an encoded event of a namespace.
    pub(crate) fn from_event(namespace: &str, packet: &Frames) -> Option<(String, Self)> {
        let (json, attachments) = packet.parts(namespace);
        let mut elements = Elements::new(json);
        let name = serde_json::from_str(elements.next()?).ok()?;
        Some((name, Self::from_rest(elements.rest(), attachments.into())))
    }

    /// Returns the arguments of an encoded acknowledgement.
    pub(crate) fn from_ack(encoder: Encoder<'_>, packet: &Frames) -> Option<Self> {
        let Some(parser) = encoder.parser else {
            let (json, attachments) = packet.parts(encoder.namespace);
            return Some(Self::new(json.into(), attachments.into()));
        };
        let limits = ParserLimits { max_bytes: usize::MAX, ..ParserLimits::default() };
        let mut decoder = GuardedDecoder::new(parser, limits);
        let packet = packet.as_slice().iter().find_map(|frame| {
            let message = match std::str::from_utf8(frame.payload().get(1..)?) {
                // The text starts with the Engine.IO message type.
                Ok(text) if !frame.is_binary() => Message::Text(text),
                _ => Message::Binary(frame.payload().into()),
            };
            decoder.decode(message).ok().flatten()
        })?;
        Some(Self::new(packet.payload.into(), packet.attachments.into_owned().into()))
    }

    /// Returns the size in bytes of the text and the attachments.
    pub(crate) fn size(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// Creates arguments for observers. The attachments are shared, not copied.
    pub(crate) fn share(raw: RawArgs<'_>) -> Result<Self, ArgsError> {
        Self::from_raw(raw, raw.attachments.share())
    }

    /// Returns the arguments in the raw form from which handlers decode them.
    pub(crate) fn as_raw(&mut self, wants_ack: bool) -> RawArgs<'_> {
        let attachments = Attachments::from(&mut *self.attachments);
        RawArgs { payload: &self.json, args_offset: 1, attachments, wants_ack }
    }

    fn from_raw(raw: RawArgs<'_>, attachments: Box<[Bytes]>) -> Result<Self, ArgsError> {
        if attachments.is_empty() {
            // If there are attachments, the connection has already checked the text.
            json::check(raw.payload).map_err(|_| ArgsError::Malformed)?;
        }
        let rest = raw.payload[raw.args_offset..].trim_ascii_start();
        Ok(Self::from_rest(rest.strip_prefix(',').unwrap_or(rest), attachments))
    }

    fn read<T: DeserializeOwned>(&self, argument: &str) -> Result<T, DecodeError> {
        read_one(argument, Attachments::Shared(&self.attachments))
            .map_err(|error| ArgsError::Mismatch(error).into())
    }
}

#[allow(clippy::missing_fields_in_debug, reason = "the index says nothing that the text does not")]
impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args")
            .field("json", &self.json)
            .field("attachments", &self.attachments.len())
            .finish()
    }
}

impl FromArgs for Args {
    fn from_args(raw: RawArgs<'_>) -> Result<Self, ArgsError> {
        Self::from_raw(raw, raw.attachments.take())
    }
}

impl ToArgs for Args {
    fn write(
        &self,
        json: &mut Vec<u8>,
        attachments: &mut Vec<Bytes>,
        _: Sealed,
    ) -> Result<(), serde_json::Error> {
        let inner = self.json.trim_ascii();
        json.extend_from_slice(&inner.as_bytes()[1..inner.len() - 1]);
        attachments.extend_from_slice(&self.attachments);
        Ok(())
    }
}

/// The arguments of an event, and whether the client requested an acknowledgement.
///
/// # Examples
///
/// ```
/// use socketio::{Ack, WithAckFlag, Namespace};
///
/// let chat = Namespace::new("/").on("sum", async |_, sum: WithAckFlag<(i32, i32)>| {
///     sum.wants_ack.then(|| Ack(sum.args.0 + sum.args.1))
/// });
/// ```
#[derive(Debug, Clone)]
pub struct WithAckFlag<T> {
    /// The arguments.
    pub args: T,
    /// `true` if the client requested an acknowledgement.
    pub wants_ack: bool,
}

impl<T: FromArgs> FromArgs for WithAckFlag<T> {
    fn from_args(raw: RawArgs<'_>) -> Result<Self, ArgsError> {
        Ok(Self { args: T::from_args(raw)?, wants_ack: raw.wants_ack })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_argument_is_one_value_whatever_its_shape() {
        let args = Args::from_values([(1, 2), (3, 4)]).unwrap();
        assert_eq!((args.len(), args.json()), (2, "[[1,2],[3,4]]"));
        assert_eq!(args.get::<(u8, u8)>(1).unwrap(), (3, 4));
        assert_eq!(args.values::<[u8; 2]>().unwrap(), [[1, 2], [3, 4]]);
        assert!(args.get::<u8>(0).is_err());
        assert_eq!(args.get::<Option<Vec<u8>>>(2).unwrap(), None);
        assert!(args.get::<Vec<u8>>(2).is_err());
        assert_eq!(args.skip(1).json(), "[[3,4]]");
        for count in [2, 3, usize::MAX] {
            assert!(args.skip(count).is_empty());
        }
        assert_eq!(args.clone().skip(0).json(), args.json());
    }

    #[test]
    fn an_argument_is_read_as_leniently_as_all_of_them() {
        let raw = RawArgs {
            payload: r#"["name" , "\ud83d" ,7.0, {"_placeholder":true,"num":0} ] "#,
            args_offset: 7,
            attachments: Attachments::Shared(&[Bytes::from_static(b"x")]),
            wants_ack: false,
        };
        let args = Args::from_args(raw).unwrap();
        assert_eq!(args.len(), 3);
        assert_eq!(args.get::<String>(0).unwrap(), "\u{fffd}");
        assert_eq!(args.get::<u8>(1).unwrap(), 7);
        assert_eq!(args.get::<Bytes>(2).unwrap(), args.get::<Bytes>(2).unwrap());
        assert_eq!(args.attachments(), ["x"]);
    }
}
