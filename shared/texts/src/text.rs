/// A text of the catalogues with its arguments. It has no language yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub(crate) key: &'static str,
    pub(crate) args: Vec<(&'static str, Arg)>,
}

/// An argument of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// A name or a word. It appears as it is.
    Word(String),
    /// A number. It chooses the plural form.
    Number(i64),
    /// Another text. It appears in the same language.
    Text(Text),
    /// Other texts, separated by commas.
    List(Vec<Text>),
    /// An English reason. It appears in the language of the text, if the catalogue knows it.
    Reason(String),
}

/// Stands for an argument whose place in a text is asked for with [`Text::around`].
pub const MARK: &str = "\u{1}";

impl Text {
    /// Makes a text. Only the functions of the subjects call this, so that keys and arguments exist.
    pub(crate) fn new(key: &'static str, args: Vec<(&'static str, Arg)>) -> Self {
        Self { key, args }
    }
}

impl From<&str> for Arg {
    fn from(word: &str) -> Self {
        Self::Word(word.to_owned())
    }
}

impl From<&String> for Arg {
    fn from(word: &String) -> Self {
        Self::Word(word.clone())
    }
}

impl From<String> for Arg {
    fn from(word: String) -> Self {
        Self::Word(word)
    }
}

impl From<Text> for Arg {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<Text>> for Arg {
    fn from(list: Vec<Text>) -> Self {
        Self::List(list)
    }
}

impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Arg {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Arg {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Arg {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
