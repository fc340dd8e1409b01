use std::collections::BTreeMap;

use stagedoor_model::breakage;

/// The largest depth of brackets. A deeper key keeps the rest as one name.
const MAX_DEPTH: usize = 8;

/// The average number of tree nodes allowed for each pair.
const NODES_A_PAIR: usize = 5;

/// True if the tree of this body has at most `pairs` fields, and five nodes for each. The function counts in the bytes
/// before anything is built, because sixteen bytes of brackets make seven nodes.
pub(crate) fn is_within(body: &[u8], pairs: usize) -> bool {
    let (mut seen, mut nodes) = (0_usize, 0_usize);
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let key = pair.split(|byte| *byte == b'=').next().unwrap_or(pair);
        let plain = key.iter().filter(|byte| **byte == b'[').count();
        let encoded = key.windows(3).filter(|part| part.eq_ignore_ascii_case(b"%5b")).count();
        seen += 1;
        nodes += 1 + (plain + encoded).min(MAX_DEPTH - 1);
        if seen > pairs || nodes > pairs.saturating_mul(NODES_A_PAIR) {
            return false;
        }
    }
    true
}

/// A form-encoded body with PHP's brackets (`leads[status][0][id]=7`) as a tree. Values are strings, keys are unique.
/// Of equal keys the last one that is not empty wins. A key that is both a value and a parent keeps both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    root: FormValue,
}

/// A node of the tree: its own value, and the fields in brackets below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormValue {
    pub text: Option<String>,
    pub children: BTreeMap<String, FormValue>,
}

impl Form {
    /// Parses a body. It never fails: bytes that are not UTF-8 become replacement characters.
    pub fn parse(body: &[u8]) -> Self {
        let mut root = FormValue::default();
        for (key, value) in url::form_urlencoded::parse(body) {
            let mut place = &mut root;
            for part in path(&key) {
                let part = if part.is_empty() { place.children.len().to_string() } else { part.to_owned() };
                place = place.children.entry(part).or_default();
            }
            // An empty second field of the same name does not remove the first one.
            if !value.is_empty() || place.text.is_none() || breakage::is_on("empty-duplicate-counts") {
                place.text = Some(value.into_owned());
            }
        }
        Self { root }
    }

    /// The field with this name.
    pub fn get(&self, key: &str) -> Option<&FormValue> {
        self.root.children.get(key)
    }

    /// The value of the field with this name.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.text.as_deref()
    }

    /// All fields of the first level, in order of their names.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &FormValue)> {
        self.root.children.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl FormValue {
    /// The field with this name in brackets.
    pub fn child(&self, key: &str) -> Option<&FormValue> {
        self.children.get(key)
    }

    /// The value of the field with this name in brackets.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.child(key)?.text.as_deref()
    }
}

fn path(key: &str) -> Vec<&str> {
    let (head, mut rest) = match key.find('[') {
        Some(at) if at > 0 => key.split_at(at),
        _ => (key, ""),
    };
    let mut parts = vec![head];
    while parts.len() < MAX_DEPTH
        && let Some(inner) = rest.strip_prefix('[')
        && let Some((part, after)) = inner.split_once(']')
    {
        parts.push(part);
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_field_that_was_left_empty_takes_nothing_away() {
        let form = Form::parse(b"Phone=8916&Phone=&Email=&Email=&Name=A&Name=B");
        assert_eq!(form.text("Phone"), Some("8916"));
        assert_eq!((form.text("Email"), form.text("Name")), (Some(""), Some("B")));
    }

    #[test]
    fn brackets_become_a_tree() {
        let form = Form::parse(b"leads%5Bstatus%5D%5B0%5D%5Bid%5D=7&leads[status][0][name]=A+b&account[id]=5");
        let lead = form.get("leads").and_then(|v| v.child("status")).and_then(|v| v.child("0")).expect("a lead");
        assert_eq!((lead.text_of("id"), lead.text_of("name")), (Some("7"), Some("A b")));
    }

    #[test]
    fn a_key_that_is_both_a_value_and_a_parent_keeps_both() {
        let form = Form::parse(b"note[type]=3&note[type][uuid]=x");
        let kind = form.get("note").and_then(|v| v.child("type")).expect("a type");
        assert_eq!((kind.text.as_deref(), kind.text_of("uuid")), (Some("3"), Some("x")));
    }

    #[test]
    fn a_tree_is_counted_before_it_is_made() {
        assert!(is_within(b"a[b][c]=1&d=2", 2) && is_within(b"", 0) && is_within(&b"a=1&".repeat(1000), 1000));
        assert!(!is_within(&b"a=1&".repeat(1001), 1000));
        assert!(
            !is_within(&b"a[][][][][][][]&".repeat(700), 1000)
                && !is_within(&b"a%5B]%5b][][][][][]&".repeat(700), 1000)
        );
        assert!(
            is_within(&[b"a=".to_vec(), b"[".repeat(100_000)].concat(), 10),
            "brackets of a value are none of a key"
        );
    }

    #[test]
    fn hostile_keys_do_no_harm() {
        let deep = format!("a{}=1", "[b]".repeat(10_000));
        assert!(Form::parse(deep.as_bytes()).get("a").is_some());
        for body in [&b"[[[=1"[..], b"a]=1", b"a[=1", b"=&&&", b"%ff%fe=%80", b"a[]=1&a[]=2"] {
            _ = Form::parse(body);
        }
        assert_eq!(Form::parse(b"a[]=1&a[]=2").get("a").map(|v| v.children.len()), Some(2));
    }
}
