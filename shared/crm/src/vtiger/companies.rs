//! Organisations. In the shipped CRM a name is unique, and the error does not say which record holds it (recorded:
//! account_same_name). So the hub first looks for an existing organisation by its own field, by the tax id, and by the
//! name.

use std::collections::BTreeMap;

use serde_json::Map;
use stagedoor_engine::CompanyDraft;
use stagedoor_ports::WriteOutcome;
use stagedoor_texts::{Language, crm};

use crate::vtiger::{
    create::{Maker, New},
    normalise::{normalise_fields, plain},
    query::{self, IN},
    schema::Module,
    transport::Failure,
    wire::Fields,
};

/// The fields that are written if they are empty. The rest of an organisation belongs to its manager.
pub(super) fn fields(draft: &CompanyDraft, module: &Module, language: Language) -> Fields {
    let mut row = Map::new();
    let mut put = |field: Option<&str>, value: &str| {
        if let Some(field) = field.filter(|_| !value.is_empty()) {
            row.insert(field.to_owned(), normalise_fields(field, value).into());
        }
    };
    put(Some("accountname"), &draft.name);
    put(module.own("id"), &draft.key);
    put(module.own("inn"), draft.inn.as_deref().unwrap_or_default());
    put(module.own("kpp"), draft.kpp.as_deref().unwrap_or_default());
    put(Some("description"), &described(draft, module, language));
    row
}

fn described(draft: &CompanyDraft, module: &Module, language: Language) -> String {
    let mut lines = Vec::new();
    // If the module has no fields for them, the description holds them.
    let inn = draft.inn.iter().filter(|_| module.own("inn").is_none()).map(crm::company_inn);
    let kpp = draft.kpp.iter().filter(|_| module.own("kpp").is_none()).map(crm::company_kpp);
    lines.extend(inn.chain(kpp));
    lines.extend(draft.unchecked.iter().map(crm::company_no_tax_id));
    if !draft.domains.is_empty() {
        let all: Vec<&str> = draft.domains.iter().map(String::as_str).collect();
        lines.push(crm::company_domains(all.join(", ")));
    }
    lines.iter().map(|line| line.to(language)).collect::<Vec<_>>().join("\n")
}

pub(super) async fn put(
    maker: &Maker<'_>,
    rows: &[(Option<u64>, CompanyDraft)],
    owner: &str,
    language: Language,
) -> Vec<WriteOutcome> {
    let fresh: Vec<&CompanyDraft> = rows.iter().filter(|(id, _)| id.is_none()).map(|(_, draft)| draft).collect();
    let known = match look_up(maker, &fresh).await {
        Ok(known) => known,
        Err(failure) => {
            tracing::warn!(?failure, "companies could not be looked up");
            return vec![WriteOutcome::NotSent; rows.len()];
        }
    };
    let mut done = Vec::new();
    for (id, draft) in rows {
        let row = match id.or_else(|| known.get(&draft.key).copied()) {
            Some(number) => fill(maker, number, fields(draft, maker.module, language)).await,
            None => {
                let mut fields = fields(draft, maker.module, language);
                fields.insert("assigned_user_id".into(), owner.into());
                maker.create_unlooked(New { key: draft.key.clone(), fields }).await
            }
        };
        done.push(row);
    }
    done
}

/// Writes only the fields that are empty.
async fn fill(maker: &Maker<'_>, number: u64, fields: Fields) -> WriteOutcome {
    let id = maker.module.of(number);
    let Ok(held) = maker.transport.get("retrieve", &[("id", &id)]).await else {
        return maker.update(number, Fields::new()).await;
    };
    let empty = |field: &String| held.get(field).map(plain).unwrap_or_default().is_empty();
    let fields = fields.into_iter().filter(|(field, _)| empty(field)).collect();
    maker.revise(number, fields, &held).await
}

/// The value of a company for one way to find it.
type FieldOf = fn(&CompanyDraft) -> String;

async fn look_up(maker: &Maker<'_>, drafts: &[&CompanyDraft]) -> Result<BTreeMap<String, u64>, Failure> {
    let mut known = BTreeMap::new();
    let ways: [(Option<&str>, FieldOf); 3] = [
        (maker.module.own("id"), |draft| draft.key.clone()),
        (maker.module.own("inn"), |draft| draft.inn.clone().unwrap_or_default()),
        (Some("accountname"), |draft| normalise_fields("accountname", &draft.name)),
    ];
    for (field, value) in ways {
        let Some(field) = field else { continue };
        let wanted: Vec<(String, &&CompanyDraft)> = drafts
            .iter()
            .filter(|draft| !known.contains_key(&draft.key))
            .map(|draft| (value(draft), draft))
            .filter(|(value, _)| !value.is_empty())
            .collect();
        for chunk in wanted.chunks(IN) {
            let list = query::list(chunk.iter().map(|(value, _)| value.as_str()));
            let (columns, condition) = (format!("id,{field}"), format!("{field} in ({list})"));
            for row in query::all(maker.transport, &columns, maker.module.name, &condition).await? {
                let (Some(number), held) = (query::id(&row).and_then(|id| query::number(&id)), row.get(field)) else {
                    continue;
                };
                let held = held.map(plain).unwrap_or_default().trim().to_lowercase();
                let mine = chunk.iter().filter(|(value, _)| value.trim().to_lowercase() == held);
                mine.for_each(|(_, draft)| _ = known.entry(draft.key.clone()).or_insert(number));
            }
        }
    }
    Ok(known)
}

/// The number of the organisation that holds the invoices of single visitors.
pub(super) async fn visitors(maker: &Maker<'_>, name: &str, owner: &str) -> WriteOutcome {
    let draft = CompanyDraft {
        key: format!("visitors:{name}"),
        name: name.to_owned(),
        inn: None,
        kpp: None,
        unchecked: None,
        domains: Default::default(),
    };
    // It has a name alone, so it has no words in any language.
    put(maker, &[(None, draft)], owner, Language::default()).await.pop().unwrap_or(WriteOutcome::NotSent)
}
