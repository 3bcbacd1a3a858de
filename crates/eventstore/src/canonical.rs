//! Canonical JSON: members in the order of their names, no spaces. Equal values give equal bytes, in
//! whatever order their fields are declared. It is written as it is told, without a tree of it: what
//! is stored is written once, and read often.

use std::borrow::Cow;
use std::ops::Range;

use serde::Serialize;
use serde::ser::{self, Error as _, Serializer};
use serde_json::{Error, Value};

type Done = Result<(), Error>;

/// Plain data as canonical JSON.
pub(crate) fn canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut out = vec![];
    value.serialize(Writer(&mut out))?;
    Ok(out)
}

struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    /// What is the same in any JSON.
    fn plain<T: Serialize + ?Sized>(self, value: &T) -> Done {
        serde_json::to_writer(self.0, value)
    }

    /// Begins the value of a variant: an object whose only member has its name.
    fn variant(self, name: &str) -> Result<&'a mut Vec<u8>, Error> {
        self.0.push(b'{');
        serde_json::to_writer(&mut *self.0, name)?;
        self.0.push(b':');
        Ok(self.0)
    }
}

/// A list that is being written.
struct Items<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
    end: &'static [u8],
}

impl<'a> Items<'a> {
    fn begin(out: &'a mut Vec<u8>, end: &'static [u8]) -> Self {
        out.push(b'[');
        Self { out, is_first: true, end }
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
        value.serialize(Writer(self.out))
    }

    fn finish(self) -> Done {
        self.out.extend_from_slice(self.end);
        Ok(())
    }
}

/// An object whose members are put in order when all of them are known.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    values: Vec<u8>,
    places: Vec<(Cow<'static, str>, Range<usize>)>,
    name: Option<String>,
    end: &'static [u8],
}

impl<'a> Members<'a> {
    fn begin(out: &'a mut Vec<u8>, end: &'static [u8]) -> Self {
        Self { out, values: vec![], places: vec![], name: None, end }
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: Cow<'static, str>, value: &T) -> Done {
        let start = self.values.len();
        value.serialize(Writer(&mut self.values))?;
        self.places.push((name, start..self.values.len()));
        Ok(())
    }

    fn finish(mut self) -> Done {
        self.places.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.out.push(b'{');
        for (nth, (name, place)) in self.places.iter().enumerate() {
            if nth > 0 {
                self.out.push(b',');
            }
            serde_json::to_writer(&mut *self.out, name.as_ref())?;
            self.out.push(b':');
            self.out.extend_from_slice(&self.values[place.clone()]);
        }
        self.out.extend_from_slice(self.end);
        Ok(())
    }
}

macro_rules! plain {
    ($($method:ident: $kind:ty),*) => {
        $(fn $method(self, value: $kind) -> Done {
            self.plain(&value)
        })*
    };
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = Items<'a>;
    type SerializeTupleStruct = Items<'a>;
    type SerializeTupleVariant = Items<'a>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Members<'a>;

    plain! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_i128: i128, serialize_u8: u8, serialize_u16: u16,
        serialize_u32: u32, serialize_u64: u64, serialize_u128: u128, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8]
    }

    fn serialize_none(self) -> Done {
        self.plain(&())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        self.plain(&())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Done {
        self.plain(&())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Done {
        self.plain(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        let out = self.variant(variant)?;
        value.serialize(Writer(out))?;
        out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a>, Error> {
        Ok(Items::begin(self.0, b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Items<'a>, Error> {
        Ok(Items::begin(self.0, b"]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items<'a>, Error> {
        Ok(Items::begin(self.0, b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items<'a>, Error> {
        Ok(Items::begin(self.variant(variant)?, b"]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a>, Error> {
        Ok(Members::begin(self.0, b"}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, Error> {
        Ok(Members::begin(self.0, b"}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'a>, Error> {
        Ok(Members::begin(self.variant(variant)?, b"}}"))
    }
}

macro_rules! items {
    ($($part:ident::$method:ident),*) => {
        $(impl ser::$part for Items<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                self.item(value)
            }

            fn end(self) -> Done {
                self.finish()
            }
        })*
    };
}

items! {
    SerializeSeq::serialize_element, SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field, SerializeTupleVariant::serialize_field
}

macro_rules! members {
    ($($part:ident),*) => {
        $(impl ser::$part for Members<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Done {
                self.member(Cow::Borrowed(name), value)
            }

            fn end(self) -> Done {
                self.finish()
            }
        })*
    };
}

members! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        self.name = Some(match serde_json::to_value(key)? {
            Value::String(name) => name,
            Value::Bool(name) => name.to_string(),
            Value::Number(name) => name.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err(Error::custom("a name is text"));
            }
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        let name = self.name.take().ok_or_else(|| Error::custom("a value without a name"))?;
        self.member(Cow::Owned(name), value)
    }

    fn end(self) -> Done {
        self.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written<T: Serialize>(value: &T) -> String {
        String::from_utf8(canonical(value).expect("plain data")).expect("text")
    }

    #[derive(Serialize)]
    struct Unit;

    #[derive(Serialize)]
    enum Forms {
        Unit,
        New(u8),
        Tuple(u8, Option<char>),
        Struct { z: bool, a: f64 },
    }

    #[derive(Serialize)]
    #[serde(tag = "type")]
    enum Tagged {
        Z { b: i128, a: BTreeMap<u32, Unit> },
    }

    #[derive(Serialize)]
    struct All<'a> {
        forms: [Forms; 4],
        #[serde(flatten)]
        more: HashMap<String, &'a str>,
        bytes: (u64, ()),
        tagged: Tagged,
    }

    #[test]
    fn all_forms_are_written_as_json_is_with_members_in_order() {
        let all = All {
            forms: [
                Forms::Unit,
                Forms::New(1),
                Forms::Tuple(2, Some('ü')),
                Forms::Struct { z: true, a: 1.0 },
            ],
            more: [("b", "\"\u{0}\n"), ("x", "")].map(|(a, b)| (a.to_owned(), b)).into(),
            bytes: (u64::MAX, ()),
            tagged: Tagged::Z { b: -1, a: [(10, Unit), (9, Unit)].into() },
        };
        let wanted = r#"{"b":"\"\u0000\n","bytes":[18446744073709551615,null],"forms":["Unit",{"New":1},{"Tuple":[2,"ü"]},{"Struct":{"a":1.0,"z":true}}],"tagged":{"a":{"10":null,"9":null},"b":-1,"type":"Z"},"x":""}"#;
        assert_eq!(written(&all), wanted);
        assert_eq!(
            serde_json::to_value(&all).expect("plain"),
            serde_json::from_str::<Value>(wanted).expect("JSON")
        );
        assert_eq!(written(&json!([{}, [], f64::NAN])), "[{},[],null]");
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let members = prop::collection::btree_map(".{0,4}", inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                members.prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same_and_is_written_the_same_again(value in anything()) {
            let text = written(&value);
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read, &value);
            prop_assert_eq!(written(&read), text);
        }
    }
}
