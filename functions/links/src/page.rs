//! The page of messenger buttons. It works on any phone, without a script, in Russian or English.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use stagedoor_engine::Campaign;
use stagedoor_model::{Messenger, breakage};
use stagedoor_texts::{Language, Text, pages};

use crate::{buttons::Button, consent_action::ConsentAction};

/// The page of messenger buttons of a campaign.
pub struct Page<'p> {
    pub campaign: &'p Campaign,
    pub buttons: Vec<Button>,
    pub language: Language,
    /// True for a personal link, false for a public one.
    pub is_personal: bool,
}

const STYLE: &str = "
:root{color-scheme:light dark}
*{box-sizing:border-box}
body{margin:0;font:18px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;background:#f4f2ee;color:#1d1b18}
main{max-width:26rem;margin:0 auto;padding:2rem 1.25rem 3rem}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .75rem}
p{margin:0 0 1.25rem}
ul{list-style:none;margin:0;padding:0;display:grid;gap:.75rem}
a.go,button.go{display:block;width:100%;border:0;font:inherit;cursor:pointer;padding:1rem 1.25rem;border-radius:.9rem;color:#fff;font-weight:600;text-decoration:none;text-align:center;min-height:3.5rem}
a.go:focus-visible,button.go:focus-visible{outline:3px solid #1d1b18;outline-offset:2px}
footer{margin-top:2rem;font-size:.85rem;color:#5d574d}
footer a{color:inherit}
@media(prefers-color-scheme:dark){body{background:#171614;color:#f1eee8}footer{color:#b0a99c}a.go:focus-visible{outline-color:#fff}}
";

/// One style for each messenger, with its colour.
fn colours() -> String {
    let style = |one: &Messenger| format!(".{}{{background:{}}}", one.name(), one.info().colour);
    Messenger::ALL.iter().map(style).collect()
}

fn document(language: Language, title: &str, inner: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex, nofollow";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(colours())) }
            }
            body { main { (inner) } }
        }
    }
}

impl Page<'_> {
    pub fn render(&self) -> Markup {
        let (language, campaign) = (self.language, self.campaign);
        let title = campaign.title.pick(Some(language.tag()));
        let words = campaign.words.pick(Some(language.tag()));
        let other = match language {
            Language::Russian => Language::English,
            Language::English => Language::Russian,
        };
        let inner = html! {
            h1 { (title) }
            @if !words.is_empty() { p { (words) } }
            p { (pages::choose().to(language)) }
            ul {
                @for button in &self.buttons {
                    li { a class={ "go " (button.messenger.name()) } href=(button.href) rel="noopener noreferrer" { (button.messenger.title()) } }
                }
            }
            footer {
                @if self.is_personal { p { (pages::personal().to(language)) } }
                a href={ "?lang=" (other.tag()) } hreflang=(other.tag()) lang=(other.tag()) { (pages::this_language().to(other)) }
            }
        };
        document(language, title, inner)
    }
}

/// The page that asks for a press of the button. A program that follows links presses no button.
pub fn asked(language: Language, wish: ConsentAction) -> Markup {
    let (title, words, label) = match wish {
        ConsentAction::Unsubscribe => (pages::unsubscribe_title(), pages::unsubscribe(), pages::unsubscribe_button()),
        ConsentAction::Confirm => (pages::confirm_title(), pages::confirm(), pages::confirm_button()),
    };
    let [title, words, label] = [title, words, label].map(|text| text.to(language));
    let inner = html! {
        h1 { (title) }
        p { (words) }
        form method="post" { button.go.telegram type="submit" { (label) } }
    };
    document(language, &title, inner)
}

/// The page after an action was carried out.
pub fn done(language: Language, wish: ConsentAction) -> Markup {
    match wish {
        ConsentAction::Unsubscribe => message(language, &pages::unsubscribed_title(), &pages::unsubscribed()),
        // This function reads no store, so it cannot know whether the answer still counts.
        ConsentAction::Confirm => match breakage::is_on("dead-link-says-confirmed") {
            true => message(language, &pages::thanks(), &pages::confirmed()),
            false => message(language, &pages::thanks(), &pages::answered()),
        },
    }
}

fn message(language: Language, title: &Text, words: &Text) -> Markup {
    let (title, words) = (title.to(language), words.to(language));
    document(language, &title, html! { h1 { (title) } p { (words) } })
}

/// The page for a link of ours that has expired.
pub fn expired(language: Language) -> Markup {
    message(language, &pages::expired_title(), &pages::expired())
}

/// The page for a link that is not ours.
pub fn unknown(language: Language) -> Markup {
    message(language, &pages::unknown_title(), &pages::unknown())
}

/// The page for a client with too many requests.
pub fn sorry(language: Language) -> Markup {
    message(language, &pages::too_many_title(), &pages::too_many())
}
