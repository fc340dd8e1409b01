//! Number of SMS that a text costs. Gateways count segments (3GPP TS 23.038 and 23.040).

use stagedoor_engine::{Catalog, Localised, Variant};
use stagedoor_model::{Channel, breakage};

/// A text with more segments gets a notice.
const SEGMENTS: usize = 3;
/// GSM 7-bit: number of septets in one SMS, and in each segment of a longer one.
const GSM: (usize, usize) = (160, 153);
/// UCS-2: the same numbers in UTF-16 units.
const UCS2: (usize, usize) = (70, 67);
/// The basic alphabet of GSM 7-bit, except for Latin letters and digits.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";
/// The extension of the alphabet. Each character takes two septets.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// Number of segments of a text, and the first letter that limits each segment to 67 instead of 153.
fn segments(text: &str) -> (usize, Option<char>) {
    let septets = |c: char| match c {
        _ if c.is_ascii_alphanumeric() || BASIC.contains(c) => Some(1),
        _ if EXTENSION.contains(c) => Some(2),
        _ => None,
    };
    let wide = text.chars().find(|c| septets(*c).is_none());
    let width = |c: char| if wide.is_some() { c.len_utf16() } else { septets(c).unwrap_or(1) };
    let (alone, each) = if wide.is_some() { UCS2 } else { GSM };
    if text.chars().map(width).sum::<usize>() <= alone {
        return (1, wide);
    }
    // A letter is never split between two segments.
    let (mut count, mut used) = (1, 0);
    for c in text.chars() {
        used += width(c);
        if used > each {
            (count, used) = (count + 1, width(c));
        }
    }
    (count, wide)
}

/// The text without placeholders such as `{name}`, whose length depends on their values.
fn literal(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        kept.push_str(before);
        match after.split_once('}').filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')) {
            Some((_, behind)) => rest = behind,
            None => {
                kept.push('{');
                rest = after;
            }
        }
    }
    kept + rest
}

fn notice(place: &str, text: &Localised, remedy: &str) -> Option<String> {
    let counted = text.0.iter().map(|(language, text)| (segments(&literal(text)), language));
    let ((count, wide), language) = counted.max()?;
    if count <= SEGMENTS || breakage::is_on("long-sms-unsaid") {
        return None;
    }
    let why = wide.map(|c| format!(" (with {c:?} in it one holds {})", UCS2.1)).unwrap_or_default();
    Some(format!(
        "{place}: its text ({language}) is {count} SMS long{why} before names and links are filled in, and each is paid for; \
         {remedy}"
    ))
}

/// Texts that cost many SMS. Each sentence has a place and a remedy. `hears_sms` is true if the bot's replies answer
/// incoming SMS.
pub(crate) fn notices(catalog: &Catalog, hears_sms: bool) -> Vec<String> {
    let campaigns = catalog
        .campaigns
        .values()
        .filter_map(|one| notice(&format!("campaign.{}.sms", one.name), one.sms.as_ref()?, "shorten it"));
    let by_sms = catalog.mailings.iter().filter(|one| one.through.contains(&Channel::Sms));
    let variants = by_sms.flat_map(|one| one.variants.iter().map(move |variant| (one, variant)));
    let mailings = variants.filter_map(|(one, variant)| {
        let Variant { name, text, sms, .. } = variant;
        let of = if one.variants.len() > 1 { format!(" of the variant {name:?}") } else { String::new() };
        match sms.is_empty() {
            true => notice(&format!("mailing.{}.text{of}", one.name), text, "add a shorter sms = \"…\""),
            false => notice(&format!("mailing.{}.sms{of}", one.name), sms, "shorten it"),
        }
    });
    let replies = catalog.bot_script.replies.iter().enumerate().filter(|_| hears_sms).filter_map(|(index, reply)| {
        notice(&format!("reply {}", index + 1), &reply.text, "shorten it, since who writes an SMS is answered by SMS")
    });
    let codes = catalog.bot_script.codes.iter();
    let codes = codes.filter_map(|codes| notice("claims.sms", &codes.sms, "shorten it"));
    campaigns.chain(mailings).chain(replies).chain(codes).collect()
}
