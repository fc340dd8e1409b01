//! Deep links of the messengers, with the token in them.

use stagedoor_engine::Campaign;
use stagedoor_model::Token;
use stagedoor_webhook::Source;
use url::Url;

use crate::page::Language;

/// One messenger on the page.
pub struct Button {
    /// Name of the messenger, also used as a style class.
    pub messenger: &'static str,
    pub title: &'static str,
    pub href: String,
}

/// A text in the source's options.
fn option<'s>(source: &'s Source, name: &str) -> Option<&'s str> {
    source.options.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// The button of a source. `None` if the source lacks an option that the link needs.
pub fn of(source: &Source, campaign: &Campaign, token: &Token, language: Language) -> Option<Button> {
    let token = token.to_string();
    let (messenger, title, href) = match source.provider.as_str() {
        // core.telegram.org/bots/features#deep-linking
        "telegram" => ("telegram", "Telegram", link("https://t.me/", option(source, "bot")?, &[("start", &token)])?),
        // developers.viber.com, "Deep links": viber://pa?chatURI=…&context=…
        "viber" => {
            let mut url: Url = "viber://pa".parse().ok()?;
            url.query_pairs_mut().append_pair("chatURI", option(source, "uri")?).append_pair("context", &token);
            ("viber", "Viber", url.into())
        }
        // dev.vk.com: ref and ref_source come back in message_new.
        "vk" => {
            let pairs = [("ref", token.as_str()), ("ref_source", campaign.name.as_str())];
            ("vk", "VK", link("https://vk.me/", option(source, "name")?, &pairs)?)
        }
        // developers.facebook.com/docs/messenger-platform/discovery/m-me-links
        "messenger" => ("messenger", "Messenger", link("https://m.me/", option(source, "name")?, &[("ref", &token)])?),
        // developers.facebook.com/docs/messenger-platform/instagram/features/ig-me-links
        "instagram" => {
            ("instagram", "Instagram", link("https://ig.me/m/", option(source, "name")?, &[("ref", &token)])?)
        }
        // faq.whatsapp.com, "click to chat": people see the text, so it says what it is for.
        "whatsapp" => {
            let text = format!("{} [{token}]", language.whatsapp());
            ("whatsapp", "WhatsApp", link("https://wa.me/", option(source, "number")?, &[("text", &text)])?)
        }
        _ => return None,
    };
    Some(Button { messenger, title, href })
}

fn link(base: &str, name: &str, pairs: &[(&str, &str)]) -> Option<String> {
    let mut url: Url = base.parse().ok()?;
    url.path_segments_mut().ok()?.pop_if_empty().push(name);
    url.query_pairs_mut().extend_pairs(pairs);
    Some(url.into())
}
