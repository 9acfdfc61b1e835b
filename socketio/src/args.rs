//! Arguments for code that does not know their types.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    error::DecodeError,
    proto::{
        args::{ArgsError, FromArgs, RawArgs, ToArgs, check},
        encode::Frames,
    },
};

/// The arguments of an event or an acknowledgement as they arrived: JSON text and attachments.
///
/// A handler may take them instead of a type, look at them one by one, or send them on without parsing. The text
/// is known to be JSON of bounded depth.
///
/// # Examples
///
/// ```
/// use socketio::{Args, Namespace};
///
/// // Sends back whatever comes.
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
}

impl Args {
    /// Makes arguments of several values, one argument each.
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
            // In a tuple of one, each value is one argument, even if it is a tuple itself.
            (value,).write(&mut json, &mut attachments)?;
        }
        json.push(b']');
        // What `serde_json` writes is UTF-8.
        let json = String::from_utf8(json).unwrap_or_default().into_boxed_str();
        Ok(Self { json, attachments: attachments.into() })
    }

    /// The text of the JSON array. An attachment is written as `{"_placeholder":true,"num":0}`.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The attachments that the placeholders refer to.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The number of arguments.
    pub fn len(&self) -> usize {
        self.raw().len()
    }

    /// Whether there is no argument.
    pub fn is_empty(&self) -> bool {
        self.raw().is_empty()
    }

    /// Reads one argument.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such argument, or if it is of another type.
    pub fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T, DecodeError> {
        self.read(self.raw().get(index).map_or("", |value| value.get()))
    }

    /// Reads all arguments as one type.
    ///
    /// # Errors
    ///
    /// Returns an error if one of them is of another type.
    pub fn values<T: DeserializeOwned>(&self) -> Result<Vec<T>, DecodeError> {
        self.raw().iter().map(|value| self.read(value.get())).collect()
    }

    /// The arguments from `count` on. All attachments stay, because the placeholders refer to them by number.
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        Self { json: array(self.raw().into_iter().skip(count)), attachments: self.attachments.clone() }
    }

    /// Takes off the last argument, if it is a string.
    #[cfg(feature = "testing")]
    pub(crate) fn pop_text(&mut self) -> Option<String> {
        let mut values = self.raw();
        let text = serde_json::from_str(values.pop()?.get()).ok()?;
        self.json = array(values);
        Some(text)
    }

    /// The name and the arguments of an event as it is sent in a namespace.
    pub(crate) fn of_event(namespace: &str, packet: &Frames) -> Option<(String, Self)> {
        let (json, attachments) = packet.parts(namespace);
        let all = Self { json: json.into(), attachments: attachments.into() };
        Some((all.get(0).ok()?, all.skip(1)))
    }

    fn read<T: DeserializeOwned>(&self, value: &str) -> Result<T, DecodeError> {
        let payload = format!("[{value}]");
        let raw = RawArgs { payload: &payload, args_at: 1, attachments: &self.attachments, asked: false };
        T::from_args(raw).map_err(DecodeError::from)
    }

    fn raw(&self) -> Vec<&RawValue> {
        // The text was checked when it came in.
        serde_json::from_str(&self.json).unwrap_or_default()
    }
}

fn array<'a>(values: impl IntoIterator<Item = &'a RawValue>) -> Box<str> {
    let values: Vec<&str> = values.into_iter().map(RawValue::get).collect();
    format!("[{}]", values.join(",")).into()
}

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
        if raw.attachments.is_empty() {
            // With attachments, the connection has checked the text when the packet was complete.
            check(raw).map_err(|_| ArgsError::Malformed)?;
        }
        let rest = raw.payload[raw.args_at..].trim_ascii_start();
        let rest = rest.strip_prefix(',').unwrap_or(rest);
        let json = ["[", rest].concat().into_boxed_str();
        Ok(Self { json, attachments: raw.attachments.into() })
    }
}

impl ToArgs for Args {
    fn write(&self, json: &mut Vec<u8>, attachments: &mut Vec<Bytes>) -> Result<(), serde_json::Error> {
        let inner = self.json.trim_ascii();
        json.extend_from_slice(&inner.as_bytes()[1..inner.len() - 1]);
        attachments.extend_from_slice(&self.attachments);
        Ok(())
    }
}

/// Arguments, and whether the client waits for an acknowledgement.
///
/// # Examples
///
/// ```
/// use socketio::{Ack, Asked, Namespace};
///
/// let chat = Namespace::new("/").on("sum", async |_, sum: Asked<(i32, i32)>| {
///     sum.asked.then(|| Ack(sum.args.0 + sum.args.1))
/// });
/// ```
#[derive(Debug, Clone)]
pub struct Asked<T> {
    /// The arguments.
    pub args: T,
    /// Whether the client waits for an acknowledgement.
    pub asked: bool,
}

impl<T: FromArgs> FromArgs for Asked<T> {
    fn from_args(raw: RawArgs<'_>) -> Result<Self, ArgsError> {
        Ok(Self { args: T::from_args(raw)?, asked: raw.asked })
    }
}
