//! Mailchimp audiences. Sources: mailchimp.com/developer/marketing/api/lists/batch-subscribe-or-unsubscribe (500
//! members, errors by row), …/list-members/ (states, the MD5 of the lower-cased address), …/batch-operations.
//! `update_existing: false` never changes existing members. With `true`, `status: subscribed` would bring back people
//! who left. Existing members are looked up one by one, because some have left.

use std::collections::BTreeMap;

use async_trait::async_trait;
use md5::{Digest, Md5};
use reqwest::Method;
use serde_json::{Value, json};
use stagedoor_config::MailerConfig;
use stagedoor_engine::{Leaving, Member};
use stagedoor_model::Email;
use stagedoor_ports::{Listed, MailingList};

use crate::call::{Answer, Caller, Later, text};

/// Maximum number of members in one call.
const BATCH: usize = 500;

pub struct Mailchimp {
    api: String,
    key: String,
    caller: Caller,
}

impl Mailchimp {
    pub fn new(mailer: &MailerConfig, caller: Caller) -> Self {
        let key = mailer.secret.reveal();
        // The data centre is the part of the key after the dash.
        let dc = key.rsplit_once('-').map_or("us1", |(_, dc)| dc).to_owned();
        let api = mailer.api.clone().unwrap_or_else(|| format!("https://{dc}.api.mailchimp.com"));
        Self { api: format!("{}/3.0", api.trim_end_matches('/')), key, caller }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Later> {
        let mut request = self.caller.request(method, &format!("{}/{path}", self.api));
        request = request.basic_auth("stagedoor", Some(&self.key));
        if let Some(body) = body {
            request = request.json(body);
        }
        self.caller.call(request).await
    }

    /// Looks up a person whom the audience knows already.
    async fn known(&self, list: &str, email: &Email) -> Listed {
        match self.call(Method::GET, &format!("lists/{list}/members/{}", hash(email)), None).await {
            Ok(answer) if answer.status == 200 => match text(&answer.body, "/status").as_str() {
                "subscribed" | "pending" => Listed::Done,
                "unsubscribed" => Listed::Left,
                "cleaned" => Listed::Refused("cleaned".into()),
                // The hub archived the person when they left the segment. They have consented again, so they may come
                // back.
                _ => self.bring_back(list, email).await,
            },
            Ok(_) | Err(Later) => Listed::Later,
        }
    }

    async fn bring_back(&self, list: &str, email: &Email) -> Listed {
        let body = json!({ "email_address": email.as_str(), "status": "subscribed", "status_if_new": "subscribed" });
        match self.call(Method::PUT, &format!("lists/{list}/members/{}", hash(email)), Some(&body)).await {
            Ok(answer) if answer.status == 200 => Listed::Done,
            Ok(answer) if text(&answer.body, "/detail").contains("compliance") => Listed::Left,
            Ok(answer) => Listed::Refused(text(&answer.body, "/title")),
            Err(Later) => Listed::Later,
        }
    }

    async fn archive(&self, list: &str, emails: &[Email]) -> Vec<Listed> {
        let operation =
            |email: &Email| json!({ "method": "DELETE", "path": format!("/lists/{list}/members/{}", hash(email)) });
        let operations: Vec<Value> = emails.iter().map(operation).collect();
        match self.call(Method::POST, "batches", Some(&json!({ "operations": operations }))).await {
            // Mailchimp carries out the batch a little later. Until then the people still consent.
            Ok(answer) if answer.status == 200 => vec![Listed::Done; emails.len()],
            _ => vec![Listed::Later; emails.len()],
        }
    }
}

fn hash(email: &Email) -> String {
    hex::encode(Md5::digest(email.as_str().to_lowercase()))
}

/// Errors of the answer, by address.
fn errors(body: &Value) -> BTreeMap<String, String> {
    let rows = body.get("errors").and_then(Value::as_array).into_iter().flatten();
    rows.map(|row| (text(row, "/email_address").to_lowercase(), text(row, "/error"))).collect()
}

#[async_trait]
impl MailingList for Mailchimp {
    fn batch(&self) -> usize {
        BATCH
    }

    async fn add(&self, list: &str, members: &[Member]) -> Vec<Listed> {
        let member = |one: &Member| {
            let name = one.name.clone().unwrap_or_default();
            json!({ "email_address": one.email.as_str(), "status": "subscribed", "merge_fields": { "FNAME": name } })
        };
        let members_json: Vec<Value> = members.iter().map(member).collect();
        let body = json!({ "members": members_json, "update_existing": false, "sync_tags": false });
        let answer = match self.call(Method::POST, &format!("lists/{list}"), Some(&body)).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => {
                let reason = format!("{} {}", answer.status, text(&answer.body, "/title"));
                self.caller.account_rests(&reason);
                return vec![Listed::Later; members.len()];
            }
            Err(Later) => return vec![Listed::Later; members.len()],
        };
        let errors = errors(&answer.body);
        let mut listed = Vec::with_capacity(members.len());
        for one in members {
            listed.push(match errors.get(&one.email.as_str().to_lowercase()) {
                None => Listed::Done,
                Some(error) if error.contains("already a list member") => self.known(list, &one.email).await,
                Some(error) if error.contains("permanently deleted") || error.contains("compliance") => Listed::Left,
                Some(_) => Listed::Refused("it does not take the address".into()),
            });
        }
        listed
    }

    async fn remove(&self, list: &str, emails: &[Email], why: Leaving) -> Vec<Listed> {
        if why == Leaving::Segment {
            return self.archive(list, emails).await;
        }
        let member = |email: &Email| json!({ "email_address": email.as_str(), "status": "unsubscribed" });
        let members: Vec<Value> = emails.iter().map(member).collect();
        let body = json!({ "members": members, "update_existing": true, "sync_tags": false });
        match self.call(Method::POST, &format!("lists/{list}"), Some(&body)).await {
            Ok(answer) if answer.status == 200 => {
                let errors = errors(&answer.body);
                let one = |email: &Email| match errors.get(&email.as_str().to_lowercase()) {
                    // The address was deleted permanently or must not be written to, so it is off the list.
                    Some(error) if error.contains("permanently deleted") || error.contains("compliance") => {
                        Listed::Done
                    }
                    Some(_) => Listed::Refused("it does not let the address go".into()),
                    None => Listed::Done,
                };
                emails.iter().map(one).collect()
            }
            _ => vec![Listed::Later; emails.len()],
        }
    }

    fn calls(&self) -> u64 {
        self.caller.calls()
    }
}
