//! Finds single fields in a body that is not verified yet. Nothing else of it is kept. The cost is one pass over the
//! bytes, and memory for the wanted fields only.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use stagedoor_model::breakage;

use crate::plain::plain;

/// The value of a form's field. Of equal fields, the last one counts.
pub fn form_field(body: &[u8], key: &str) -> Option<String> {
    form_value(body, |name| name == key)
}

/// Like [`form_field`], but ignores the case of the name. `key` is lower case.
pub fn form_field_any_case(body: &[u8], key: &str) -> Option<String> {
    form_value(body, |name| name.to_lowercase() == key)
}

fn form_value(body: &[u8], is_it: impl Fn(&str) -> bool) -> Option<String> {
    let pairs = url::form_urlencoded::parse(body).filter(|(name, _)| is_it(name));
    pairs.last().map(|(_, value)| value.into_owned())
}

/// The text or number in a field of a JSON object.
pub fn json_field(body: &[u8], key: &str) -> Option<String> {
    let [found] = json_fields(body, [key]);
    found
}

/// Like [`json_field`], but ignores the case of the name. `key` is lower case.
pub fn json_field_any_case(body: &[u8], key: &str) -> Option<String> {
    let [found] = scanned(body, [key], true);
    found
}

/// The texts and numbers at these places of a JSON object, such as `["secret", "signature/token"]`, in their order.
/// `None` if a value is absent or of another type, or if the body is no JSON.
pub fn json_fields<const N: usize>(body: &[u8], places: [&str; N]) -> [Option<String>; N] {
    scanned(body, places, false)
}

fn scanned<const N: usize>(body: &[u8], places: [&str; N], any_case: bool) -> [Option<String>; N] {
    // The UTF-8 byte order mark is no part of the JSON.
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let read = picked(body, places, any_case).or_else(|error| match error.classify() {
        // The parser reads nearly-JSON, too, after verification.
        Category::Syntax if !breakage::is_on("nearly-json-unproved") => picked(&plain(body), places, any_case),
        _ => Err(error),
    });
    read.unwrap_or([const { None }; N])
}

fn picked<const N: usize>(
    body: &[u8],
    places: [&str; N],
    any_case: bool,
) -> Result<[Option<String>; N], serde_json::Error> {
    let mut found = [const { None }; N];
    let wanted: Vec<(usize, &str)> = places.iter().copied().enumerate().collect();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Pick { wanted: &wanted, found: &mut found, any_case }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(found)
}

/// Reads one value. `wanted` are the places below it, each with its number. An empty place is the value itself.
struct Pick<'w> {
    wanted: &'w [(usize, &'w str)],
    found: &'w mut [Option<String>],
    any_case: bool,
}

impl Pick<'_> {
    fn set(self, value: Option<&str>) {
        for (number, _) in self.wanted.iter().filter(|(_, place)| place.is_empty()) {
            if let Some(slot) = self.found.get_mut(*number) {
                *slot = value.map(str::to_owned);
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Pick<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.set(Some(text));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.set(Some(&number.to_string()));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.set(Some(&number.to_string()));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.set(Some(&number.to_string()));
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.set(None);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.set(None);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.set(None);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(key) = fields.next_key::<Cow<'de, str>>()? {
            let beneath: Vec<(usize, &str)> = self
                .wanted
                .iter()
                .filter_map(|(number, place)| {
                    let (name, rest) = place.split_once('/').unwrap_or((place, ""));
                    let is_it = name == key || (self.any_case && key.to_lowercase() == name);
                    (!place.is_empty() && is_it).then_some((*number, rest))
                })
                .collect();
            if beneath.is_empty() {
                fields.next_value::<IgnoredAny>()?;
            } else {
                fields.next_value_seed(Pick { wanted: &beneath, found: self.found, any_case: self.any_case })?;
            }
        }
        self.set(None);
        Ok(())
    }
}

/// The body without the values of these fields, so that a kept delivery holds no secret. Names are lower case; the
/// comparison ignores case. All other bytes stay the same.
pub fn without_fields(body: &[u8], is_form: bool, names: &[String]) -> Vec<u8> {
    match is_form {
        _ if names.is_empty() => body.to_vec(),
        true => form_without(body, names),
        false => json_without(body, names),
    }
}

