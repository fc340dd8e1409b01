use super::Rule;

/// A named rule of the config.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub name: String,
    pub title: String,
    /// The text of the rule in the config.
    pub text: String,
    pub rule: Rule,
}
