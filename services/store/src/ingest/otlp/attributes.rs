//! Attributes to labels.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{names, wrong};
use crate::ingest::request::{RequestError, text};
use crate::protobuf::{Fields, Value};

/// What tells which target it is; they become `job` and `instance`.
const NAMESPACE: &str = "service.namespace";
const NAME: &str = "service.name";
const INSTANCE: &str = "service.instance.id";

/// Levels that a value may nest.
const DEPTH_MAX: usize = 16;

/// Attributes that one point or resource may have. A series has 64 labels at most; more are refused with it.
const ATTRIBUTES_MAX: usize = 256;

/// Attributes in the order of their keys, and the labels that they become.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    pairs: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

impl Attributes {
    /// Reads field `wanted` of a message: each is a key and a value of any kind.
    pub(super) fn read(message: &[u8], wanted: u64) -> Result<Attributes, RequestError> {
        let mut pairs = BTreeMap::new();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next().map_err(wrong("attributes"))? {
            if let (true, Value::Bytes(pair)) = (number == wanted && pairs.len() < ATTRIBUTES_MAX, value) {
                let (key, value) = pair_of(pair, 0)?;
                pairs.insert(key, plain(value));
            }
        }
        Ok(Attributes::of(pairs))
    }

    fn of(pairs: BTreeMap<String, String>) -> Attributes {
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in pairs.iter().filter(|(key, _)| *key != "__name__") {
            let Some(name) = names::label(key) else { continue };
            let label = labels.entry(name).or_default();
            // Keys that become the same name share one label.
            if !label.is_empty() {
                label.push(';');
            }
            label.push_str(value);
        }
        Attributes { pairs, labels }
    }

    /// As labels, sorted by name.
    pub(super) fn labels(&self) -> BTreeMap<&str, &str> {
        self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// `job` and `instance`, as far as the attributes name them.
    pub(super) fn identity(&self) -> Vec<(&'static str, String)> {
        let get = |key| self.pairs.get(key).filter(|value| !value.is_empty());
        let job = get(NAME).map(|name| match get(NAMESPACE) {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.clone(),
        });
        let instance = get(INSTANCE).cloned();
        job.map(|job| ("job", job)).into_iter().chain(instance.map(|id| ("instance", id))).collect()
    }

    /// All others.
    pub(super) fn without_identity(&self) -> Attributes {
        let mut pairs = self.pairs.clone();
        pairs.retain(|key, _| ![NAMESPACE, NAME, INSTANCE].contains(&key.as_str()));
        Attributes::of(pairs)
    }

    /// As they are, for exemplars.
    pub(super) fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        self.pairs.into_iter()
    }
}

fn pair_of(message: &[u8], depth: usize) -> Result<(String, Json), RequestError> {
    let (mut key, mut found) = (String::new(), Json::Null);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next().map_err(wrong("attribute"))? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => key = text(bytes),
            (2, Value::Bytes(bytes)) => found = any(bytes, depth)?,
            _ => {}
        }
    }
    Ok((key, found))
}

/// A value of any kind.
fn any(message: &[u8], depth: usize) -> Result<Json, RequestError> {
    let mut found = Json::Null;
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next().map_err(wrong("attribute"))? {
        found = match (number, value) {
            (1, Value::Bytes(bytes)) => text(bytes).into(),
            (2, Value::Varint(flag)) => (flag != 0).into(),
            (3, Value::Varint(number)) => number.cast_signed().into(),
            (4, Value::Fixed64(bits)) => number_of(f64::from_bits(bits)),
            (5 | 6, Value::Bytes(_)) if depth >= DEPTH_MAX => "(nested too deeply)".into(),
            (5, Value::Bytes(list)) => Json::Array(members(list, |item| any(item, depth + 1))?),
            (6, Value::Bytes(list)) => {
                Json::Object(members(list, |item| pair_of(item, depth + 1))?.into_iter().collect())
            }
            (7, Value::Bytes(bytes)) => base64(bytes).into(),
            _ => continue,
        };
    }
    Ok(found)
}

fn members<T>(list: &[u8], of: impl Fn(&[u8]) -> Result<T, RequestError>) -> Result<Vec<T>, RequestError> {
    let (mut all, mut fields) = (Vec::new(), Fields::new(list));
    while let Some((number, value)) = fields.next().map_err(wrong("attribute"))? {
        if let (1, Value::Bytes(item)) = (number, value)
            && all.len() < ATTRIBUTES_MAX
        {
            all.push(of(item)?);
        }
    }
    Ok(all)
}

fn number_of(value: f64) -> Json {
    // A float that is whole is written without a fraction.
    if value.fract() == 0.0 && value.abs() < 1e15 { (value as i64).into() } else { value.into() }
}

/// A value as a label has it: text as it is, anything else as JSON.
fn plain(value: Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let value = (word >> (18 - 6 * digit) & 63) as usize;
            out.push(if digit > three.len() { '=' } else { char::from(DIGITS[value]) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_rfc_has_it() {
        let check = |text: &[u8], expected| assert_eq!(base64(text), expected);
        check(b"", "");
        check(b"f", "Zg==");
        check(b"fo", "Zm8=");
        check(b"foo", "Zm9v");
        check(b"foobar", "Zm9vYmFy");
    }

    #[test]
    fn keys_that_become_one_name_share_a_label() {
        let pairs = [("a.b", "1"), ("a_b", "2"), ("9", "x"), ("__name__", "no")];
        let attributes = Attributes::of(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert_eq!(attributes.labels().into_iter().collect::<Vec<_>>(), [("a_b", "1;2"), ("key_9", "x")]);
    }

    #[test]
    fn a_target_is_told_by_its_service() {
        let check = |pairs: &[(&str, &str)], expected: &[(&str, &str)]| {
            let attributes =
                Attributes::of(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
            let identity = attributes.identity();
            assert_eq!(identity.iter().map(|(k, v)| (*k, v.as_str())).collect::<Vec<_>>(), expected);
        };
        check(&[], &[]);
        check(&[(NAME, "api")], &[("job", "api")]);
        check(
            &[(NAME, "api"), (NAMESPACE, "shop"), (INSTANCE, "7")],
            &[("job", "shop/api"), ("instance", "7")],
        );
        check(&[(NAMESPACE, "shop")], &[]);
    }
}
