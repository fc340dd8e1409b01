use serde_json::Value;

pub(crate) type Answer = Result<Value, Wrong>;

#[derive(Debug)]
pub(crate) enum Wrong {
    Error {
        code: Value,
        message: String,
    },
    /// 500 and an empty body.
    Uncaught,
    /// 200 and a sentence in text/html.
    Sentence(&'static str),
}

pub(crate) fn wrong(code: &str, message: impl Into<String>) -> Wrong {
    Wrong::Error { code: code.into(), message: message.into() }
}

pub(crate) fn denied(message: &str) -> Wrong {
    wrong("ACCESS_DENIED", message)
}

pub(crate) const FORBIDDEN: &str = "Permission to perform the operation is denied";
