//! Campaigns, the bot's replies, and the SMS gateway.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use jiff::tz::{TimeZone, TimeZoneDatabase};
use stagedoor_engine::{Ask, BotScript, Campaign, Catalog, Localised, On, Reply, ShowKey};
use stagedoor_model::Timestamp;
use stagedoor_webhook::Secret;
use toml::de::DeTable;

use crate::{
    SmsConfig, SmsProvider,
    hub::HubRead,
    labels::{Shortest, menu_mistake},
    reader::{Reader, Value, spot, table},
    schema::{CampaignSection, ReplyAsk, ReplyOn, ReplySection, SmsSection, Text},
};

/// Placeholders in the text of a reply.
const PLACES: [&str; 5] = ["{name}", "{promo}", "{show}", "{city}", "{menu}"];

pub(crate) fn localised(text: Text) -> Localised {
    match text {
        Text::Russian(text) => Localised(BTreeMap::from([("ru".to_owned(), text)])),
        Text::Each(all) => Localised(all),
    }
}

impl Reader<'_> {
    pub(crate) fn sms(&mut self, root: &DeTable<'_>) -> Option<SmsConfig> {
        let value = root.get("sms")?;
        let section = self.optional::<SmsSection>(root, "sms")?;
        let secret = match self.reading.sends() {
            true => self.secret(&section.secret, spot(value, "secret"), "sms.secret"),
            false => Some(Secret::new("")),
        };
        let api = match (section.provider, section.api) {
            (_, Some(api)) => Some(api),
            (SmsProvider::Smsc, None) => Some("https://smsc.ru".to_owned()),
            (SmsProvider::Http, None) => {
                self.errors.note(value.span(), "sms.api", "the address that takes the messages is needed for http");
                None
            }
        };
        if let Some(api) = &api {
            self.url(api, spot(value, "api"), "sms.api");
        }
        if section.provider == SmsProvider::Smsc && section.login.is_none() {
            self.errors.note(value.span(), "sms.login", "the account's login is needed for smsc");
        }
        let rate = NonZeroU32::new(section.rate).unwrap_or(NonZeroU32::MIN);
        let (provider, login) = (section.provider, section.login.unwrap_or_default());
        Some(SmsConfig { provider, api: api?, login, secret: secret?, sender: section.sender, rate })
    }

    pub(crate) fn conversation(&mut self, root: &DeTable<'_>, catalog: &mut Catalog, hub: Option<&HubRead>) {
        catalog.language = hub.and_then(|hub| hub.section.language).unwrap_or_default();
        catalog.zone = hub.and_then(|hub| self.zone(root, hub.section.zone.as_ref()?));
        self.pools(root, catalog, hub);
        self.campaigns(root, catalog, hub);
        let replies = self.replies(root, catalog);
        let stop_words = hub.map(|hub| hub.section.stop_words.iter().map(|word| word.to_lowercase()).collect());
        catalog.bot_script = BotScript {
            replies,
            stop_words: stop_words.unwrap_or_default(),
            region: hub.map(|hub| hub.region),
            campaigns: catalog.campaigns.values().map(|one| (one.number, one.name.clone())).collect(),
            codes: None,
        };
    }

    fn zone(&mut self, root: &DeTable<'_>, name: &str) -> Option<TimeZone> {
        let zone = TimeZoneDatabase::bundled().get(name).ok();
        if let (None, Some(hub)) = (&zone, root.get("hub")) {
            self.errors.note(spot(hub, "zone"), "hub.zone", "not an IANA time zone, such as Europe/Moscow");
        }
        zone
    }

    pub(crate) fn time(&mut self, text: &str, value: &Value<'_>, key: &str, place: &str) -> Option<Timestamp> {
        let at = text.parse::<Timestamp>().ok();
        if at.is_none() {
            let what = "not a time, expected RFC 3339 such as 2027-05-16T19:00:00+03:00";
            self.errors.note(spot(value, key), format!("{place}.{key}"), what);
        }
        at
    }

    fn campaigns(&mut self, root: &DeTable<'_>, catalog: &mut Catalog, hub: Option<&HubRead>) {
        let mut numbers = BTreeSet::new();
        // Sources are read as they are written. A missing secret is reported elsewhere.
        let function = |value: &Value<'_>| {
            value.get_ref().get("function").and_then(|text| text.get_ref().as_str().map(str::to_owned))
        };
        let messengers: BTreeSet<String> = table(root, "source")
            .into_iter()
            .filter(|(_, value)| function(value).as_deref() == Some("messaging"))
            .map(|(name, _)| name)
            .collect();
        for (name, value) in table(root, "campaign") {
            let place = format!("campaign.{name}");
            let Some(section) = self.read::<CampaignSection>(value, &place) else { continue };
            let mut note = |key: &str, what: String| self.errors.note(spot(value, key), format!("{place}.{key}"), what);
            if !(1..1024).contains(&section.number) || !numbers.insert(section.number) {
                note("number", "expected a number from 1 to 1023 that no other campaign has".into());
            }
            if let Some(show) =
                section.show.as_ref().filter(|key| !catalog.shows.contains_key(&ShowKey((*key).clone())))
            {
                note("show", format!("there is no [[show]] with key {show:?}"));
            }
            for channel in &section.channels {
                if !messengers.contains(channel) {
                    note("channels", format!("there is no source {channel:?} of function \"messaging\""));
                }
            }
            if let Some(pool) = section.promo.as_ref().filter(|pool| !catalog.pools.contains_key(*pool)) {
                note("promo", format!("there is no [promo.{pool}]"));
            }
            let sms = section.sms.map(localised);
            if sms.as_ref().is_some_and(|sms| sms.0.values().any(|text| !text.contains("{link}"))) {
                note("sms", "the text has no {link}".into());
            }
            if hub.is_some_and(|hub| hub.section.link_key.is_none()) {
                note("number", "links of a campaign need [hub] link_key".into());
            }
            if let Some(shop) = &section.shop {
                self.url(shop, spot(value, "shop"), &format!("{place}.shop"));
            }
            let Some(ends_at) = self.time(&section.ends_at, value, "ends_at", &place) else { continue };
            let campaign = Campaign {
                name: name.clone(),
                number: section.number,
                show: section.show.map(ShowKey),
                channels: section.channels,
                shop: section.shop,
                pool: section.promo,
                ends_at,
                sms,
                title: localised(section.title),
                words: section.text.map(localised).unwrap_or_default(),
            };
            catalog.campaigns.insert(name, campaign);
        }
    }

    fn replies(&mut self, root: &DeTable<'_>, catalog: &Catalog) -> Vec<Reply> {
        let (mut replies, shortest) = (Vec::new(), Shortest::of(root));
        let mut taken = BTreeSet::new();
        for (index, value) in self.list(root, "reply").into_iter().enumerate() {
            let place = format!("reply {}", index + 1);
            let Some(section) = self.read::<ReplySection>(value, &place) else { continue };
            let known = |name: &&String| catalog.campaigns.contains_key(*name);
            if let Some(name) = section.campaign.as_ref().filter(|name| !known(name)) {
                let what = format!("there is no [campaign.{name}]");
                self.errors.note(spot(value, "campaign"), format!("{place}.campaign"), what);
            }
            let text = localised(section.text);
            if let Some(strange) = text.0.values().find_map(|text| strange_place(text, &PLACES)) {
                let what = format!("{strange} stands for nothing; known are {}", PLACES.join(", "));
                self.errors.note(spot(value, "text"), format!("{place}.text"), what);
            }
            let on = match section.on {
                ReplyOn::Token => Ok(On::Token),
                ReplyOn::UsedToken => Ok(On::UsedToken),
                ReplyOn::Start => Ok(On::Start),
                ReplyOn::Keyword if section.words.is_empty() => Err("on = \"keyword\" needs words"),
                ReplyOn::Keyword => Ok(On::Keyword(section.words.iter().map(|word| word.to_lowercase()).collect())),
                ReplyOn::Menu => match (section.number, section.title) {
                    (Some(number @ 1..=9), Some(title)) => Ok(On::Menu(number, localised(title))),
                    _ => Err("on = \"menu\" needs a number from 1 to 9 and a title"),
                },
                ReplyOn::Given => Ok(On::Given),
                ReplyOn::WrongPhone => Ok(On::Wrong(Ask::Phone)),
                ReplyOn::WrongEmail => Ok(On::Wrong(Ask::Email)),
                ReplyOn::Stop => Ok(On::Stop),
                ReplyOn::Other => Ok(On::Other),
            };
            let on = match on {
                Ok(on) => on,
                Err(what) => {
                    self.errors.note(spot(value, "on"), place, what);
                    continue;
                }
            };
            if let On::Menu(_, title) = &on
                && let Some(what) = menu_mistake(title)
            {
                self.errors.note(spot(value, "title"), format!("{place}.title"), what);
            }
            if let On::Menu(number, _) = &on
                && !taken.insert((section.campaign.clone(), *number))
            {
                let what = format!("another reply of this menu has the number {number}; give each its own");
                self.twice(spot(value, "number"), format!("{place}.number"), what);
            }
            let ask = section.ask.map(|ask| if ask == ReplyAsk::Phone { Ask::Phone } else { Ask::Email });
            let (campaign, button) = (section.campaign, section.button.map(localised));
            if let Some(what) = shortest.as_ref().zip(button.as_ref()).and_then(|(one, label)| one.config_error(label))
            {
                self.errors.note(spot(value, "button"), format!("{place}.button"), what);
            }
            replies.push(Reply { on, campaign, text, button, ask });
        }
        replies
    }
}

/// A placeholder in braces that is not known.
pub(crate) fn strange_place(text: &str, places: &[&str]) -> Option<String> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        let (word, behind) = after.split_once('}')?;
        let place = format!("{{{word}}}");
        if !places.contains(&place.as_str()) {
            return Some(place);
        }
        rest = behind;
    }
    None
}
