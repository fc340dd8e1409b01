use std::collections::BTreeMap;

use stagedoor_engine::{Campaign, Catalog};
use stagedoor_model::{Header, LinkKey, Purpose, Timestamp, Token, breakage};
use stagedoor_texts::Language;
use stagedoor_webhook::Source;

use crate::{
    buttons::{self, Button},
    consent_action::ConsentAction,
};

/// Reads the tokens of links.
#[derive(Clone)]
pub struct LinkResolver {
    pub(crate) key: LinkKey,
    public_url: String,
    campaigns: BTreeMap<u16, Campaign>,
    /// Messengers by the name of their source.
    sources: BTreeMap<String, Source>,
}

impl LinkResolver {
    /// Creates the resolver for the catalog's campaigns. `messengers` are the sources whose buttons a page may show.
    pub fn new(key: LinkKey, public_url: &str, catalog: &Catalog, messengers: Vec<Source>) -> Self {
        Self {
            key,
            public_url: public_url.to_owned(),
            campaigns: catalog.campaigns.values().map(|one| (one.number, one.clone())).collect(),
            sources: messengers.into_iter().map(|source| (source.name.as_str().to_owned(), source)).collect(),
        }
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.public_url.starts_with("https://")
    }

    /// Reads a link. `None` if it is not ours, as far as the token itself shows that.
    pub(crate) fn read(&self, text: &str) -> Option<(Token, &Campaign, Purpose, Timestamp)> {
        let (token, header) = self.known(text)?;
        if header.purpose == Purpose::Consent {
            return None;
        }
        let campaign = self.campaigns.get(&header.campaign)?;
        // An earlier end of the campaign ends its links. A token's own week has priority over a later end.
        Some((token, campaign, header.purpose, header.expires_at))
    }

    /// Reads a link about consent, which belongs to no campaign, with its expiry. An unsubscribe link cannot confirm,
    /// and a confirmation link cannot unsubscribe. A reader of one e-mail must not get both rights.
    pub(crate) fn read_consent(&self, text: &str, wish: ConsentAction) -> Option<(Token, Timestamp)> {
        let (token, header) = self.known(text)?;
        let is_meant = (header.campaign == Purpose::CONFIRMS) == (wish == ConsentAction::Confirm);
        let is_meant = is_meant || breakage::is_on("letter-link-opens-all");
        (header.purpose == Purpose::Consent && is_meant).then_some((token, header.expires_at))
    }

    /// A token that we made, without the browser's tag.
    fn known(&self, text: &str) -> Option<(Token, Header)> {
        let token = Token::parse(text).filter(|token| self.key.fits(token))?;
        let header = token.header()?;
        Some((Token::parse(token.as_str())?, header))
    }

    /// The URL of the campaign's own shop, with the campaign's name for the shop's statistics.
    pub(crate) fn shop(&self, campaign: &Campaign) -> Option<String> {
        let mut shop: url::Url = campaign.shop.as_ref()?.parse().ok()?;
        shop.query_pairs_mut().append_pair("utm_source", "chat").append_pair("utm_campaign", &campaign.name);
        Some(shop.into())
    }

    pub(crate) fn buttons(&self, campaign: &Campaign, token: &Token, language: Language) -> Vec<Button> {
        let sources = campaign.channels.iter().filter_map(|name| self.sources.get(name));
        sources.filter_map(|source| buttons::of(source, campaign, token, language)).collect()
    }
}
