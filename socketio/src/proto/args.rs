//! Encodes and decodes the arguments of events and acknowledgements with serde. `()` represents no arguments,
//! a tuple represents several arguments, and any other type represents a single argument.

use std::{fmt, marker::PhantomData};

use bytes::Bytes;
use serde::{
    Deserializer as _, Serialize,
    de::{self, DeserializeOwned, SeqAccess, Visitor},
    ser::{self, Impossible, SerializeTuple},
};
use serde_json::ser::Formatter;

use super::{
    attachments::{Attachments, ESCAPED_PLACEHOLDER, PLACEHOLDER},
    binary::Attached,
    json, leniency,
    sealed::Sealed,
};

/// Types that can be sent as the arguments of an event or an acknowledgement.
///
/// This trait is implemented for every type that implements [`Serialize`]. `()` is sent as no arguments, a
/// tuple as one argument per element, and any other type as a single argument. Serde treats a fixed-size
/// array as a tuple, but not a slice or a `Vec`. Bytes inside the arguments (`bytes::Bytes`, `serde_bytes`)
/// are sent as binary attachments. [`Args`](crate::Args) is sent unchanged.
///
/// This trait is sealed. Implement [`Serialize`] for types of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as the arguments of an event",
    note = "implement `serde::Serialize` for it"
)]
pub trait ToArgs {
    /// Writes the arguments as JSON, separated by commas, and collects the attachments.
    #[doc(hidden)]
    fn write(
        &self,
        json: &mut Vec<u8>,
        attachments: &mut Vec<Bytes>,
        _: Sealed,
    ) -> Result<(), serde_json::Error>;
}

impl<T: Serialize + ?Sized> ToArgs for T {
    fn write(
        &self,
        json: &mut Vec<u8>,
        attachments: &mut Vec<Bytes>,
        _: Sealed,
    ) -> Result<(), serde_json::Error> {
        let shape = ShapeSerializer { json: &mut *json, attachments: &mut *attachments, empty: true };
        match self.serialize(shape) {
            Ok(()) => Ok(()),
            Err(Shape::One) => value(json, attachments, self),
            Err(Shape::Failed(error)) => Err(error),
        }
    }
}

fn value<T: Serialize + ?Sized>(
    json: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
    value: &T,
) -> Result<(), serde_json::Error> {
    value.serialize(&mut serde_json::Serializer::with_formatter(json, Placeholders(attachments)))
}

/// A compact JSON formatter that writes bytes as placeholders for attachments.
struct Placeholders<'a>(&'a mut Vec<Bytes>);

impl Formatter for Placeholders<'_> {
    fn write_byte_array<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        value: &[u8],
    ) -> std::io::Result<()> {
        let num = self.0.len();
        self.0.push(Bytes::copy_from_slice(value));
        write!(writer, r#"{{"_placeholder":true,"num":{num}}}"#)
    }

    /// Escapes a user key that looks like the mark of a placeholder. See [`ESCAPED_PLACEHOLDER`].
    fn write_string_fragment<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        let fragment = if fragment == PLACEHOLDER { ESCAPED_PLACEHOLDER } else { fragment };
        writer.write_all(fragment.as_bytes())
    }
}

/// Serializes only unit and tuples, which are the types that do not represent a single argument.
///
/// For any other type, the first call of a method returns [`Shape::One`], and the type is then serialized by
/// `serde_json`. The alternative, a wrapper of all serializer types that inserts commas, would need hundreds
/// of lines.
struct ShapeSerializer<'a> {
    json: &'a mut Vec<u8>,
    attachments: &'a mut Vec<Bytes>,
    empty: bool,
}

#[derive(Debug)]
enum Shape {
    One,
    Failed(serde_json::Error),
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("a single argument"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Shape {}

impl ser::Error for Shape {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Failed(ser::Error::custom(message))
    }
}

impl SerializeTuple for ShapeSerializer<'_> {
    type Ok = ();
    type Error = Shape;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), Shape> {
        if !std::mem::take(&mut self.empty) {
            self.json.push(b',');
        }
        value(self.json, self.attachments, element).map_err(Shape::Failed)
    }

    fn end(self) -> Result<(), Shape> {
        Ok(())
    }
}

macro_rules! one {
    ($($method:ident($($type:ty),*);)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<(), Shape> { Err(Shape::One) })*
    };
}

macro_rules! one_compound {
    ($($method:ident($($type:ty),*) -> $compound:ident;)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<Self::$compound, Shape> { Err(Shape::One) })*
    };
}

impl<'a> ser::Serializer for ShapeSerializer<'a> {
    type Ok = ();
    type Error = Shape;
    type SerializeSeq = Impossible<(), Shape>;
    type SerializeTuple = ShapeSerializer<'a>;
    type SerializeTupleStruct = Impossible<(), Shape>;
    type SerializeTupleVariant = Impossible<(), Shape>;
    type SerializeMap = Impossible<(), Shape>;
    type SerializeStruct = Impossible<(), Shape>;
    type SerializeStructVariant = Impossible<(), Shape>;

