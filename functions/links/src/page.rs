//! The page of messenger buttons. It works on any phone, without a script, in Russian or English.

use http::{HeaderMap, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use stagedoor_engine::Campaign;
use stagedoor_model::{
    Messenger, breakage,
    token::{FILLED_IN_ENGLISH, FILLED_IN_RUSSIAN},
};

use crate::{buttons::Button, consent::ConsentAction};

/// The languages of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Russian,
    English,
}

impl Language {
    /// The language that the page's own parameter asks for, or else the browser's preferred one.
    pub fn of(asked: Option<&str>, headers: &HeaderMap) -> Self {
        let known = |tag: &str| match tag {
            "ru" => Some(Self::Russian),
            "en" => Some(Self::English),
            _ => None,
        };
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let preferred = accept_language::intersection(accepted, &["ru", "en"]);
        let base = || accepted.split(',').find_map(|tag| known(tag.trim().get(..2)?));
        asked
            .and_then(known)
            .or_else(|| preferred.iter().find_map(|tag| known(tag)))
            .or_else(base)
            .unwrap_or(Self::Russian)
    }

    fn tag(self) -> &'static str {
        match self {
            Self::Russian => "ru",
            Self::English => "en",
        }
    }

    fn say(self, russian: &'static str, english: &'static str) -> &'static str {
        match self {
            Self::Russian => russian,
            Self::English => english,
        }
    }

    /// The words that a link fills in as the person's first message.
    pub fn filled_in(self) -> &'static str {
        self.say(FILLED_IN_RUSSIAN, FILLED_IN_ENGLISH)
    }
}

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
            p { (language.say("Выберите мессенджер, и бот пришлёт ваш промокод:", "Choose a messenger, and the bot will send your promo code:")) }
            ul {
                @for button in &self.buttons {
                    li { a class={ "go " (button.messenger.name()) } href=(button.href) rel="noopener noreferrer" { (button.messenger.title()) } }
                }
            }
            footer {
                @if self.is_personal { p { (language.say("Ссылка личная: не пересылайте её, у каждого своя.", "This link is yours alone: please do not forward it.")) } }
                a href={ "?lang=" (other.tag()) } hreflang=(other.tag()) lang=(other.tag()) { (other.say("По-русски", "In English")) }
            }
        };
        document(language, title, inner)
    }
}

/// The page that asks for a press of the button. A program that follows links presses no button.
pub fn asked(language: Language, wish: ConsentAction) -> Markup {
    let (title, words, label) = match wish {
        ConsentAction::Unsubscribe => (
            language.say("Отписаться от писем?", "Unsubscribe from letters?"),
            language.say(
                "Мы перестанем присылать новости и предложения. Письма о ваших билетах будут приходить.",
                "We shall send no more news and offers. Letters about your tickets will still come.",
            ),
            language.say("Отписаться", "Unsubscribe"),
        ),
        ConsentAction::Confirm => (
            language.say("Подтвердите адрес", "Confirm your address"),
            language.say(
                "Нажмите кнопку, и мы будем присылать новости на этот адрес.",
                "Press the button, and we shall send our news to this address.",
            ),
            language.say("Подтвердить", "Confirm"),
        ),
    };
    let inner = html! {
        h1 { (title) }
        p { (words) }
        form method="post" { button.go.telegram type="submit" { (label) } }
    };
    document(language, title, inner)
}

/// The page after an action was carried out.
pub fn done(language: Language, wish: ConsentAction) -> Markup {
    match wish {
        ConsentAction::Unsubscribe => message(
            language,
            language.say("Вы отписаны", "You are unsubscribed"),
            language.say("Новостей и предложений больше не будет.", "No more news and offers will come."),
        ),
        ConsentAction::Confirm => message(
            language,
            language.say("Спасибо!", "Thank you!"),
            // This function reads no store, so it cannot know whether the answer still counts.
            match breakage::is_on("dead-link-says-confirmed") {
                true => language.say("Адрес подтверждён.", "Your address is confirmed."),
                false => language.say(
                    "Мы получили ваш ответ. Он действует, если после нашего письма вы не отписались.",
                    "We have your answer. It counts unless you unsubscribed after our letter.",
                ),
            },
        ),
    }
}

fn message(language: Language, title: &str, words: &str) -> Markup {
    document(language, title, html! { h1 { (title) } p { (words) } })
}

/// The page for a link of ours that has expired.
pub fn expired(language: Language) -> Markup {
    message(
        language,
        language.say("Ссылка больше не действует", "This link has expired"),
        language.say(
            "Её срок вышел. Напишите нам, и мы пришлём новую.",
            "Its time is over. Write to us, and we will send a new one.",
        ),
    )
}

/// The page for a link that is not ours.
pub fn unknown(language: Language) -> Markup {
    message(
        language,
        language.say("Такой ссылки нет", "There is no such link"),
        language.say("Проверьте, целиком ли она скопирована.", "Please check that it was copied whole."),
    )
}

/// The page for a client with too many requests.
pub fn sorry(language: Language) -> Markup {
    message(
        language,
        language.say("Слишком много запросов", "Too many requests"),
        language.say("Попробуйте через минуту.", "Please try again in a minute."),
    )
}
