//! Splits a message that is longer than its channel takes into parts. Each part has a name of its own.

use std::collections::BTreeSet;

use stagedoor_model::{
    Body, Event, EventId, Identifier, Kind, LinkIssued, MessageDecided, Purpose, Timestamp, Token, breakage,
};
use stagedoor_ports::Channel;

/// The parts of a message in their order. Buttons, choices and questions belong to the last part.
pub fn parts(channel: &dyn Channel, message: &MessageDecided) -> Vec<MessageDecided> {
    let whole = || vec![message.clone()];
    let Some(limit) = channel.limit().filter(|limit| limit.length(&message.text) > limit.most) else {
        return with_room(channel, message).unwrap_or_else(whole);
    };
    let reserved = message.button.as_ref().map_or(0, |button| limit.length(&button.url) + 1);
    split(message, limit.split(&message.text, reserved))
}

/// Splits a message if the text with the button's address is too long. Some channels write the address after the
/// text.
fn with_room(channel: &dyn Channel, message: &MessageDecided) -> Option<Vec<MessageDecided>> {
    let (limit, button) = (channel.limit()?, message.button.as_ref()?);
    let reserved = limit.length(&button.url) + 1;
    let is_full = limit.length(&message.text) + reserved > limit.most;
    is_full.then(|| split(message, limit.split(&message.text, reserved)))
}

fn split(message: &MessageDecided, texts: Vec<String>) -> Vec<MessageDecided> {
    let last = texts.len().saturating_sub(1);
    let part = |(n, text): (usize, String)| match n == last {
        true => MessageDecided { text, ..message.clone() },
        false => MessageDecided { text, button: None, choices: vec![], ask_phone: false, ..message.clone() },
    };
    texts.into_iter().enumerate().map(part).collect()
}

/// The name of a part. The first part has the decision's own name, which earlier builds gave to the whole message.
pub fn name(decision: &str, n: usize) -> String {
    if n == 0 { decision.to_owned() } else { format!("{decision}/{}", n + 1) }
}

/// Events about the shop links in a letter that has gone out. A visit within seconds after that is a scanner's.
pub fn links(event: &Event, message: &MessageDecided, at: Timestamp) -> Vec<Event> {
    if message.to.kind() != Kind::Email || breakage::is_on("scanned-link-counts") {
        return vec![];
    }
    let texts = [Some(message.text.as_str()), message.button.as_ref().map(|button| button.url.as_str())];
    let found = texts.into_iter().flatten().flat_map(|text| text.split("/l/").skip(1)).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        Token::parse(rest.get(..end)?)
    });
    let tokens: BTreeSet<String> = found.map(|token| token.as_str().to_owned()).collect();
    let told = |text: String| {
        let token = Token::parse(&text)?;
        let header = token.header().filter(|header| header.purpose == Purpose::Shop)?;
        let mut identifiers = BTreeSet::from([message.to.clone()]);
        identifiers.extend(Identifier::opaque(Kind::Link, "", &text));
        let body = LinkIssued {
            identifiers,
            token,
            campaign: message.campaign.clone()?,
            purpose: header.purpose,
            expires_at: header.expires_at,
            is_sent: true,
        };
        let id = EventId::derive(&message.through, &["link-sent", event.id.as_str(), &text]);
        Some(Event::new(&message.through, id, at, Body::LinkIssued(body)))
    };
    tokens.into_iter().filter_map(told).collect()
}
