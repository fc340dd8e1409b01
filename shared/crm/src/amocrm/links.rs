//! Links between rows (amocrm.ru/developers/content/crm_platform/entity-links-api): a contact or a lead with its
//! company, a lead with its contact. A refused link concerns only the rows at its two ends.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use stagedoor_model::breakage;
use stagedoor_ports::{CrmError, Gone, WriteOutcome};

use crate::amocrm::{
    bulk::{self, BATCH},
    schema::{self, items, number},
    transport::{Failure, Transport},
};

/// A link from a row of `entity` to another row.
pub struct Link {
    pub from: u64,
    /// `contacts` or `companies`.
    pub to_entity: &'static str,
    pub to: u64,
}

impl Link {
    fn row(&self) -> Value {
        let mut row = json!({ "entity_id": self.from, "to_entity_id": self.to, "to_entity_type": self.to_entity });
        if self.to_entity == "contacts"
            && let Some(row) = row.as_object_mut()
        {
            row.insert("metadata".into(), json!({ "is_main": true }));
        }
        row
    }
}

/// Creates these links and returns an outcome for each of them. A repeated call changes nothing.
pub async fn link(transport: &Transport, entity: &str, links: &[Link]) -> Vec<WriteOutcome> {
    let path = format!("/api/v4/{entity}/link");
    let mut answers = vec![WriteOutcome::NotSent; links.len()];
    let all: Vec<usize> = (0..links.len()).collect();
    let mut work: Vec<Vec<usize>> = all.chunks(BATCH).rev().map(<[usize]>::to_vec).collect();
    let mut there = BTreeMap::new();
    while let Some(batch) = work.pop() {
        let body: Vec<Value> = batch.iter().filter_map(|index| Some(links.get(*index)?.row())).collect();
        let answer = match transport.call(Method::POST, &path, Some(&Value::Array(body))).await {
            Ok(_) => WriteOutcome::Done(0),
            Err(Failure::Refused(_)) if breakage::is_on("link-4xx-stops-all") => break,
            // The errors do not name rows reliably. The batch is halved until it holds only the faulty link.
            Err(Failure::Refused(_) | Failure::TooLarge) if batch.len() > 1 => {
                let (first, second) = batch.split_at(batch.len() / 2);
                work.extend([second.to_vec(), first.to_vec()]);
                continue;
            }
            Err(Failure::Refused(problem)) => {
                let Some(link) = batch.first().and_then(|index| links.get(*index)) else { continue };
                match ends(transport, entity, link, &mut there).await {
                    Ok(Some(gone)) => WriteOutcome::Gone(gone),
                    Ok(None) => WriteOutcome::Refused(bulk::detail(&problem)),
                    Err(error) => {
                        tracing::warn!(%error, "the ends of a link could not be looked up");
                        break;
                    }
                }
            }
            Err(Failure::Lost | Failure::TooSlow | Failure::TooLarge) => WriteOutcome::Unknown,
            Err(Failure::Unusable(error)) => {
                tracing::warn!(%error, entity, "links were not made; tried again later");
                break;
            }
        };
        for index in batch {
            if let Some(place) = answers.get_mut(index) {
                *place = answer.clone();
            }
        }
    }
    answers
}

type There = BTreeMap<(String, u64), bool>;

/// The end of a refused link that is deleted, if there is one.
async fn ends(transport: &Transport, entity: &str, link: &Link, there: &mut There) -> Result<Option<Gone>, CrmError> {
    for (entity, id) in [(link.to_entity, link.to), (entity, link.from)] {
        if !is_there(transport, entity, id, there).await? {
            return Ok(Some(match entity {
                "companies" => Gone::Company(id),
                "contacts" => Gone::Contact(id),
                _ => Gone::Deal(id),
            }));
        }
    }
    Ok(None)
}

async fn is_there(transport: &Transport, entity: &str, id: u64, there: &mut There) -> Result<bool, CrmError> {
    if let Some(known) = there.get(&(entity.to_owned(), id)) {
        return Ok(*known);
    }
    // The CRM answers 204 for a deleted row.
    let found = schema::get(transport, &format!("/api/v4/{entity}/{id}")).await?.is_some();
    there.insert((entity.to_owned(), id), found);
    Ok(found)
}

/// Moves the deals of the first contact of each pair to the second, because the public API cannot merge contacts. A
/// repeated call changes nothing. Returns an outcome for each pair.
///
/// # Errors
/// If the deals cannot be looked up.
pub async fn move_deals(transport: &Transport, rows: &[(u64, u64)]) -> Result<Vec<WriteOutcome>, CrmError> {
    let ids: Vec<String> = rows.iter().map(|(contact, _)| format!("filter%5Bentity_id%5D%5B%5D={contact}")).collect();
    let path = format!("/api/v4/contacts/links?filter%5Bto_entity_type%5D=leads&{}", ids.join("&"));
    let answer = schema::get(transport, &path).await?;
    let mut links = Vec::new();
    for link in items(answer.as_ref(), "links") {
        let is_lead = schema::text(link, "to_entity_type").as_deref() == Some("leads");
        let (Some(contact), Some(lead)) = (number(link, "entity_id"), number(link, "to_entity_id")) else { continue };
        let of = rows.iter().find(|(id, _)| *id == contact).map(|(_, of)| *of);
        links.extend(of.filter(|_| is_lead).map(|of| (contact, Link { from: lead, to_entity: "contacts", to: of })));
    }
    let (owners, links): (Vec<u64>, Vec<Link>) = links.into_iter().unzip();
    let answers = link(transport, "leads", &links).await;
    let mut moved: BTreeMap<u64, WriteOutcome> = BTreeMap::new();
    for (owner, answer) in owners.into_iter().zip(answers) {
        // A deal that was deleted in the meantime needs no new contact.
        if !matches!(answer, WriteOutcome::Done(_) | WriteOutcome::Gone(Gone::Deal(_))) {
            moved.insert(owner, answer);
        }
    }
    Ok(rows.iter().map(|(contact, _)| moved.remove(contact).unwrap_or(WriteOutcome::Done(*contact))).collect())
}
