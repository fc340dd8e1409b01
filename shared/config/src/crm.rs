//! The CRM and its credentials. Each kind of CRM has its own credentials and accepts no others.

use std::{num::NonZeroU32, time::Duration};

use jiff::SignedDuration;
use stagedoor_engine::Invoicing;
use stagedoor_texts::{Language, invoices};
use stagedoor_webhook::Secret;
use toml::de::DeTable;

use crate::{
    Credentials, CrmConfig, CrmKind,
    reader::{Reader, Value, spot},
    schema::{CrmSection, InvoiceSection},
};

impl Reader<'_> {
    pub(crate) fn crm(&mut self, root: &DeTable<'_>, currency: &str, language: Option<Language>) -> Option<CrmConfig> {
        let value = self.required(root, "crm")?;
        self.one_crm(value, "crm", currency, language)
    }

    /// The second CRM must be of another kind, because each kind keeps one set of tokens or sessions.
    pub(crate) fn second_crm(
        &mut self,
        root: &DeTable<'_>,
        currency: &str,
        language: Option<Language>,
    ) -> Option<CrmConfig> {
        let value = root.get("second_crm")?;
        if root.get("crm").is_some_and(|first| kind(first).is_some() && kind(first) == kind(value)) {
            let what = "the second CRM has to be of another kind than the first";
            self.errors.note(spot(value, "kind"), "second_crm.kind", what);
        }
        self.one_crm(value, "second_crm", currency, language)
    }

    fn one_crm(
        &mut self,
        value: &Value<'_>,
        place: &str,
        currency: &str,
        language: Option<Language>,
    ) -> Option<CrmConfig> {
        let section: CrmSection = self.read(value, place)?;
        self.url(&section.base_url, spot(value, "base_url"), &format!("{place}.base_url"));
        let rate = NonZeroU32::new(section.rate);
        if rate.is_none() {
            self.errors.note(spot(value, "rate"), format!("{place}.rate"), "must be at least 1 request a second");
        }
        let credentials = match section.kind {
            CrmKind::Amocrm => self.tokens(&section, value, place),
            CrmKind::Vtiger => self.access_key(&section, value, place),
        };
        let timeout = Duration::from_secs(u64::from(section.timeout_seconds.max(1)));
        let late_for = SignedDuration::from_secs(i64::from(section.late_seconds));
        let invoicing = section
            .invoices
            .as_ref()
            .and_then(|invoices| self.invoicing(invoices, value, (section.kind, place), language));
        let service = section.invoices.as_ref().map(|invoices| service(invoices, language)).unwrap_or_default();
        let poll = Duration::from_secs(u64::from(section.poll_seconds.max(1)));
        let own = section.currency.as_deref();
        let own = own.map(|code| self.currency(code, spot(value, "currency"), &format!("{place}.currency")));
        let currency = own.unwrap_or_else(|| Some(currency.to_owned()));
        let CrmSection { kind, base_url, tags, owner, .. } = section;
        let (credentials, rate, currency) = (credentials?, rate?, currency?);
        Some(CrmConfig {
            kind,
            base_url,
            credentials,
            rate,
            timeout,
            late_for,
            currency,
            poll,
            tags,
            service,
            invoicing,
            owner,
        })
    }

    fn tokens(&mut self, section: &CrmSection, value: &Value<'_>, place: &str) -> Option<Credentials> {
        let others = [("user", section.user.is_some()), ("access_key", section.access_key.is_some())];
        self.of_another_kind(value, place, "amocrm", &others, &format!("token or [{place}.oauth]"));
        match (&section.token, &section.oauth) {
            (Some(token), None) => {
                self.crm_secret(token, value, "token", &format!("{place}.token")).map(Credentials::LongLived)
            }
            (None, Some(oauth)) => {
                let secret =
                    self.crm_secret(&oauth.client_secret, value, "oauth", &format!("{place}.oauth.client_secret"));
                secret.map(|client_secret| Credentials::OAuth {
                    client_id: oauth.client_id.clone(),
                    client_secret,
                    redirect_uri: oauth.redirect_uri.clone(),
                })
            }
            _ => {
                let what = format!("give either token (a long-lived token) or [{place}.oauth], not both");
                self.errors.note(value.span(), place, what);
                None
            }
        }
    }

    fn access_key(&mut self, section: &CrmSection, value: &Value<'_>, place: &str) -> Option<Credentials> {
        let others = [("token", section.token.is_some()), ("oauth", section.oauth.is_some())];
        self.of_another_kind(value, place, "vtiger", &others, "user and access_key");
        let sessions = NonZeroU32::new(section.sessions).filter(|sessions| sessions.get() <= 32);
        if sessions.is_none() {
            self.errors.note(spot(value, "sessions"), format!("{place}.sessions"), "must be 1 to 32");
        }
        let key = match &section.access_key {
            Some(reference) => self.crm_secret(reference, value, "access_key", &format!("{place}.access_key")),
            None => {
                let what = "is missing: the user's access key, from My Preferences, as a secret reference";
                self.errors.note(value.span(), format!("{place}.access_key"), what);
                None
            }
        };
        let user = section.user.clone().filter(|user| !user.trim().is_empty());
        if user.is_none() {
            let what = "is missing: the name of the user that the hub is in the CRM";
            self.errors.note(value.span(), format!("{place}.user"), what);
        }
        Some(Credentials::AccessKey { user: user?, key: key?, sessions: sessions? })
    }

    fn invoicing(
        &mut self,
        section: &InvoiceSection,
        value: &Value<'_>,
        (kind, place): (CrmKind, &str),
        language: Option<Language>,
    ) -> Option<Invoicing> {
        let span = spot(value, "invoices");
        if kind != CrmKind::Vtiger {
            self.errors.note(span, format!("{place}.invoices"), "only a CRM of the kind vtiger holds invoices");
            return None;
        }
        for (key, text) in [("service", &section.service), ("visitors", &section.visitors)] {
            if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                self.errors.note(span.clone(), format!("{place}.invoices.{key}"), "is empty: give it a name");
            }
        }
        if section.vat.is_some_and(|vat| !(0.0..=100.0).contains(&vat)) {
            self.errors.note(span, format!("{place}.invoices.vat"), "must be 0 to 100 per cent");
            return None;
        }
        // VAT in hundredths of a per cent. The range is checked above.
        let vat = section.vat.filter(|vat| *vat > 0.0).map(|vat| (vat * 100.0).round() as u32);
        let visitors = section.visitors.clone();
        let visitors = visitors.unwrap_or_else(|| invoices::visitors().to(of_documents(language)));
        Some(Invoicing { visitors, vat, days: i64::from(section.days) })
    }

    fn of_another_kind(&mut self, value: &Value<'_>, place: &str, kind: &str, others: &[(&str, bool)], has: &str) {
        for (key, _) in others.iter().filter(|(_, given)| *given) {
            let what = format!("a CRM of the kind {kind} has {has}");
            self.errors.note(spot(value, key), format!("{place}.{key}"), what);
        }
    }

    fn crm_secret(&mut self, reference: &str, value: &Value<'_>, key: &str, place: &str) -> Option<Secret> {
        if self.reading.crm() { self.secret(reference, spot(value, key), place) } else { Some(Secret::new("")) }
    }
}

/// The language of names on documents. A hub without a language has had Russian ones.
fn of_documents(language: Option<Language>) -> Language {
    language.unwrap_or(Language::Russian)
}

fn service(section: &InvoiceSection, language: Option<Language>) -> String {
    section.service.clone().unwrap_or_else(|| invoices::service().to(of_documents(language)))
}

fn kind<'t>(section: &'t Value<'_>) -> Option<&'t str> {
    section.get_ref().as_table()?.get("kind")?.get_ref().as_str()
}
