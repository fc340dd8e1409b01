//! Forms that browsers send without a preflight request: `multipart/form-data` (a script's `FormData`) and `text/plain`
//! (a beacon at the closing of a page). Each becomes the form or JSON that it would otherwise have been.

use http::{HeaderValue, header};

use crate::{Delivery, Reject};

const FORM: &str = "application/x-www-form-urlencoded";

/// The longest boundary that RFC 2046 allows.
const MAX_BOUNDARY: usize = 70;

fn kind(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// True if a browser sends this content type without a preflight request.
pub(crate) fn is_beacon(content_type: &str) -> bool {
    matches!(kind(content_type).as_str(), "multipart/form-data" | "text/plain")
}

/// Turns a beacon into a form or JSON; leaves other bodies unchanged. `most` is the largest number of fields.
///
/// # Errors
/// `UnreadableBody` for parts without a boundary, or too many fields.
pub(crate) fn unfold(delivery: &mut Delivery, most: usize) -> Result<(), Reject> {
    let content_type = delivery.header("content-type").unwrap_or("").to_owned();
    let becomes = match kind(&content_type).as_str() {
        "text/plain" if delivery.body.trim_ascii_start().first() == Some(&b'{') => "application/json",
        "text/plain" => FORM,
        "multipart/form-data" => {
            delivery.body = as_form(&delivery.body, &content_type, most).ok_or(Reject::UnreadableBody)?.into();
            FORM
        }
        _ => return Ok(()),
    };
    delivery.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(becomes));
    Ok(())
}

/// Reads `multipart/form-data` (RFC 7578) as a form. Files are left out.
fn as_form(body: &[u8], content_type: &str, most: usize) -> Option<Vec<u8>> {
    let boundary = content_type.split(';').skip(1).find_map(|one| {
        let (name, value) = one.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    if boundary.is_empty() || boundary.len() > MAX_BOUNDARY {
        return None;
    }
    let line = format!("--{boundary}");
    let between = format!("\r\n{line}");
    let mut rest = after(body, line.as_bytes())?.1;
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let mut fields = 0;
    while !rest.starts_with(b"--") {
        let (part, next) = after(rest, between.as_bytes())?;
        let (head, value) = after(part, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(head).into_owned();
        if let Some(name) = parameter(&head, "name").filter(|_| parameter(&head, "filename").is_none()) {
            fields += 1;
            if fields > most {
                return None;
            }
            form.append_pair(&name, &String::from_utf8_lossy(value));
        }
        rest = next;
    }
    Some(form.finish().into_bytes())
}

/// The bytes before and after the first occurrence of `bytes`.
fn after<'b>(body: &'b [u8], bytes: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = body.windows(bytes.len()).position(|part| part == bytes)?;
    Some((body.get(..at)?, body.get(at + bytes.len()..)?))
}

/// A parameter of the part's `Content-Disposition`. Browsers write quotes and line breaks in names as `%22`, `%0D` and
/// `%0A`.
fn parameter(head: &str, which: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let found = line.split(';').skip(1).find_map(|one| {
        let (name, value) = one.split_once('=')?;
        name.trim().trim_end_matches('*').eq_ignore_ascii_case(which).then(|| value.trim().trim_matches('"'))
    })?;
    Some(found.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=----x";

    fn part(name: &str, value: &str) -> String {
        format!("------x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    #[test]
    fn parts_become_fields_and_files_are_left_out() {
        let file = "------x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nx\r\n";
        let body = format!("{}{file}{}------x--\r\n", part("name", "Анна & К"), part("empty", ""));
        let form = as_form(body.as_bytes(), KIND, 10).expect("a form");
        let pairs: Vec<_> = url::form_urlencoded::parse(&form).into_owned().collect();
        assert_eq!(pairs, [("name".into(), "Анна & К".into()), ("empty".into(), String::new())]);
    }

    #[test]
    fn what_breaks_off_or_has_no_end_is_no_form() {
        let whole = format!("{}------x--", part("a", "b"));
        for end in 0..whole.len() - 1 {
            assert_eq!(as_form(&whole.as_bytes()[..end], KIND, 10), None, "{end}");
        }
        assert_eq!(as_form(whole.as_bytes(), "multipart/form-data", 10), None);
        assert_eq!(as_form(format!("{}{whole}", part("a", "b").repeat(10)).as_bytes(), KIND, 10), None, "too many");
    }
}
