//! The language of the console.

use std::{convert::Infallible, sync::Arc};

use axum::extract::FromRequestParts;
use http::{HeaderMap, request::Parts};
use stagedoor_sync::WaitingReason;
use stagedoor_texts::Language;

use crate::{alarms::Alarm, hub::Hub};

/// The language that a request is answered in: the hub's, or the one that the browser names first.
pub struct Reader(pub Language);

impl FromRequestParts<Arc<Hub>> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Infallible> {
        Ok(Self(hub.config.language.unwrap_or_else(|| of_browser(&parts.headers))))
    }
}

fn of_browser(headers: &HeaderMap) -> Language {
    let first =
        headers.get(http::header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()?.split([',', ';']).next());
    first.and_then(Language::of_tag).unwrap_or_default()
}

pub fn alarm(one: &Alarm, language: Language) -> &str {
    match language {
        Language::English => &one.text,
        Language::Russian => &one.text_ru,
    }
}

pub fn reason(one: &WaitingReason, language: Language) -> &str {
    match language {
        Language::English => &one.reason,
        Language::Russian => &one.reason_ru,
    }
}

pub fn who_acts(one: &WaitingReason, language: Language) -> &str {
    match language {
        Language::English => &one.who_acts,
        Language::Russian => &one.who_acts_ru,
    }
}
