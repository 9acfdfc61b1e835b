//! Defines serde adapters that replace placeholders in the JSON by attachments where a type expects bytes.

use std::{borrow::Cow, fmt};

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::attachments::{Attachments, PLACEHOLDER};

/// Wraps any serde deserializer, visitor, seed or access.
pub(crate) struct Attached<'a, T> {
    inner: T,
    attachments: &'a Attachments<'a>,
}

impl<'a, T> Attached<'a, T> {
    pub(crate) fn new(inner: T, attachments: &'a Attachments<'a>) -> Self {
        Self { inner, attachments }
    }

    fn wrap<U>(&self, inner: U) -> Attached<'a, U> {
        Attached { inner, attachments: self.attachments }
    }
}

macro_rules! forward_to_inner {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.wrap(visitor);
            self.inner.$method($($name,)* visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Attached<'_, D> {
    type Error = D::Error;

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_byte_buf(visitor)
    }

    /// Decodes bytes from a placeholder, an array of numbers or a string, because JSON has no byte type.
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.wrap(BytesVisitor(visitor));
        self.inner.deserialize_any(visitor)
    }

    /// Decodes placeholders as bytes also for types that accept any value, which includes serde's buffers for
    /// flattened, untagged and internally tagged types.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        if self.attachments.is_empty() {
            let visitor = self.wrap(visitor);
            return self.inner.deserialize_any(visitor);
        }
        let visitor = self.wrap(AnyVisitor(visitor));
        self.inner.deserialize_any(visitor)
    }

    forward_to_inner! {
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

macro_rules! visit_scalars {
    ($($method:ident($type:ty);)*) => {
        $(fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Attached<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_scalars! {
        visit_bool(bool);
        visit_i64(i64);
        visit_i128(i128);
        visit_u64(u64);
        visit_u128(u128);
        visit_f64(f64);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.wrap(deserializer);
        self.inner.visit_some(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.wrap(deserializer);
        self.inner.visit_newtype_struct(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        let seq = self.wrap(seq);
        self.inner.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let map = self.wrap(map);
        self.inner.visit_map(map)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        let data = self.wrap(data);
        self.inner.visit_enum(data)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Attached<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.wrap(deserializer);
        self.inner.deserialize(deserializer)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Attached<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Attached<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Attached<'a, A> {
    type Error = A::Error;
    type Variant = Attached<'a, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Attached<'a, A::Variant>), A::Error> {
        let attachments = self.attachments;
        let seed = self.wrap(seed);
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, Attached { inner: variant, attachments }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Attached<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.wrap(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.wrap(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

/// The visitor of a type that expects bytes. Placeholders are replaced by attachments; strings and arrays are
/// forwarded to the inner visitor.
struct BytesVisitor<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Attached<'_, BytesVisitor<V>> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("binary data")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<V::Value, E> {
        self.inner.0.visit_str(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.inner.0.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        match Object::read(map)? {
            Object::Placeholder(num) => self.attachments.visit(num, self.inner.0),
            Object::Data(_) => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
        }
    }
}

/// The visitor of a type that accepts any value. Used only for packets with attachments.
struct AnyVisitor<V>(V);

impl<'a, 'de, V: Visitor<'de>> Attached<'a, AnyVisitor<V>> {
    fn plain(self) -> Attached<'a, V> {
        Attached { inner: self.inner.0, attachments: self.attachments }
    }
}

macro_rules! visit_plain {
    ($($method:ident($type:ty);)*) => {
        $(fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.plain().$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Attached<'_, AnyVisitor<V>> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.0.expecting(f)
    }

    visit_plain! {
        visit_bool(bool);
        visit_i64(i64);
        visit_i128(i128);
        visit_u64(u64);
        visit_u128(u128);
        visit_f64(f64);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.plain().visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.plain().visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        match Object::read(map)? {
            Object::Placeholder(num) => self.attachments.visit(num, self.inner.0),
            Object::Data(map) => self.plain().visit_map(map),
        }
    }
}

/// An object that is classified by its first key. In a packet with attachments, the mark is the first key
/// only in placeholders, which contain no other entry except the index. See
/// [`resolve`](super::attachments::resolve).
enum Object<'de, A> {
    Placeholder(usize),
    Data(Replay<'de, A>),
}

impl<'de, A: MapAccess<'de>> Object<'de, A> {
    fn read(mut map: A) -> Result<Self, A::Error> {
        let first = match map.next_key()? {
            Some(Key::Placeholder) => {
                let (marked, num) = (map.next_value()?, map.next_entry::<de::IgnoredAny, _>()?);
                let end = map.next_key::<de::IgnoredAny>()?;
                return match (marked, num, end) {
                    (true, Some((_, num)), None) => Ok(Self::Placeholder(num)),
                    _ => Err(de::Error::custom("an object that looks like a placeholder")),
                };
            }
            Some(Key::Other(key)) => Some(key),
            None => None,
        };
        Ok(Self::Data(Replay { first, map }))
    }
}

/// A map whose first key was already read and is returned again.
struct Replay<'de, A> {
    first: Option<Cow<'de, str>>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Replay<'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        match self.first.take() {
            Some(key) => seed.deserialize(key.into_deserializer()).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// The first key of an object.
enum Key<'de> {
    Placeholder,
    Other(Cow<'de, str>),
}

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    /// Handles a key without escapes, which may mark a placeholder.
    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(if key == PLACEHOLDER { Key::Placeholder } else { Key::Other(key.into()) })
    }

    /// Handles a key with an escape, which does not mark a placeholder. See
    /// [`ESCAPED_PLACEHOLDER`](super::attachments::ESCAPED_PLACEHOLDER).
    fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key::Other(key.to_owned().into()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_bytes::ByteBuf;

    use super::{
        super::args::{ArgsError, FromArgs, RawArgs},
        *,
    };

    fn read<T: FromArgs>(payload: &str, attachments: &[Bytes]) -> Result<T, ArgsError> {
        T::from_args(RawArgs {
            payload,
            args_offset: 4,
            attachments: Attachments::Shared(attachments),
            wants_ack: false,
        })
    }

    /// Like `read`, but for owned attachments.
    fn take<T: FromArgs>(payload: &str, attachments: &mut [Bytes]) -> Result<T, ArgsError> {
        T::from_args(RawArgs { payload, args_offset: 4, attachments: attachments.into(), wants_ack: false })
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Upload {
        name: String,
        #[serde(default)]
        parts: Vec<ByteBuf>,
        note: Option<Bytes>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        File { data: ByteBuf },
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    enum Plain {
        File(ByteBuf),
        Pair { a: Bytes },
    }

    #[test]
    fn the_argument_rule() {
        assert_eq!(read::<()>(r#"["a"]"#, &[]).ok(), Some(()));
        assert_eq!(read::<()>(r#"["a",1,2]"#, &[]).ok(), Some(()));
        assert_eq!(read::<u8>(r#"["a",1,"extra"]"#, &[]).ok(), Some(1));
        assert_eq!(read::<(u8, String)>(r#"["a",1,"b"]"#, &[]).ok(), Some((1, "b".into())));
        assert_eq!(read::<Vec<u8>>(r#"["a",[1,2]]"#, &[]).ok(), Some(vec![1, 2]));
        assert_eq!(read::<Option<u8>>(r#"["a"]"#, &[]).ok(), Some(None));
        assert_eq!(read::<Option<u8>>(r#"["a",null]"#, &[]).ok(), Some(None));
        assert_eq!(read::<Option<u8>>(r#"["a",7]"#, &[]).ok(), Some(Some(7)));
        assert_eq!(read::<char>(r#"["a","x"]"#, &[]).ok(), Some('x'));
        assert_eq!(read::<f32>(r#"["a",1.5]"#, &[]).ok(), Some(1.5));
        assert_eq!(read::<i8>(r#"["a",-5]"#, &[]).ok(), Some(-5));
        assert_eq!(
            read::<serde_json::Value>(r#"["a",{"b":[1]}]"#, &[]).ok(),
            Some(serde_json::json!({"b": [1]}))
        );
        let raw = read::<Box<serde_json::value::RawValue>>(r#"["a",{"b": 1e400}]"#, &[]).unwrap();
        assert_eq!(raw.get(), r#"{"b": 1e400}"#);
    }

    #[test]
    fn what_does_not_fit_is_a_mismatch() {
        for payload in [r#"["a"]"#, r#"["a","x"]"#, r#"["a",300]"#, r#"["a",null]"#, r#"["a",{}]"#] {
            assert!(matches!(read::<u8>(payload, &[]), Err(ArgsError::Mismatch(_))), "{payload}");
        }
        assert!(matches!(read::<(u8, u8)>(r#"["a",1]"#, &[]), Err(ArgsError::Mismatch(_))));
        assert!(matches!(read::<ByteBuf>(r#"["a",{"x":1}]"#, &[]), Err(ArgsError::Mismatch(_))));
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        let deep = |depth: usize| format!(r#"["a",{}{}]"#, "[".repeat(depth), "]".repeat(depth));
        for payload in [r#"["a""#, r#"["a",]"#, r#"["a",1"#, r#"["a",1]x"#, r#"["a",1,{]"#] {
            assert!(matches!(read::<()>(payload, &[]), Err(ArgsError::Malformed)), "{payload}");
        }
        // The array of the packet is one of the 128 levels.
        assert!(read::<serde_json::Value>(&deep(126), &[]).is_ok());
        assert!(matches!(read::<serde_json::Value>(&deep(128), &[]), Err(ArgsError::Malformed)));
        assert!(matches!(read::<serde_json::Value>(&deep(100_000), &[]), Err(ArgsError::Malformed)));
    }

    #[test]
    fn json_that_rust_has_no_type_for_is_read_as_by_javascript_or_a_mismatch() {
        assert_eq!(read::<String>(r#"["a","\ud800"]"#, &[]).ok().as_deref(), Some("\u{fffd}"));
        assert_eq!(read::<(u8, char)>(r#"["a",7.0,"\ud800"]"#, &[]).ok(), Some((7, '\u{fffd}')));
        assert!(matches!(read::<serde_json::Value>(r#"["a",1e400]"#, &[]), Err(ArgsError::Mismatch(_))));
        assert!(matches!(read::<u8>(r#"["a",7.5]"#, &[]), Err(ArgsError::Mismatch(_))));
        assert!(matches!(read::<String>(r#"["a","\ud800"}"#, &[]), Err(ArgsError::Malformed)));
    }

    type Map = std::collections::HashMap<String, ByteBuf>;

    #[test]
    fn attachments_that_nobody_else_needs_are_not_copied() {
        let payload = r#"["a",{"_placeholder":true,"num":1},{"x":{"_placeholder":true,"num":0}}]"#;
        let relaxed = payload.replace(r#"{"x""#, r#"7.0,"\ud800",{"x""#);
        let made = || [Bytes::from(vec![1; 100]), Bytes::from(vec![2; 100])];
        let mut attachments = made();
        let places = attachments.each_ref().map(|bytes| bytes.as_ptr());
        let (one, map): (Bytes, Map) = take(payload, &mut attachments).unwrap();
        assert_eq!((one.as_ptr(), map["x"].as_ptr()), (places[1], places[0]));
        assert_eq!((&*one, &**map["x"]), (&[2; 100][..], &[1; 100][..]));
        assert_eq!(attachments, ["", ""]);

        // Attachments are not copied even if the text is decoded twice.
        let mut attachments = made();
        let places = attachments.each_ref().map(|bytes| bytes.as_ptr());
        let (one, seven, text, map): (Bytes, u8, String, Map) = take(&relaxed, &mut attachments).unwrap();
        assert_eq!((one.as_ptr(), map["x"].as_ptr()), (places[1], places[0]));
        assert_eq!((seven, &*text), (7, "\u{fffd}"));

        // An attachment whose memory is shared is copied.
        let mut attachments = made();
        let shared = attachments.clone();
        let (one, _): (Bytes, Map) = take(payload, &mut attachments).unwrap();
        assert_eq!((one, shared), (Bytes::from(vec![2; 100]), made()));
    }

    #[test]
    fn a_key_with_an_escape_makes_no_placeholder() {
        let attachments = [Bytes::from_static(b"zero")];
        let payload = r#"["a",{"\u005fplaceholder":true,"num":0},{"_placeholder":true,"num":0}]"#;
        let (plain, bytes): (serde_json::Value, Bytes) = read(payload, &attachments).unwrap();
        assert_eq!((plain["_placeholder"].clone(), bytes), (true.into(), "zero".into()));
        assert!(matches!(read::<Bytes>(payload, &attachments), Err(ArgsError::Mismatch(_))));
        // Text that the connection would have rejected or rewritten causes an error.
        for odd in [
            r#"["a",{"_placeholder":true,"num":1}]"#,
            r#"["a",{"_placeholder":true,"num":0,"x":1}]"#,
            r#"["a",{"_placeholder":false,"num":0}]"#,
            r#"["a",{"_placeholder":true}]"#,
        ] {
            assert!(matches!(read::<Bytes>(odd, &attachments), Err(ArgsError::Mismatch(_))), "{odd}");
            assert!(
                matches!(read::<serde_json::Value>(odd, &attachments), Err(ArgsError::Mismatch(_))),
                "{odd}"
            );
        }
    }

    #[test]
    fn placeholders_become_bytes_wherever_a_type_asks_for_them() {
        let attachments = [Bytes::from_static(b"zero"), Bytes::from_static(b"one")];
        let p = |num: u8| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
        let one = format!(r#"["a",{}]"#, p(1));
        assert_eq!(read::<ByteBuf>(&one, &attachments).unwrap(), b"one");
        assert_eq!(read::<Option<Bytes>>(&one, &attachments).unwrap().unwrap(), "one");
        let nested = format!(r#"["a",{{"name":"n","parts":[{},{},{}],"note":{}}}]"#, p(0), p(1), p(0), p(1));
        let upload: Upload = read(&nested, &attachments).unwrap();
        assert_eq!(upload.parts, [b"zero".to_vec(), b"one".to_vec(), b"zero".to_vec()]);
        assert_eq!(upload.note.unwrap(), "one");
        let variant = format!(r#"["a",{{"File":{}}},{{"Pair":{{"a":{}}}}}]"#, p(0), p(1));
        assert_eq!(
            read::<(Plain, Plain)>(&variant, &attachments).unwrap(),
            (Plain::File(ByteBuf::from(b"zero")), Plain::Pair { a: "one".into() })
        );
        // Decoding into a type that cannot contain bytes fails.
        assert!(matches!(read::<serde_json::Value>(&one, &attachments), Err(ArgsError::Mismatch(_))));
        let beside: (serde_json::Value, Bytes) =
            read(&format!(r#"["a",{{"x":[1]}},{}]"#, p(0)), &attachments).unwrap();
        assert_eq!(beside, (serde_json::json!({"x": [1]}), "zero".into()));
        let tagged: Tagged =
            read(&format!(r#"["a",{{"kind":"File","data":{}}}]"#, p(1)), &attachments).unwrap();
        assert_eq!(tagged, Tagged::File { data: ByteBuf::from(b"one") });
    }
}
