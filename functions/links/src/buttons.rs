//! Deep links of the messengers, with the token in them. The table of messengers says how each is made.

use stagedoor_engine::Campaign;
use stagedoor_model::{LinkPart, Messenger, Token};
use stagedoor_texts::Language;
use stagedoor_webhook::Source;
use url::Url;

use crate::language;

/// One messenger on the page.
pub struct Button {
    pub messenger: Messenger,
    pub href: String,
}

/// A text in the source's options.
fn option<'s>(source: &'s Source, name: &str) -> Option<&'s str> {
    source.options.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// The button of a source. `None` if the source is no messenger, or lacks an option that the link needs.
pub fn of(source: &Source, campaign: &Campaign, token: &Token, language: Language) -> Option<Button> {
    let messenger = Messenger::named(&source.provider)?;
    let link = &messenger.info().deep_link;
    let mut url: Url = link.base.parse().ok()?;
    if let Some(name) = link.bot {
        url.path_segments_mut().ok()?.pop_if_empty().push(option(source, name)?);
    }
    for (name, part) in link.parameters {
        let value = match part {
            LinkPart::Token => token.to_string(),
            LinkPart::Campaign => campaign.name.to_string(),
            // People see this text, so it says what it is for.
            LinkPart::Words => format!("{} [{token}]", language::filled_in(language)),
            LinkPart::Option(name) => option(source, name)?.to_owned(),
        };
        url.query_pairs_mut().append_pair(name, &value);
    }
    Some(Button { messenger, href: url.into() })
}