/// The body without these texts at any place and in any form: under another name, deep in JSON, or escaped.
pub fn without_texts(body: Vec<u8>, is_form: bool, texts: &[&str]) -> Vec<u8> {
    let texts: Vec<&str> = texts.iter().copied().filter(|text| text.len() >= LEAST).collect();
    if texts.is_empty() {
        return body;
    }
    let blanked = |text: &str| texts.iter().fold(text.to_owned(), |text, secret| text.replace(secret, ""));
    let body = if is_form { form_rewritten(&body, &blanked) } else { json_rewritten(&body, &blanked) };
    texts.iter().fold(body, |body, text| bytes_without(body, text.as_bytes()))
}

/// Shorter secrets are not searched for, because they would be found inside words. Only a hub for development has them.
const LEAST: usize = 6;

fn bytes_without(body: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(body.len());
    let mut rest = body.as_slice();
    while let Some((first, after)) = rest.split_first() {
        match rest.strip_prefix(secret) {
            Some(behind) => rest = behind,
            None => {
                kept.push(*first);
                rest = after;
            }
        }
    }
    kept
}

fn form_rewritten(body: &[u8], blanked: &impl Fn(&str) -> String) -> Vec<u8> {
    let part = |raw: &[u8]| {
        // Further `=` signs belong to the value.
        let whole: Vec<u8> = raw
            .iter()
            .flat_map(|byte| if *byte == b'=' { &b"%3D"[..] } else { std::slice::from_ref(byte) }.to_vec())
            .collect();
        let text = url::form_urlencoded::parse(&whole).next().map(|(name, _)| name.into_owned()).unwrap_or_default();
        match blanked(&text) {
            kept if kept == text => raw.to_vec(),
            kept => url::form_urlencoded::byte_serialize(kept.as_bytes()).collect::<String>().into(),
        }
    };
    let pair = |pair: &[u8]| pair.splitn(2, |byte| *byte == b'=').map(part).collect::<Vec<_>>().join(&b'=');
    body.split(|byte| *byte == b'&').map(pair).collect::<Vec<_>>().join(&b'&')
}

fn json_rewritten(body: &[u8], blanked: &impl Fn(&str) -> String) -> Vec<u8> {
    let mut kept = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, after)) = rest.split_first() {
        let length = if *first == b'"' { (text_length(after) + 1).min(rest.len()) } else { 1 };
        let (token, next) = rest.split_at(length);
        let text = if *first == b'"' { serde_json::from_slice::<String>(token).ok() } else { None };
        match text.map(|text| (blanked(&text), text)) {
            Some((without, text)) if without != text => {
                kept.extend(serde_json::to_vec(&without).unwrap_or_else(|_| b"\"\"".to_vec()))
            }
            _ => kept.extend_from_slice(token),
        }
        rest = next;
    }
    kept
}

fn form_without(body: &[u8], names: &[String]) -> Vec<u8> {
    let blank = |pair: &[u8]| {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (key, value) = pair.split_at(end);
        let is_it =
            url::form_urlencoded::parse(key).next().is_some_and(|(name, _)| names.contains(&name.to_lowercase()));
        let kept = if is_it { value.get(..1).unwrap_or(b"") } else { value };
        [key, kept].concat()
    };
    body.split(|byte| *byte == b'&').map(blank).collect::<Vec<_>>().join(&b'&')
}

