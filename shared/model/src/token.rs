//! Tokens of tracked links: opaque to everybody, unguessable, and read without a database.
//!
//! Sixteen characters of Crockford's base32 in lower case (crockford.com/base32.html): legal in every messenger's deep
//! link (Telegram Bot API, "Deep Linking": 1–64 of `A-Za-z0-9_-`), and they survive a person who types them again.
//! Twenty bits say campaign, purpose and the week of expiry; 48 bits are drawn by HMAC from the key and whose link it
//! is, so the same decision makes the same token; 12 bits let a receiving function put most made-up tokens aside without
//! asking anybody. Whether a token was ever issued, and to whom, only the store knows.

use std::{fmt, sync::LazyLock};

use data_encoding::{Encoding, Specification};
use hmac::{Hmac, KeyInit, Mac};
#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Timestamp;

static CROCKFORD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    spec.translate.from.push_str("ABCDEFGHJKMNPQRSTVWXYZoOiIlL");
    spec.translate.to.push_str("abcdefghjkmnpqrstvwxyz001111");
    // The symbols are 32 different ones, so this cannot fail.
    spec.encoding().unwrap_or(data_encoding::BASE32_NOPAD)
});

const LENGTH: usize = 16;
const TAG: usize = 4;
const WEEK: i64 = 7 * 86_400;
/// 2026-01-05, a Monday.
const EPOCH: i64 = 1_767_571_200;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// From somebody's own letter or SMS to the page of messengers: the only one that joins a chat to a person.
    Chat,
    /// From a chat or a letter to the ticket shop.
    Shop,
    /// Printed on a poster: everybody's, so nobody's.
    Public,
    /// In somebody's own letter: the page where they withdraw or confirm their consent.
    Consent,
}

impl Purpose {
    /// Stands in a token of consent in the place of the campaign: one that confirms an address. One that withdraws has 0 there, and
    /// each opens its own page only.
    pub const CONFIRMS: u16 = 1;
    const ALL: [Self; 4] = [Self::Chat, Self::Shop, Self::Public, Self::Consent];
}

/// The token of a tracked link as text, without the browser's tag.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token {
    text: String,
    tag: Option<TokenTag>,
}

/// Which browser a chat was begun in: four characters behind the token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenTag(String);

impl TokenTag {
    /// From the random value that the page's cookie holds.
    pub fn of_browser(cookie: &str) -> Self {
        let digest = Sha256::digest(cookie.as_bytes());
        let text = CROCKFORD.encode(digest.get(..5).unwrap_or_default());
        Self(text.get(..TAG).unwrap_or("0000").to_owned())
    }
}

impl Token {
    /// What a messenger brought back: one of ours in any case, or any other text of a deep link's alphabet.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits =
            (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !fits {
            return None;
        }
        let (head, tail) = text.split_at_checked(LENGTH).unwrap_or((text, ""));
        match (canonical(head), tail.len()) {
            (Some(text), 0) => Some(Self { text, tag: None }),
            (Some(own), TAG) => Some(Self { text: own, tag: canonical(tail).map(TokenTag) }),
            _ => Some(Self { text: text.to_owned(), tag: None }),
        }
    }

    /// Without the tag.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The tag behind the token, if it has one.
    pub fn tag(&self) -> Option<&TokenTag> {
        self.tag.as_ref()
    }

    /// The same token with a tag.
    #[must_use]
    pub fn tagged(&self, tag: TokenTag) -> Self {
        Self { text: self.text.clone(), tag: Some(tag) }
    }

    /// What its first characters say; `None` for one that is not of our form.
    pub fn header(&self) -> Option<Header> {
        let bytes = CROCKFORD.decode(self.text.as_bytes()).ok()?;
        let head = u32::from(*bytes.first()?) << 12 | u32::from(*bytes.get(1)?) << 4 | u32::from(*bytes.get(2)?) >> 4;
        let purpose = *Purpose::ALL.get(((head >> 8) & 3) as usize)?;
        let expires_at = Timestamp::from_second(EPOCH + i64::from(head & 0xff) * WEEK).ok()?;
        Some(Header { campaign: (head >> 10) as u16, purpose, expires_at })
    }
}

/// The words that a link to WhatsApp fills in before its token: nobody said them.
pub const FILLED_IN_RUSSIAN: &str = "Хочу промокод. Код моей ссылки:";
/// The words of an English link, before the token.
pub const FILLED_IN_ENGLISH: &str = "I would like the promo code. My link:";

/// What a token says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The campaign's number in the config.
    pub campaign: u16,
    pub purpose: Purpose,
    /// No longer valid from here on: the Monday after the campaign's own end.
    pub expires_at: Timestamp,
}

fn canonical(text: &str) -> Option<String> {
    // Groups of eight characters are whole bytes; four are twenty bits, which have no whole bytes of their own.
    let padded = format!("{text}{}", "0".repeat((8 - text.len() % 8) % 8));
    let bytes = CROCKFORD.decode(padded.as_bytes()).ok()?;
    CROCKFORD.encode(&bytes).get(..text.len()).map(str::to_owned)
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.tag.iter().try_for_each(|tag| f.write_str(&tag.0))
    }
}