    fn serialize_unit(self) -> Result<(), Shape> {
        Ok(())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Shape> {
        Ok(self)
    }

    one! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Shape> {
        Err(Shape::One)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<(), Shape> {
        Err(Shape::One)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Shape> {
        Err(Shape::One)
    }

    one_compound! {
        serialize_seq(Option<usize>) -> SerializeSeq;
        serialize_tuple_struct(&'static str, usize) -> SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> SerializeTupleVariant;
        serialize_map(Option<usize>) -> SerializeMap;
        serialize_struct(&'static str, usize) -> SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> SerializeStructVariant;
    }
}

/// The undecoded arguments of an event or an acknowledgement.
#[derive(Debug, Clone, Copy)]
pub struct RawArgs<'a> {
    /// The JSON text of an array. The first element is the event name, except in an acknowledgement.
    pub(crate) payload: &'a str,
    /// The byte offset after the event name, or 1 for an acknowledgement, which has no event name.
    pub(crate) args_offset: usize,
    pub(crate) attachments: Attachments<'a>,
    /// `true` if the client expects an acknowledgement.
    pub(crate) wants_ack: bool,
}

impl RawArgs<'_> {
    fn has_name(&self) -> bool {
        self.args_offset > 1
    }
}

/// The reason why arguments cannot be decoded.
#[derive(Debug)]
#[doc(hidden)]
pub enum ArgsError {
    /// The payload is not JSON or is nested too deeply, which is a protocol violation.
    Malformed,
    /// The arguments do not match the type of the handler.
    Mismatch(serde_json::Error),
}

impl ArgsError {
    /// Distinguishes invalid JSON from valid JSON that the type cannot represent, such as `1e400`.
    fn new(error: serde_json::Error, raw: RawArgs<'_>) -> Self {
        if error.is_data() || json::check(raw.payload).is_ok() {
            Self::Mismatch(error)
        } else {
            Self::Malformed
        }
    }
}

/// Types that can be decoded from the arguments of an event or an acknowledgement.
///
/// This trait is implemented for every type that implements
/// [`DeserializeOwned`](serde::de::DeserializeOwned). `()` is decoded from no arguments, a tuple from one
/// argument per element, and any other type from the first argument. Additional arguments are ignored, as in
/// JavaScript. Attachments are decoded as bytes; `bytes::Bytes` and `serde_bytes::ByteBuf` are decoded
/// without a copy. Integers may be written as `7.0` or `1e3`, and a lone surrogate is decoded as U+FFFD.
/// [`Args`](crate::Args) contains all arguments undecoded.
///
/// This trait is sealed. Implement [`Deserialize`](serde::Deserialize) for types of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from the arguments of an event",
    note = "implement `serde::Deserialize` for it, or take `socketio::Args`"
)]
pub trait FromArgs: Sized {
    /// Decodes the arguments.
    #[doc(hidden)]
    fn from_args(raw: RawArgs<'_>) -> Result<Self, ArgsError>;
}

impl<T: DeserializeOwned> FromArgs for T {
    fn from_args(raw: RawArgs<'_>) -> Result<Self, ArgsError> {
        let has_name = raw.has_name();
        leniency::read(raw.payload, raw.attachments, |payload, attachments| {
            let mut json = serde_json::Deserializer::from_str(payload);
            let visitor = ArgsVisitor { has_name, attachments: &attachments, value: PhantomData };
            let value = json.deserialize_seq(visitor)?;
            json.end()?;
            Ok(value)
        })
        .map_err(|error| ArgsError::new(error, raw))
    }
}

/// Decodes one argument from its JSON text.
pub(crate) fn read_one<T: DeserializeOwned>(
    argument: &str,
    attachments: Attachments<'_>,
) -> Result<T, serde_json::Error> {
    leniency::read(argument, attachments, |argument, attachments| {
        let mut json = serde_json::Deserializer::from_str(argument);
        let value = T::deserialize(Attached::new(&mut json, &attachments))?;
        json.end()?;
        Ok(value)
    })
}

struct ArgsVisitor<'a, T> {
    has_name: bool,
    attachments: &'a Attachments<'a>,
    value: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for ArgsVisitor<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        if self.has_name {
            seq.next_element::<de::IgnoredAny>()?;
        }
        let value = T::deserialize(ArgsDeserializer { seq: &mut seq, attachments: self.attachments })?;
        while seq.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

/// Deserializes a type from the arguments according to the rules of [`FromArgs`].
struct ArgsDeserializer<'a, A> {
    seq: &'a mut A,
    attachments: &'a Attachments<'a>,
}

impl<'de, A: SeqAccess<'de>> ArgsDeserializer<'_, A> {
    fn one<V: Visitor<'de>>(self, visitor: V, method: Method) -> Result<V::Value, A::Error> {
        let one = One { visitor, method, attachments: self.attachments };
        self.seq.next_element_seed(one)?.ok_or_else(|| de::Error::custom("an argument is missing"))
    }
}

