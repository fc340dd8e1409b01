//! UniSender and Selzy. Sources: unisender.com/ru/support/api/contacts/importContacts (500 contacts a call, errors by
//! row, errors of the whole call with 200), …/exclude (one contact a call), …/unsubscribe;
//! unisender.com/ru/support/api/common (limits). The key is part of the form, never of the URL. UniSender itself
//! refuses to reactivate an address that left by an import.

use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::Value;
use stagedoor_config::MailerConfig;
use stagedoor_engine::{Leaving, Member};
use stagedoor_model::Email;
use stagedoor_ports::{Listed, MailingList};

use crate::call::{Answer, Caller, Later, text};

/// Maximum number of contacts in one call.
const BATCH: usize = 500;

pub struct Unisender {
    api: String,
    key: String,
    caller: Caller,
}

impl Unisender {
    pub fn new(mailer: &MailerConfig, caller: Caller) -> Self {
        let api = mailer.api.clone().unwrap_or_else(|| "https://api.unisender.com/ru".to_owned());
        Self { api: format!("{}/api", api.trim_end_matches('/')), key: mailer.secret.reveal(), caller }
    }

    async fn call(&self, method: &str, fields: &[(String, String)]) -> Result<Answer, Later> {
        let mut form = vec![("format".to_owned(), "json".to_owned()), ("api_key".to_owned(), self.key.clone())];
        form.extend_from_slice(fields);
        let request = self.caller.request(Method::POST, &format!("{}/{method}", self.api)).form(&form);
        let answer = self.caller.call(request).await?;
        let code = text(&answer.body, "/code");
        match code.as_str() {
            "invalid_api_key" | "access_denied" | "not_enough_money" | "retry_later" => {
                self.caller.account_rests(&code);
                Err(Later)
            }
            code if code.starts_with("api_call_limit") => {
                self.caller.account_rests(code);
                Err(Later)
            }
            _ => Ok(answer),
        }
    }

    /// Imports rows with these columns, and returns a result for each row.
    async fn import(&self, columns: &[&str], rows: Vec<Vec<String>>) -> Vec<Listed> {
        let names = columns.iter().enumerate().map(|(n, name)| (format!("field_names[{n}]"), (*name).to_owned()));
        let cells = rows.iter().enumerate().flat_map(|(r, row)| {
            row.iter().enumerate().map(move |(c, value)| (format!("data[{r}][{c}]"), value.clone()))
        });
        let fields: Vec<(String, String)> = names.chain(cells).collect();
        let Ok(answer) = self.call("importContacts", &fields).await else { return vec![Listed::Later; rows.len()] };
        if answer.body.get("result").is_none_or(|result| !result.is_object()) {
            return vec![Listed::Later; rows.len()];
        }
        let log = answer.body.pointer("/result/log").and_then(Value::as_array).into_iter().flatten();
        let wrong: BTreeMap<usize, String> =
            log.filter_map(|row| Some((row.get("index")?.as_u64()? as usize, text(row, "/code")))).collect();
        let one = |n: usize| match wrong.get(&n).map(String::as_str) {
            None => Listed::Done,
            Some("unsubscribed") => Listed::Left,
            Some(code) => Listed::Refused(code.to_owned()),
        };
        (0..rows.len()).map(one).collect()
    }

    async fn exclude(&self, list: &str, email: &Email) -> Listed {
        let fields = [("contact_type", "email"), ("contact", email.as_str()), ("list_ids", list)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        match self.call("exclude", &fields).await {
            // UniSender reports an absent contact in words (unisender.com/ru/support/api/contacts/exclude).
            Ok(answer) if text(&answer.body, "/error").contains("not found") => Listed::Done,
            Ok(answer) if answer.body.get("error").is_some() => Listed::Refused(text(&answer.body, "/code")),
            Ok(_) => Listed::Done,
            Err(Later) => Listed::Later,
        }
    }
}

#[async_trait]
impl MailingList for Unisender {
    fn batch(&self) -> usize {
        BATCH
    }

    async fn add(&self, list: &str, members: &[Member]) -> Vec<Listed> {
        let row =
            |one: &Member| vec![one.email.as_str().to_owned(), list.to_owned(), one.name.clone().unwrap_or_default()];
        self.import(&["email", "email_list_ids", "Name"], members.iter().map(row).collect()).await
    }

    async fn remove(&self, list: &str, emails: &[Email], why: Leaving) -> Vec<Listed> {
        if why == Leaving::Withdrawn {
            // This stops the whole account in bulk. `unsubscribe` would leave the people on other lists.
            let row = |email: &Email| vec![email.as_str().to_owned(), "unsubscribed".to_owned()];
            return self.import(&["email", "email_status"], emails.iter().map(row).collect()).await;
        }
        let mut listed = Vec::with_capacity(emails.len());
        for email in emails {
            listed.push(self.exclude(list, email).await);
        }
        listed
    }

    fn calls(&self) -> u64 {
        self.caller.calls()
    }
}
