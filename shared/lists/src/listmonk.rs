//! listmonk, on the organiser's own server. Sources: listmonk.app/docs/apis/subscribers and knadh/listmonk
//! (queries.sql, cmd/subscribers.go). Lists are changed by subscriber ids, so a call first looks up the known people.
//! It creates the others one by one, because there is no bulk call for it. It adds the known ones together. `add` with
//! a `status` would confirm people who left, so it is sent without one. People who are known to have left are not in
//! it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use stagedoor_config::MailerConfig;
use stagedoor_engine::{Leaving, Member};
use stagedoor_model::Email;
use stagedoor_ports::{Listed, MailingList};

use crate::call::{Answer, Caller, Later};

/// Size of a page of people who left, and the maximum number of pages.
const PAGE: usize = 1_000;
const PAGES: usize = 100;
/// Number of addresses in one query, because a query is part of the URL.
const BATCH: usize = 100;

pub struct Listmonk {
    api: String,
    user: String,
    token: String,
    caller: Caller,
}

/// A person whom listmonk knows.
struct Subscriber {
    id: u64,
    blocked: bool,
    /// The person's status on the list in question.
    status: Option<String>,
}

impl Listmonk {
    pub fn new(mailer: &MailerConfig, caller: Caller) -> Self {
        let api = mailer.api.clone().unwrap_or_else(|| "http://127.0.0.1:9000".to_owned());
        let (user, token) = (mailer.login.clone().unwrap_or_default(), mailer.secret.reveal());
        Self { api: format!("{}/api", api.trim_end_matches('/')), user, token, caller }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Later> {
        let mut request = self.caller.request(method, &format!("{}/{path}", self.api));
        request = request.basic_auth(&self.user, Some(&self.token));
        if let Some(body) = body {
            request = request.json(body);
        }
        self.caller.call(request).await
    }

    async fn known(&self, list: u64, emails: &[&str]) -> Result<BTreeMap<String, Subscriber>, Later> {
        // A quotation mark is doubled, as SQL requires.
        let quoted: Vec<String> = emails.iter().map(|email| format!("'{}'", email.replace('\'', "''"))).collect();
        let query = format!("subscribers.email IN ({})", quoted.join(","));
        let request = self.caller.request(Method::GET, &format!("{}/subscribers", self.api));
        let request = request.basic_auth(&self.user, Some(&self.token));
        let answer =
            self.caller.call(request.query(&[("query", query.as_str()), ("page", "1"), ("per_page", "all")])).await?;
        let results = answer.body.pointer("/data/results").and_then(Value::as_array).ok_or(Later)?;
        let one = |row: &Value| {
            let lists = row.get("lists").and_then(Value::as_array).into_iter().flatten();
            let here = lists.filter(|one| one.get("id").and_then(Value::as_u64) == Some(list));
            let status = here.filter_map(|one| one.get("subscription_status")?.as_str().map(str::to_owned)).next();
            let blocked = row.get("status").and_then(Value::as_str) == Some("blocklisted");
            let email = row.get("email")?.as_str()?.to_lowercase();
            Some((email, Subscriber { id: row.get("id")?.as_u64()?, blocked, status }))
        };
        Ok(results.iter().filter_map(one).collect())
    }

    async fn create(&self, list: u64, member: &Member) -> Listed {
        let name = member.name.clone().unwrap_or_else(|| member.email.as_str().to_owned());
        let body = json!({
            "email": member.email.as_str(), "name": name, "status": "enabled", "lists": [list],
            // Every enrolled person has consented, and the ledger proves it.
            "preconfirm_subscriptions": true,
        });
        match self.call(Method::POST, "subscribers", Some(&body)).await {
            Ok(answer) if answer.status == 200 => Listed::Done,
            // Somebody created the subscriber in the meantime, so it is looked up again.
            Ok(answer) if answer.status == 409 => Listed::Later,
            Ok(answer) => Listed::Refused(format!("it answered {}", answer.status)),
            Err(Later) => Listed::Later,
        }
    }

    async fn change(&self, list: u64, ids: &[u64], action: &str) -> Listed {
        if ids.is_empty() {
            return Listed::Done;
        }
        let body = json!({ "ids": ids, "action": action, "target_list_ids": [list] });
        match self.call(Method::PUT, "subscribers/lists", Some(&body)).await {
            Ok(answer) if answer.status == 200 => Listed::Done,
            _ => Listed::Later,
        }
    }
}

#[async_trait]
impl MailingList for Listmonk {
    fn batch(&self) -> usize {
        BATCH
    }

    async fn add(&self, list: &str, members: &[Member]) -> Vec<Listed> {
        let Ok(list) = list.parse::<u64>() else {
            return vec![Listed::Refused("a list's id is a number".into()); members.len()];
        };
        let emails: Vec<&str> = members.iter().map(|one| one.email.as_str()).collect();
        let Ok(known) = self.known(list, &emails).await else { return vec![Listed::Later; members.len()] };
        let open = |one: &Member| {
            let known = known.get(&one.email.as_str().to_lowercase())?;
            (!known.blocked && known.status.is_none()).then_some(known.id)
        };
        let ids: Vec<u64> = members.iter().filter_map(open).collect();
        let added = self.change(list, &ids, "add").await;
        let mut listed = Vec::with_capacity(members.len());
        for one in members {
            listed.push(match known.get(&one.email.as_str().to_lowercase()) {
                None => self.create(list, one).await,
                Some(known) if known.blocked || known.status.as_deref() == Some("unsubscribed") => Listed::Left,
                Some(known) if known.status.is_some() => Listed::Done,
                Some(_) => added.clone(),
            });
        }
        listed
    }

    async fn remove(&self, list: &str, emails: &[Email], why: Leaving) -> Vec<Listed> {
        let Ok(list) = list.parse::<u64>() else { return vec![Listed::Done; emails.len()] };
        let addresses: Vec<&str> = emails.iter().map(Email::as_str).collect();
        let Ok(known) = self.known(list, &addresses).await else { return vec![Listed::Later; emails.len()] };
        let ids: Vec<u64> = known.values().filter(|one| one.status.is_some()).map(|one| one.id).collect();
        let action = if why == Leaving::Withdrawn { "unsubscribe" } else { "remove" };
        let answer = self.change(list, &ids, action).await;
        vec![answer; emails.len()]
    }

    /// Polls the people who left, because listmonk has no webhooks. `subscription_status` has an effect only together
    /// with `list_id` (listmonk.app/docs/apis/subscribers).
    async fn left(&self, list: &str) -> Option<Vec<Email>> {
        let mut left = Vec::new();
        for page in 1..=PAGES {
            let (page, size) = (page.to_string(), PAGE.to_string());
            let request = self.caller.request(Method::GET, &format!("{}/subscribers", self.api));
            let asked =
                [("list_id", list), ("subscription_status", "unsubscribed"), ("page", &page), ("per_page", &size)];
            let request = request.basic_auth(&self.user, Some(&self.token)).query(&asked);
            let answer = self.caller.call(request).await.ok()?;
            let rows = answer.body.pointer("/data/results").and_then(Value::as_array)?;
            let emails = rows.iter().filter_map(|row| row.get("email")?.as_str()).flat_map(Email::parse_all);
            left.extend(emails);
            if rows.len() < PAGE {
                break;
            }
        }
        Some(left)
    }

    fn calls(&self) -> u64 {
        self.caller.calls()
    }
}