/// The `Deserializer` method that the type called for its single argument.
#[derive(Clone, Copy)]
enum Method {
    Any,
    Bytes,
    Option,
    Newtype(&'static str),
    Enum(&'static str, &'static [&'static str]),
    Struct(&'static str, &'static [&'static str]),
    TupleStruct(&'static str, usize),
    Seq,
    Map,
    Ignored,
    String,
    Bool,
    I64,
    U64,
    I128,
    U128,
    F32,
    F64,
    UnitStruct(&'static str),
}

struct One<'a, V> {
    visitor: V,
    method: Method,
    attachments: &'a Attachments<'a>,
}

impl<'de, V: Visitor<'de>> de::DeserializeSeed<'de> for One<'_, V> {
    type Value = V::Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let json = Attached::new(deserializer, self.attachments);
        let visitor = self.visitor;
        match self.method {
            Method::Any => json.deserialize_any(visitor),
            Method::Bytes => json.deserialize_byte_buf(visitor),
            Method::Option => json.deserialize_option(visitor),
            Method::Newtype(name) => json.deserialize_newtype_struct(name, visitor),
            Method::Enum(name, variants) => json.deserialize_enum(name, variants, visitor),
            Method::Struct(name, fields) => json.deserialize_struct(name, fields, visitor),
            Method::TupleStruct(name, len) => json.deserialize_tuple_struct(name, len, visitor),
            Method::Seq => json.deserialize_seq(visitor),
            Method::Map => json.deserialize_map(visitor),
            Method::Ignored => json.deserialize_ignored_any(visitor),
            Method::String => json.deserialize_string(visitor),
            Method::Bool => json.deserialize_bool(visitor),
            Method::I64 => json.deserialize_i64(visitor),
            Method::U64 => json.deserialize_u64(visitor),
            Method::I128 => json.deserialize_i128(visitor),
            Method::U128 => json.deserialize_u128(visitor),
            Method::F32 => json.deserialize_f32(visitor),
            Method::F64 => json.deserialize_f64(visitor),
            Method::UnitStruct(name) => json.deserialize_unit_struct(name, visitor),
        }
    }
}

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*) => $how:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, A::Error> {
            self.one(visitor, $how)
        })*
    };
}

impl<'de, A: SeqAccess<'de>> de::Deserializer<'de> for ArgsDeserializer<'_, A> {
    type Error = A::Error;

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_seq(Attached::new(self.seq, self.attachments))
    }

    /// Decodes a missing argument as `None`, because an omitted parameter is `undefined` in JavaScript.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        let mut visitor = Some(visitor);
        let seed = OptionSeed(&mut visitor, self.attachments);
        match self.seq.next_element_seed(seed)? {
            Some(value) => Ok(value),
            None => match visitor {
                Some(visitor) => visitor.visit_none(),
                None => Err(de::Error::custom("an argument is missing")),
            },
        }
    }

    forward! {
        deserialize_any() => Method::Any;
        deserialize_bool() => Method::Bool;
        deserialize_i8() => Method::I64;
        deserialize_i16() => Method::I64;
        deserialize_i32() => Method::I64;
        deserialize_i64() => Method::I64;
        deserialize_i128() => Method::I128;
        deserialize_u8() => Method::U64;
        deserialize_u16() => Method::U64;
        deserialize_u32() => Method::U64;
        deserialize_u64() => Method::U64;
        deserialize_u128() => Method::U128;
        deserialize_f32() => Method::F32;
        deserialize_f64() => Method::F64;
        deserialize_char() => Method::String;
        deserialize_str() => Method::String;
        deserialize_string() => Method::String;
        deserialize_bytes() => Method::Bytes;
        deserialize_byte_buf() => Method::Bytes;
        deserialize_unit_struct(name: &'static str) => Method::UnitStruct(name);
        deserialize_newtype_struct(name: &'static str) => Method::Newtype(name);
        deserialize_seq() => Method::Seq;
        deserialize_tuple_struct(name: &'static str, len: usize) => Method::TupleStruct(name, len);
        deserialize_map() => Method::Map;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) => Method::Struct(name, fields);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) => Method::Enum(name, variants);
        deserialize_identifier() => Method::String;
        deserialize_ignored_any() => Method::Ignored;
    }
}

/// A seed that uses the visitor only if there is an element.
struct OptionSeed<'a, V>(&'a mut Option<V>, &'a Attachments<'a>);

impl<'de, V: Visitor<'de>> de::DeserializeSeed<'de> for OptionSeed<'_, V> {
    type Value = V::Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let visitor = self.0.take().ok_or_else(|| de::Error::custom("an argument is missing"))?;
        One { visitor, method: Method::Option, attachments: self.1 }.deserialize(deserializer)
    }
}
