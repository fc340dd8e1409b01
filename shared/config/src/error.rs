use std::{fmt, ops::Range};

/// One error in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Line number, from 1.
    pub line: usize,
    /// Key with its section, such as `source.tilda.region`.
    pub place: String,
    /// What is wrong and what would be right.
    pub what: String,
}

/// All errors of a file, in the order of their lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    pub file: String,
    pub all: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ConfigError { line, place, what } in &self.all {
            writeln!(f, "{}:{line}: {place}: {what}", self.file)?;
        }
        let count = self.all.len();
        write!(f, "{count} mistake{} in the configuration", if count == 1 { "" } else { "s" })
    }
}

/// Collects errors while a file is read.
pub(crate) struct ErrorList<'t> {
    text: &'t str,
    all: Vec<ConfigError>,
}

impl<'t> ErrorList<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text, all: Vec::new() }
    }

    pub fn note(&mut self, span: Range<usize>, place: impl Into<String>, what: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        self.all.push(ConfigError { line, place: place.into(), what: what.into() });
    }

    pub fn finish(mut self, file: &str) -> Option<ConfigErrors> {
        self.all.sort_by(|a, b| (a.line, &a.place).cmp(&(b.line, &b.place)));
        (!self.all.is_empty()).then(|| ConfigErrors { file: file.to_owned(), all: self.all })
    }
}
