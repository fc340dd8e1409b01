use stagedoor_webhook::Source;

/// A source and the function that receives it.
#[derive(Debug, Clone)]
pub struct Configured {
    pub function: String,
    pub source: Source,
}
