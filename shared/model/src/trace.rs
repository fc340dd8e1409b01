use std::fmt;

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Which delivery something comes from: `traceparent` of W3C Trace Context (w3.org/TR/trace-context, version 00), carried by
/// events as CloudEvents' distributed tracing extension has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceParent(String);

#[cfg(feature = "schemas")]
impl JsonSchema for TraceParent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TraceParent".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$" })
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl TraceParent {
    /// The header as a caller sent it; one that is not of the form, or all zeros, is as good as none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let whole =
            version == "00" && parts.next().is_none() && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
        let zeros = |text: &str| text.bytes().all(|b| b == b'0');
        (whole && !zeros(trace) && !zeros(span)).then(|| Self(text.trim().to_owned()))
    }

    /// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`, the header that AWS adds
    /// (docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html, "Tracing header").
    pub fn of_xray(text: &str) -> Option<Self> {
        let part = |name: &str| text.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let root = part("Root")?.strip_prefix("1-")?.replacen('-', "", 1);
        let span = part("Parent").or_else(|| root.get(16..)).map(str::to_owned)?;
        let sampled = if part("Sampled") == Some("1") { "01" } else { "00" };
        Self::parse(&format!("00-{root}-{span}-{sampled}"))
    }

    /// For a delivery that brought none.
    pub fn derived(from: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        from.iter().for_each(|part| hash.update(part));
        let digest = hex::encode(hash.finalize());
        let (trace, rest) = digest.split_at(32);
        // Not all zeros in any world that we shall see.
        Self(format!("00-{trace}-{}-01", rest.get(..16).unwrap_or(rest)))
    }

    /// The text of the header.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trace alone: what log lines bear.
    pub fn trace_id(&self) -> &str {
        self.0.get(3..35).unwrap_or("")
    }
}

impl TryFrom<String> for TraceParent {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a traceparent")
    }
}

impl From<TraceParent> for String {
    fn from(trace: TraceParent) -> Self {
        trace.0
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::TraceParent;

    #[test]
    fn the_example_of_the_recommendation_is_read_and_a_broken_one_is_not() {
        let example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(
            TraceParent::parse(example).as_ref().map(TraceParent::trace_id),
            Some("4bf92f3577b34da6a3ce929d0e0e4736")
        );
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for broken in [zeros, "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "", "00-1-2-3", "01-4bf9"] {
            assert_eq!(TraceParent::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_header_of_aws_becomes_the_same_trace() {
        let trace = TraceParent::of_xray("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1");
        assert_eq!(
            trace.as_ref().map(TraceParent::as_str),
            Some("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01")
        );
        let rootless = TraceParent::of_xray("Root=1-5759e988-bd862e3fe1be46a994272793");
        assert_eq!(rootless.as_ref().map(TraceParent::trace_id), Some("5759e988bd862e3fe1be46a994272793"));
    }
}
