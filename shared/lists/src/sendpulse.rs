//! SendPulse address books. Source: sendpulse.com/integrations/api/bulk-email (POST and DELETE
//! /addressbooks/{id}/emails, …/emails/unsubscribe; the secret is a static API key) and its rate limits. The documented
//! calls take 100 addresses. `disable_webhook` keeps our own additions from coming back. An answer only confirms the
//! whole call. SendPulse does not publish how an addition treats people who left. The hub knows these people from its
//! webhook, and does not add them again.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use stagedoor_config::MailerConfig;
use stagedoor_engine::{Leaving, Member};
use stagedoor_model::Email;
use stagedoor_ports::{Listed, MailingList};

use crate::call::{Caller, Later};

const BATCH: usize = 100;

pub struct Sendpulse {
    api: String,
    key: String,
    caller: Caller,
}

impl Sendpulse {
    pub fn new(mailer: &MailerConfig, caller: Caller) -> Self {
        let api = mailer.api.clone().unwrap_or_else(|| "https://api.sendpulse.com".to_owned());
        Self { api: api.trim_end_matches('/').to_owned(), key: mailer.secret.reveal(), caller }
    }

    async fn all(&self, method: Method, path: &str, body: &Value, count: usize) -> Vec<Listed> {
        let request = self.caller.request(method, &format!("{}/{path}", self.api)).bearer_auth(&self.key).json(body);
        match self.caller.call(request).await {
            Ok(answer) if answer.body.get("result").and_then(Value::as_bool) == Some(true) => vec![Listed::Done; count],
            // Code 303: none of these addresses exists (errors of the API, sendpulse.com/integrations/api).
            Ok(answer) if answer.body.get("error_code").and_then(Value::as_u64) == Some(303) => {
                vec![Listed::Done; count]
            }
            Ok(answer) => {
                let code = answer.body.get("error_code").and_then(Value::as_u64).unwrap_or(u64::from(answer.status));
                self.caller.account_rests(&format!("error {code}"));
                vec![Listed::Later; count]
            }
            Err(Later) => vec![Listed::Later; count],
        }
    }
}

#[async_trait]
impl MailingList for Sendpulse {
    fn batch(&self) -> usize {
        BATCH
    }

    async fn add(&self, list: &str, members: &[Member]) -> Vec<Listed> {
        let one = |member: &Member| {
            let name = member.name.clone().unwrap_or_default();
            json!({ "email": member.email.as_str(), "variables": { "name": name } })
        };
        let emails: Vec<Value> = members.iter().map(one).collect();
        let body = json!({ "emails": emails, "disable_webhook": true });
        self.all(Method::POST, &format!("addressbooks/{list}/emails"), &body, members.len()).await
    }

    async fn remove(&self, list: &str, emails: &[Email], why: Leaving) -> Vec<Listed> {
        let addresses: Vec<&str> = emails.iter().map(Email::as_str).collect();
        let body = json!({ "emails": addresses });
        let (method, path) = match why {
            Leaving::Withdrawn => (Method::POST, format!("addressbooks/{list}/emails/unsubscribe")),
            Leaving::Segment => (Method::DELETE, format!("addressbooks/{list}/emails")),
        };
        self.all(method, &path, &body, emails.len()).await
    }

    fn calls(&self) -> u64 {
        self.caller.calls()
    }
}
