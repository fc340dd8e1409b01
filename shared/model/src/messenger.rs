//! The table of messengers: all that code for any messenger asks of one. What one messenger sends and how it takes
//! messages is in its own files: `functions/messaging/src/<name>.rs` and `shared/channels/src/<name>.rs`.
//! docs/add-a-messenger.md says how to add one.

use std::{num::NonZeroU32, time::Duration};

use crate::TextLimit;

/// Makes the enum, the list of all messengers and the lookup from one table. A messenger is in all of them, or in none.
macro_rules! messengers {
    ($($(#[$doc:meta])* $messenger:ident => $row:expr;)*) => {
        /// A messenger in which people chat with a bot of the organiser.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Messenger {
            $($(#[$doc])* $messenger,)*
        }

        impl Messenger {
            /// All messengers, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$messenger,)*];

            /// The row of this messenger.
            pub const fn info(self) -> &'static MessengerInfo {
                match self {
                    $(Self::$messenger => {
                        const ROW: &MessengerInfo = &$row;
                        ROW
                    })*
                }
            }
        }
    };
}

/// What is known of a messenger.
#[derive(Debug, PartialEq, Eq)]
pub struct MessengerInfo {
    /// Stored name of its identifiers. Also the name of its provider, of the channel in segment rules, and of its
    /// button's style.
    pub name: &'static str,
    /// Name for people, the same in Russian and English.
    pub title: &'static str,
    pub ids: IdForm,
    /// Longest text of one message.
    pub text: TextLimit,
    /// Longest label of a button that opens a link, in UTF-16 units. `None`: no limit that a label could reach.
    pub label: Option<usize>,
    /// Messages a second in all.
    pub rate: NonZeroU32,
    /// Shortest time between two messages to one person.
    pub pause: Duration,
    /// How long after a person's last sign of life the hub may write to them. `None`: there is no such limit.
    pub window: Option<Duration>,
    pub contact_card: ContactCard,
    pub deep_link: DeepLink,
    /// Where a manager finds a person. `None`: the messenger has no such address.
    pub profile: Option<ProfileLink>,
    /// Colour of the button on the page of messengers. White text on it has a contrast of at least 4.5 (WCAG 2.2).
    pub colour: &'static str,
}

/// How a messenger names people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdForm {
    /// A positive number, the same for every bot. Negative numbers are groups.
    Number,
    /// The person's phone without its plus.
    Phone,
    /// Another id for every bot. The scope of the identifier is the source.
    PerBot,
}

/// What a contact card is worth that a person shares with the bot's own button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactCard {
    /// The messenger proves that the phone is the sender's.
    Proved,
    /// The card answers the bot's question, but may be anybody's.
    Claimed,
    /// The messenger has no such button.
    Absent,
}

/// How a link opens the chat with a bot.
#[derive(Debug, PartialEq, Eq)]
pub struct DeepLink {
    /// Address before the bot's name.
    pub base: &'static str,
    /// Option of the source that names the bot in the path. `None`: the bot is named in a parameter.
    pub bot: Option<&'static str>,
    pub parameters: &'static [(&'static str, LinkPart)],
}

/// The value of a parameter of a deep link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkPart {
    /// The token of the tracked link.
    Token,
    /// The name of the campaign.
    Campaign,
    /// Words with the token in them, which the person sends as their first message.
    Words,
    /// This option of the source.
    Option(&'static str),
}

