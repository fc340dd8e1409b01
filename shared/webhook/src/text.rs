//! Makes a verified body readable: UTF-8 without a byte order mark, from any charset, and JSON without halves of
//! surrogate pairs. This happens after verification, which needs the original bytes.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use stagedoor_model::breakage;

/// The body in the form that a parser can read.
pub(crate) fn readable<'b>(body: &'b [u8], content_type: &str, is_form: bool) -> Cow<'b, [u8]> {
    if breakage::is_on("bytes-as-they-came") {
        return Cow::Borrowed(body);
    }
    if let Some((charset, mark)) = Encoding::for_bom(body) {
        let rest = body.get(mark..).unwrap_or(b"");
        return if charset == UTF_8 { letters(rest) } else { utf8(rest, charset) };
    }
    let declared = declared(content_type);
    if let Some(charset) = declared.and_then(|charset| utf16(body, charset)) {
        return utf8(body, charset);
    }
    match declared {
        Some(charset) if is_form => Cow::Owned(form(body, charset)),
        // Valid UTF-8 is read as UTF-8, whatever the header declares: Russian text in another charset is never valid
        // UTF-8.
        Some(charset) if std::str::from_utf8(body).is_err() => utf8(body, charset),
        _ if is_form => Cow::Borrowed(body),
        _ => letters(body),
    }
}

/// The charset of a content type, unless it is UTF-8 or unknown.
fn declared(content_type: &str) -> Option<&'static Encoding> {
    let parameter = content_type.split(';').skip(1).find_map(|one| {
        let (name, value) = one.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    Encoding::for_label(parameter?.as_bytes()).filter(|charset| *charset != UTF_8)
}

/// The byte order of UTF-16, if UTF-16 is declared. `None`: the bytes are not UTF-16.
///
/// UTF-16 is often valid UTF-8, and "utf-16" names no byte order. But half of its bytes are control characters, which
/// no other text has.
fn utf16(bytes: &[u8], declared: &'static Encoding) -> Option<&'static Encoding> {
    if ![UTF_16LE, UTF_16BE].contains(&declared) || breakage::is_on("utf-16-is-garbage") {
        return None;
    }
    if let Some((charset, _)) = Encoding::for_bom(bytes) {
        return Some(charset).filter(|charset| *charset != UTF_8);
    }
    // The high bytes of Latin and Cyrillic letters.
    let high = |first: usize| bytes.iter().skip(first).step_by(2).filter(|byte| **byte < b'\t').count();
    match (high(0), high(1)) {
        (0, 0) => None,
        (even, odd) if even > odd => Some(UTF_16BE),
        (even, odd) if even < odd => Some(UTF_16LE),
        _ => Some(declared),
    }
}

fn utf8<'b>(body: &'b [u8], charset: &'static Encoding) -> Cow<'b, [u8]> {
    let (text, _) = charset.decode_without_bom_handling(body);
    Cow::Owned(letters(text.as_bytes()).into_owned())
}

/// Decodes each part of each pair by itself, because the percent signs stand for bytes of that charset.
fn form(body: &[u8], charset: &'static Encoding) -> Vec<u8> {
    let part = |raw: &[u8]| {
        let bytes = bytes_of(raw);
        if let Some(charset) = utf16(&bytes, charset) {
            let (text, _) = charset.decode_with_bom_removal(&bytes);
            return url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().into_bytes();
        }
        if std::str::from_utf8(&bytes).is_ok() {
            return raw.to_vec();
        }
        let (text, _) = charset.decode_without_bom_handling(&bytes);
        url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().into_bytes()
    };
    let pair = |pair: &[u8]| pair.splitn(2, |byte| *byte == b'=').map(part).collect::<Vec<_>>().join(&b'=');
    body.split(|byte| *byte == b'&').map(pair).collect::<Vec<_>>().join(&b'&')
}

/// Decodes percent signs and pluses.
fn bytes_of(raw: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        let pair = after.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = pair.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        match (byte, first) {
            (Some(byte), _) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or(b"");
                continue;
            }
            (None, b'+') => bytes.push(b' '),
            (None, _) => bytes.push(*first),
        }
        rest = after;
    }
    bytes
}