fn json_without(body: &[u8], names: &[String]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(body.len());
    let (mut rest, mut depth, mut key, mut hide) = (body, 0_usize, false, false);
    while let Some((first, after)) = rest.split_first() {
        let length = match first {
            b'"' => text_length(after) + 1,
            b'{' | b'[' => {
                depth += 1;
                key = depth == 1 && *first == b'{';
                1
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                1
            }
            b',' => {
                key = depth == 1;
                hide = false;
                1
            }
            _ => 1,
        };
        let (token, next) = rest.split_at(length.min(rest.len()));
        let is_value = !matches!(first, b'{' | b'[' | b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n');
        match (is_value, depth, key) {
            (true, 1, true) => {
                hide = serde_json::from_slice::<String>(token).is_ok_and(|name| names.contains(&name.to_lowercase()));
                key = false;
                kept.extend_from_slice(token);
            }
            (true, 1, false) if hide && *first == b'"' => kept.extend_from_slice(b"\"\""),
            // A number is replaced digit by digit.
            (true, 1, false) if hide && first.is_ascii_digit() => kept.push(b'0'),
            _ => kept.extend_from_slice(token),
        }
        rest = next;
    }
    kept
}

/// The length of a JSON text after its first quote, including its last quote.
fn text_length(after: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in after.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    after.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_wherever_they_stand_and_whatever_stands_around() {
        let body = br#"{"a":[{"secret":"no"}],"secret":"yes","group_id":7,"signature":{"token":"t","x":{"token":1}}}"#;
        let found = json_fields(body, ["secret", "group_id", "signature/token", "signature/none", "a"]);
        assert_eq!(found.map(|one| one.unwrap_or_default()), ["yes", "7", "t", "", ""]);
        assert_eq!(json_fields(br#"{"k":"a","k":"b"}"#, ["k"]), [Some("b".to_owned())], "the last counts");
        assert_eq!(json_fields(br#"{"\u006b":"a\n"}"#, ["k"]), [Some("a\n".to_owned())], "escapes are read");
    }

    #[test]
    fn what_is_not_json_has_no_fields() {
        for body in [&b""[..], b"[", b"[]", b"7", b"{\"k\":\"a\"", b"{\"k\":\"a\"} x", b"{\"k\":null}", b"{\"k\":{}}"] {
            assert_eq!(json_fields(body, ["k"]), [None], "{}", String::from_utf8_lossy(body));
        }
        let deep = [b"{\"k\":".repeat(100_000), b"1".to_vec()].concat();
        assert_eq!(json_fields(&deep, ["k"]), [None]);
    }

    #[test]
    fn a_field_is_found_without_regard_to_case_where_that_is_asked() {
        let body = b"a=1&X-API-Key=no&x-API-key=ye%73";
        assert_eq!(form_field_any_case(body, "x-api-key").as_deref(), Some("yes"));
        assert_eq!(form_field(body, "x-api-key"), None);
        assert_eq!(json_field_any_case(br#"{"X-Api-Key":"yes"}"#, "x-api-key").as_deref(), Some("yes"));
        assert_eq!(form_field(b"a=1&b[x-api-key]=2", "x-api-key"), None);
    }

    #[test]
    fn a_secret_is_taken_out_and_all_else_stays_as_it_was() {
        let names = ["secret".to_owned()];
        for (body, kept) in [
            (
                r#"{"a":1, "secret" : "x\"y,\"", "b":{"secret":"stays"}}"#,
                r#"{"a":1, "secret" : "", "b":{"secret":"stays"}}"#,
            ),
            (r#"{"Secret":"x","n":"secret","l":["secret","y"]}"#, r#"{"Secret":"","n":"secret","l":["secret","y"]}"#),
            (r#"{"\u0073ecret":"x"}"#, r#"{"\u0073ecret":""}"#),
            (r#"{"secret":123,"b":45}"#, r#"{"secret":000,"b":45}"#),
            (r#"["secret","x"]"#, r#"["secret","x"]"#),
            (r#"{"secret":"broken"#, r#"{"secret":"""#),
        ] {
            assert_eq!(String::from_utf8_lossy(&without_fields(body.as_bytes(), false, &names)), kept);
        }
        let kept = without_fields(b"a=1&SECRET=x%20y&secret&b=secret&sec%72et=z", true, &names);
        assert_eq!(String::from_utf8_lossy(&kept), "a=1&SECRET=&secret&b=secret&sec%72et=");
        assert_eq!(without_fields(b"{\"a\": \"b\"}", false, &[]), b"{\"a\": \"b\"}");
    }

    #[test]
    fn a_secret_is_taken_out_wherever_and_however_it_is_written() {
        for (body, kept) in [
            (r#"{"a":{"deep":["s3cr3t"]},"s3cr3t":1, "b" : "x"}"#, r#"{"a":{"deep":[""]},"":1, "b" : "x"}"#),
            (r#"{"a":"before \u0073\u0033cr3t after","b":"\u0041"}"#, r#"{"a":"before  after","b":"\u0041"}"#),
            (r#"{"broken":"s3cr3t"#, r#"{"broken":""#),
        ] {
            let without = without_texts(body.as_bytes().to_vec(), false, &["s3cr3t", "ab"]);
            assert_eq!(String::from_utf8_lossy(&without), kept);
        }
        let form = b"a=1&key=s3c%723t&b%5Bx%5D=%7B%22k%22%3A%22s3cr3t%22%7D&s3cr3t&c=ab".to_vec();
        let without = without_texts(form, true, &["s3cr3t", "ab"]);
        assert_eq!(String::from_utf8_lossy(&without), "a=1&key=&b%5Bx%5D=%7B%22k%22%3A%22%22%7D&&c=ab");
    }
}
