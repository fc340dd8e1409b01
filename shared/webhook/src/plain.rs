//! Turns JSON as other languages and hand-made templates write it into standard JSON (RFC 8259).

/// Words that stand in the place of a number or of nothing, such as `-Infinity` of Python's `json`.
const WORDS: [&[u8]; 4] = [b"-Infinity", b"Infinity", b"NaN", b"undefined"];

/// The same values without what no parser takes. A number that is too large becomes a text. `NaN`, `Infinity` and
/// `undefined` become null. Control characters in a text are escaped. Needless backslashes and commas before a closing
/// bracket are removed.
pub(crate) fn plain(body: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, after)) = rest.split_first() {
        let length = match first {
            b'"' => text(rest, &mut kept),
            b',' if closes(after) => 1,
            b'-' | b'0'..=b'9' | b'N' | b'I' | b'u' => value(rest, &mut kept),
            _ => {
                kept.push(*first);
                1
            }
        };
        rest = rest.get(length..).unwrap_or(b"");
    }
    kept
}

fn closes(after: &[u8]) -> bool {
    matches!(after.trim_ascii_start().first(), Some(b']' | b'}'))
}

/// Copies the text at the beginning, and returns its length.
fn text(body: &[u8], kept: &mut Vec<u8>) -> usize {
    kept.push(b'"');
    let mut at = 1;
    while let Some(byte) = body.get(at) {
        at += 1;
        match (byte, body.get(at)) {
            (b'"', _) => {
                kept.push(b'"');
                break;
            }
            (b'\\', Some(next)) if br#""\/bfnrtu"#.contains(next) => {
                kept.extend([b'\\', *next]);
                at += 1;
            }
            // The sender meant the next character literally.
            (b'\\', Some(_)) => {}
            (0..0x20, _) => kept.extend(format!("\\u{byte:04x}").into_bytes()),
            _ => kept.push(*byte),
        }
    }
    at
}

/// Copies the number or the word at the beginning, and returns its length.
fn value(body: &[u8], kept: &mut Vec<u8>) -> usize {
    if let Some(word) = WORDS.iter().find(|word| body.starts_with(word)) {
        kept.extend(b"null");
        return word.len();
    }
    let is_part = |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
    let length = body.iter().take_while(is_part).count().max(1);
    let number = body.get(..length).unwrap_or(body);
    let read = std::str::from_utf8(number).ok().and_then(|text| text.parse::<f64>().ok());
    let is_infinite = read.is_some_and(f64::is_infinite);
    let quote: &[u8] = if is_infinite { b"\"" } else { b"" };
    [quote, number, quote].into_iter().for_each(|part| kept.extend_from_slice(part));
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_languages_write_becomes_json() {
        let long = format!("1{}", "0".repeat(400));
        for (body, expected) in [
            (r#"{"a":1e400,"b":-1E+999,"c":1.5e3}"#.to_owned(), r#"{"a":"1e400","b":"-1E+999","c":1.5e3}"#.to_owned()),
            (format!("[{long}]"), format!("[\"{long}\"]")),
            ("[NaN,Infinity,-Infinity,undefined]".into(), "[null,null,null,null]".into()),
            ("{\"a\":\"one\ttwo\nthree\"}".into(), r#"{"a":"one\u0009two\u000athree"}"#.into()),
            (r#"{"a":"O\'Brien \"x\" \\"}"#.into(), r#"{"a":"O'Brien \"x\" \\"}"#.into()),
            (r#"{"a":[1,2,],"b":"1e400, ]", }"#.into(), r#"{"a":[1,2],"b":"1e400, ]" }"#.into()),
        ] {
            let read = plain(body.as_bytes());
            assert_eq!(String::from_utf8_lossy(&read), expected);
            serde_json::from_slice::<serde_json::Value>(&read).expect("JSON");
        }
    }

    #[test]
    fn what_is_json_stays_as_it_is_and_what_breaks_off_stays_broken() {
        for text in
            [r#"{"a":[1,-2,3.5,null,true,"x\"y",{"b":{}}]}"#, "[]", "7", "\"text\"", "\"a", "{\"a\":", "\"\\", "-"]
        {
            assert_eq!(String::from_utf8_lossy(&plain(text.as_bytes())), text);
        }
    }
}