/// The address of a person's profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileLink {
    /// The username follows. People without one have no address.
    ByUsername(&'static str),
    /// The id follows.
    ById(&'static str),
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

const fn per_second(messages: u32) -> NonZeroU32 {
    NonZeroU32::new(messages).expect("a rate is not zero")
}

messengers! {
    /// Telegram. Limits: core.telegram.org/bots/faq, "about 30 messages per second", and one a second in a chat.
    Telegram => MessengerInfo {
        name: "telegram",
        title: "Telegram",
        ids: IdForm::Number,
        text: TextLimit::utf16(4_096),
        label: None,
        rate: per_second(30),
        pause: Duration::from_secs(1),
        window: None,
        contact_card: ContactCard::Proved,
        // core.telegram.org/bots/features#deep-linking
        deep_link: DeepLink { base: "https://t.me/", bot: Some("bot"), parameters: &[("start", LinkPart::Token)] },
        profile: Some(ProfileLink::ByUsername("https://t.me/")),
        colour: "#1a6fa3",
    };
    /// Viber.
    Viber => MessengerInfo {
        name: "viber",
        title: "Viber",
        ids: IdForm::PerBot,
        text: TextLimit::utf16(7_000),
        label: None,
        rate: per_second(50),
        pause: Duration::ZERO,
        window: None,
        contact_card: ContactCard::Claimed,
        // developers.viber.com, "Deep links": viber://pa?chatURI=…&context=…
        deep_link: DeepLink {
            base: "viber://pa",
            bot: None,
            parameters: &[("chatURI", LinkPart::Option("uri")), ("context", LinkPart::Token)],
        },
        profile: None,
        colour: "#6a55d9",
    };
    /// VK. A community's token allows 20 requests a second (SevereCloud/vksdk). Labels: dev.vk.com,
    /// bots/development/keyboard.
    Vk => MessengerInfo {
        name: "vk",
        title: "VK",
        ids: IdForm::Number,
        text: TextLimit::utf16(9_000),
        label: Some(40),
        rate: per_second(20),
        pause: Duration::ZERO,
        window: None,
        contact_card: ContactCard::Absent,
        // dev.vk.com: ref and ref_source come back in message_new.
        deep_link: DeepLink {
            base: "https://vk.me/",
            bot: Some("name"),
            parameters: &[("ref", LinkPart::Token), ("ref_source", LinkPart::Campaign)],
        },
        profile: Some(ProfileLink::ById("https://vk.com/id")),
        colour: "#1f5fb0",
    };
    /// Facebook's Messenger. Labels: developers.facebook.com.
    Messenger => MessengerInfo {
        name: "messenger",
        title: "Messenger",
        ids: IdForm::PerBot,
        text: TextLimit::utf16(2_000),
        label: Some(20),
        rate: per_second(40),
        pause: Duration::ZERO,
        window: Some(DAY),
        contact_card: ContactCard::Absent,
        // developers.facebook.com/docs/messenger-platform/discovery/m-me-links
        deep_link: DeepLink { base: "https://m.me/", bot: Some("name"), parameters: &[("ref", LinkPart::Token)] },
        profile: None,
        colour: "#0a62c4",
    };
    /// Instagram.
    Instagram => MessengerInfo {
        name: "instagram",
        title: "Instagram",
        ids: IdForm::PerBot,
        text: TextLimit::bytes(1_000),
        label: Some(20),
        rate: per_second(40),
        pause: Duration::ZERO,
        window: Some(DAY),
        contact_card: ContactCard::Absent,
        // developers.facebook.com/docs/messenger-platform/instagram/features/ig-me-links
        deep_link: DeepLink { base: "https://ig.me/m/", bot: Some("name"), parameters: &[("ref", LinkPart::Token)] },
        profile: None,
        colour: "#b3306e",
    };
    /// WhatsApp. A number has 80 messages a second by default, including incoming ones (developers.facebook.com,
    /// documentation/business-messaging/whatsapp/throughput). A quarter is left for those.
    Whatsapp => MessengerInfo {
        name: "whatsapp",
        title: "WhatsApp",
        ids: IdForm::Phone,
        text: TextLimit::utf16(4_096),
        label: Some(20),
        rate: per_second(60),
        pause: Duration::ZERO,
        window: Some(DAY),
        contact_card: ContactCard::Absent,
        // faq.whatsapp.com, "click to chat": people see the text, so it says what it is for.
        deep_link: DeepLink { base: "https://wa.me/", bot: Some("number"), parameters: &[("text", LinkPart::Words)] },
        profile: Some(ProfileLink::ById("https://wa.me/")),
        colour: "#117a5b",
    };
    /// MAX. Limits: dev.max.ru/docs-api, "30 rps", and two messages a second in a chat. A button alone in its row shows
    /// 20 characters.
    Max => MessengerInfo {
        name: "max",
        title: "MAX",
        ids: IdForm::Number,
        text: TextLimit::utf16(4_000),
        label: Some(20),
        rate: per_second(30),
        pause: Duration::from_millis(500),
        window: None,
        contact_card: ContactCard::Proved,
        // dev.max.ru: the payload of ?start= comes back in bot_started. It has at most 512 characters.
        deep_link: DeepLink { base: "https://max.ru/", bot: Some("bot"), parameters: &[("start", LinkPart::Token)] },
        profile: None,
        colour: "#4d3fc4",
    };
}

impl Messenger {
    /// The messenger with this stored name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.info().name == name)
    }

    /// Stored name, as in [`MessengerInfo::name`].
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// Name for people.
    pub const fn title(self) -> &'static str {
        self.info().title
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_messenger_is_found_by_its_own_name() {
        for one in Messenger::ALL {
            assert_eq!(Messenger::named(one.name()), Some(*one));
            assert!(one.name().bytes().all(|byte| byte.is_ascii_lowercase()), "{}", one.name());
            assert!(one.title().eq_ignore_ascii_case(one.name()), "{}", one.title());
        }
    }

    #[test]
    fn every_deep_link_carries_its_token_and_names_its_bot() {
        for one in Messenger::ALL {
            let link = &one.info().deep_link;
            let carries = link.parameters.iter().any(|(_, part)| matches!(part, LinkPart::Token | LinkPart::Words));
            let names = link.parameters.iter().any(|(_, part)| matches!(part, LinkPart::Option(_)));
            assert!(carries && (link.bot.is_some() || names), "{}", one.name());
        }
    }
}