/// JSON whose escapes are whole letters. Half of a surrogate pair, as in a cut emoji, becomes a replacement character.
fn letters(body: &[u8]) -> Cow<'_, [u8]> {
    let may_be = |part: &[u8]| matches!(part, [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F']);
    if !body.windows(4).any(may_be) {
        return Cow::Borrowed(body);
    }
    let mut kept = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, after)) = rest.split_first() {
        let length = match (first, code(rest)) {
            (b'\\', Some(0xD800..=0xDBFF)) => match code(rest.get(6..).unwrap_or(b"")) {
                Some(0xDC00..=0xDFFF) => 12,
                _ => 0,
            },
            (b'\\', Some(0xDC00..=0xDFFF)) => 0,
            // An escaped backslash hides what follows.
            (b'\\', None) => 2.min(rest.len()),
            _ => 1,
        };
        if length == 0 {
            kept.extend_from_slice(b"\\ufffd");
            rest = rest.get(6..).unwrap_or(b"");
        } else {
            kept.extend_from_slice(rest.get(..length).unwrap_or(rest));
            rest = rest.get(length..).unwrap_or(after);
        }
    }
    Cow::Owned(kept)
}

/// The code of the escape at the beginning.
fn code(body: &[u8]) -> Option<u32> {
    let digits = body.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_charsets_and_halves_of_letters_are_read() {
        let json = "application/json";
        let anna = "{\"name\":\"Анна\"}";
        let (in_1251, _, _) = encoding_rs::WINDOWS_1251.encode(anna);
        let in_utf16: Vec<u8> = [0xFEFF].into_iter().chain(anna.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let marked = format!("\u{feff}{anna}");
        for (body, kind) in [
            (anna.as_bytes(), json),
            (marked.as_bytes(), json),
            (&in_utf16, json),
            (&in_1251, "application/json; charset=windows-1251"),
            (&in_1251, "application/json;charset=\"CP1251\""),
            (anna.as_bytes(), "application/json; charset=windows-1251"),
        ] {
            assert_eq!(String::from_utf8_lossy(&readable(body, kind, false)), anna, "{kind}");
        }
        for (body, read) in [
            (r#"{"a":"cut \ud83d"}"#, "cut \u{fffd}"),
            (r#"{"a":"\uDE00\ud83d\ude00"}"#, "\u{fffd}😀"),
            (r#"{"a":"\\ud83d"}"#, "\\ud83d"),
        ] {
            let value: serde_json::Value =
                serde_json::from_slice(&readable(body.as_bytes(), json, false)).expect("JSON");
            assert_eq!(value["a"], read, "{body}");
        }
    }

    #[test]
    fn utf_16_is_read_in_either_order_of_its_bytes_with_and_without_a_mark() {
        let bytes = |text: &str, is_big: bool| -> Vec<u8> {
            let each = |unit: u16| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() };
            text.encode_utf16().flat_map(each).collect()
        };
        let percent = |bytes: &[u8]| bytes.iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let (json, form) = ("{\"name\":\"Анна 😀\"}", "Name=Анна&Город=Уфа");
        for (label, is_big) in
            [("utf-16", false), ("UTF-16", true), ("utf-16le", false), ("utf-16be", true), ("utf-16le", true)]
        {
            for mark in ["", "\u{feff}"] {
                let kind = format!("application/json; charset={label}");
                let body = bytes(&format!("{mark}{json}"), is_big);
                assert_eq!(String::from_utf8_lossy(&readable(&body, &kind, false)), json, "{kind} {is_big} {mark:?}");
                let kind = format!("application/x-www-form-urlencoded; charset={label}");
                let body = bytes(&format!("{mark}{form}"), is_big);
                assert_eq!(String::from_utf8_lossy(&readable(&body, &kind, true)), form, "{kind} {is_big} {mark:?}");
                let body = format!("Name={}&a=1+2", percent(&bytes(&format!("{mark}Анна"), is_big)));
                let read = String::from_utf8_lossy(&readable(body.as_bytes(), &kind, true)).into_owned();
                assert_eq!(read, "Name=%D0%90%D0%BD%D0%BD%D0%B0&a=1+2", "{kind} {is_big} {mark:?}");
            }
            // Valid UTF-8 is read as UTF-8, whatever the header declares.
            let kind = format!("application/json; charset={label}");
            assert_eq!(String::from_utf8_lossy(&readable(json.as_bytes(), &kind, false)), json, "{kind}");
        }
    }

    #[test]
    fn a_form_of_another_charset_is_read_and_one_of_utf8_stays_as_it_is() {
        let kind = "application/x-www-form-urlencoded; charset=windows-1251";
        let read = |body: &[u8]| String::from_utf8_lossy(&readable(body, kind, true)).into_owned();
        assert_eq!(read(b"Name=%C0%ED%ED%E0+K&a=1+2&b"), "Name=%D0%90%D0%BD%D0%BD%D0%B0+K&a=1+2&b");
        assert_eq!(read("Name=%D0%90%D0%BD%D0%BD%D0%B0".as_bytes()), "Name=%D0%90%D0%BD%D0%BD%D0%B0");
        assert_eq!(read(b"a=%zz%4&=&"), "a=%zz%4&=&");
    }
}