/// A token opens a chat on somebody's behalf: it is not for logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.text.get(..4).unwrap_or(""))
    }
}

impl TryFrom<String> for Token {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a token has 1 to 64 letters, digits, dashes and underscores")
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.to_string()
    }
}

#[cfg(feature = "schemas")]
impl JsonSchema for Token {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Token".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" })
    }
}

/// The secret that tokens are drawn with.
#[derive(Clone)]
pub struct LinkKey(Vec<u8>);

impl LinkKey {
    /// A key from its secret.
    pub fn new(secret: &str) -> Self {
        Self(secret.as_bytes().to_vec())
    }

    /// The one token of this campaign, purpose and addressee. `campaign` is below 1024.
    pub fn mint(&self, campaign: u16, purpose: Purpose, whose: &str, expires_at: Timestamp) -> Token {
        let weeks = (expires_at.as_second() - EPOCH).div_euclid(WEEK) + 1;
        let weeks = u32::try_from(weeks.clamp(0, 255)).unwrap_or(255);
        let purpose = Purpose::ALL.iter().position(|one| *one == purpose).unwrap_or(0) as u32;
        let head = (u32::from(campaign) & 0x3ff) << 10 | purpose << 8 | weeks;
        let drawn = self.mac(&[b"draw", &head.to_be_bytes(), whose.as_bytes()]);
        let mut body = u128::from(head) << 48;
        body |= u128::from_be_bytes(drawn) >> 80;
        let check = self.check(body);
        let bytes = (body << 12 | u128::from(check)).to_be_bytes();
        Token { text: CROCKFORD.encode(bytes.get(6..).unwrap_or_default()), tag: None }
    }

    /// Whether the token may be one of ours. One in four thousand made-up ones passes, and names nobody.
    pub fn fits(&self, token: &Token) -> bool {
        let Ok(bytes) = CROCKFORD.decode(token.text.as_bytes()) else { return false };
        if bytes.len() != 10 {
            return false;
        }
        let whole = bytes.iter().fold(0_u128, |whole, byte| whole << 8 | u128::from(*byte));
        self.check(whole >> 12) == (whole & 0xfff) as u16
    }

    fn check(&self, body: u128) -> u16 {
        let [a, b, ..] = self.mac(&[b"check", &body.to_be_bytes()]);
        u16::from_be_bytes([a, b]) >> 4
    }

    /// `bytes` of a keyed hash, for other things that are drawn once for somebody.
    pub fn draw(&self, parts: &[&[u8]]) -> [u8; 16] {
        self.mac(parts)
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 16] {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; 16] };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let digest = mac.finalize().into_bytes();
        let mut first = [0; 16];
        first.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        first
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end() -> Timestamp {
        "2027-03-10T00:00:00Z".parse().expect("a time")
    }

    #[test]
    fn a_token_says_its_campaign_purpose_and_end_and_whose_it_is_to_nobody() {
        let key = LinkKey::new("key");
        let token = key.mint(1023, Purpose::Shop, "phone:+79161234567", end());
        assert_eq!(token.to_string().len(), 16);
        let header = token.header().expect("of our form");
        assert_eq!((header.campaign, header.purpose), (1023, Purpose::Shop));
        assert!(header.expires_at >= end() && header.expires_at.as_second() - end().as_second() <= WEEK);
        assert!(key.fits(&token) && !LinkKey::new("other").fits(&token));
        assert_eq!(
            token,
            key.mint(1023, Purpose::Shop, "phone:+79161234567", end()),
            "the same decision, the same token"
        );
        assert_ne!(token, key.mint(1023, Purpose::Shop, "phone:+79161234568", end()));
    }

    #[test]
    fn a_token_survives_capitals_look_alikes_and_the_tag_of_a_browser() {
        let token = LinkKey::new("key").mint(1, Purpose::Chat, "somebody", end());
        let typed = token.to_string().to_uppercase().replace('0', "O").replace('1', "L");
        assert_eq!(Token::parse(&typed), Some(token.clone()));
        let tagged = token.tagged(TokenTag::of_browser("a cookie"));
        assert_eq!(tagged.to_string().len(), 20);
        let back = Token::parse(&tagged.to_string()).expect("ours");
        assert_eq!((back.as_str(), back.tag()), (token.as_str(), tagged.tag()));
    }

    #[test]
    fn a_foreign_token_stays_as_it_is_and_garbage_is_none() {
        assert_eq!(Token::parse("k7Qw_9Zt-Lm2Xa").map(|t| t.to_string()).as_deref(), Some("k7Qw_9Zt-Lm2Xa"));
        assert!(!LinkKey::new("key").fits(&Token::parse("k7Qw_9Zt-Lm2Xa").expect("text")));
        for bad in ["", "context info", "ж", &"a".repeat(65)] {
            assert_eq!(Token::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_in_four_thousand_made_up_tokens_passes_the_door() {
        let (key, mine) = (LinkKey::new("key"), LinkKey::new("made up"));
        let passed = (0..20_000).filter(|n| key.fits(&mine.mint(1, Purpose::Chat, &n.to_string(), end()))).count();
        assert!(passed < 20, "{passed}");
    }
}
