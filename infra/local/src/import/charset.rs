//! The charset of an imported file. Excel saves UTF-16 with a byte order mark, or the charset of its Windows.

use encoding_rs::{Encoding, UTF_8};

const UTF_8_MARK: &[u8] = "\u{feff}".as_bytes();

/// Returns the text of a file. A byte order mark counts before `named`, the charset that the operator named. Without
/// both, the file has to be UTF-8.
///
/// # Errors
/// Returns the remedy if the bytes are not of that charset. The bytes are personal and are not repeated.
pub fn text_of(bytes: &[u8], named: Option<&str>) -> Result<String, String> {
    let named = match named {
        Some(name) => Some(Encoding::for_label(name.as_bytes()).ok_or_else(|| unknown(name))?),
        None => None,
    };
    // Bytes that are valid UTF-8 beyond ASCII are no text of a single-byte charset.
    let is_utf8 = std::str::from_utf8(bytes).is_ok_and(|text| !text.is_ascii());
    if let Some(charset) = named.filter(|charset| charset.is_single_byte() && is_utf8 && !bytes.starts_with(UTF_8_MARK))
    {
        return Err(format!("the file is UTF-8 and not {}: leave --charset out", charset.name()));
    }
    let (charset, mark) = Encoding::for_bom(bytes).unwrap_or((named.unwrap_or(UTF_8), 0));
    let (text, is_broken) = charset.decode_without_bom_handling(bytes.get(mark..).unwrap_or(b""));
    match is_broken {
        false => Ok(text.into_owned()),
        true if named.is_none() && mark == 0 => {
            Err("the file is not UTF-8. Save it in Excel as \"CSV UTF-8\". Or name its \
             charset: a Russian Windows writes --charset windows-1251"
                .into())
        }
        true => Err(format!("the file is not {}: name its real charset with --charset", charset.name())),
    }
}

fn unknown(name: &str) -> String {
    format!("no charset has the name {name:?}; known are utf-8, utf-16le, windows-1251, koi8-r, ibm866 and the like")
}
