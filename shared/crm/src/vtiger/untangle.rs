//! Contacts of people who were joined by mistake and parted again. Deals, phones, e-mails and chats go back to their
//! owners.

use serde_json::Value;
use stagedoor_engine::Parting;
use stagedoor_model::{Email, Identifier, Kind, Messenger, Phone, breakage};
use stagedoor_ports::{Gone, WriteOutcome};
use stagedoor_texts::{Language, MARK, Text, notes};

use crate::vtiger::{
    client::Vtiger,
    normalise::plain,
    notes_and_tasks, query,
    schema::Schema,
    transport::Failure,
    wire::{EMAILS, Fields, PHONES, deal_id},
};

impl Vtiger {
    pub(super) async fn part(&self, schema: &Schema, parting: &Parting) -> WriteOutcome {
        let mut fault = None;
        for deal in &parting.deals {
            match self.hang(schema, *deal, parting).await {
                WriteOutcome::Done(_) | WriteOutcome::Gone(Gone::Deal(_)) => {}
                // A refused deal does not stop the other deals from going back.
                refused @ WriteOutcome::Refused(_) => fault = Some(refused),
                other => return other,
            }
        }
        if let Err(failure) = self.give_back(schema, parting).await {
            tracing::warn!(?failure, "deals of parted people were not given back; tried again later");
            return WriteOutcome::NotSent;
        }
        let maker = self.contacts_of(schema);
        let id = schema.contacts.of(parting.contact);
        let held = match self.transport.get("retrieve", &[("id", &id)]).await {
            Ok(held) => held,
            Err(failure) => return maker.refused_or_later(parting.contact, failure).await,
        };
        let mut fields = Fields::new();
        let text = |place: &str| held.get(place).map(plain).unwrap_or_default();
        let region = self.settings.region;
        for place in PHONES.into_iter().chain(EMAILS) {
            let text = text(place);
            let phones = Phone::parse_all(&text, region).into_iter().map(Identifier::phone);
            let read: Vec<Identifier> =
                phones.chain(Email::parse_all(&text).into_iter().map(Identifier::email)).collect();
            if !read.is_empty() && read.iter().all(|one| parting.values.contains(one)) {
                fields.insert(place.into(), "".into());
            }
        }
        let is_theirs =
            |one: &Identifier, value: &str| one.kind() == Kind::Chat(Messenger::Telegram) && one.value() == value;
        if let Some(field) = schema.contacts.own("telegram") {
            let standing = text(field);
            if parting.values.iter().any(|one| is_theirs(one, &standing)) {
                fields.insert(field.into(), "".into());
            }
        }
        if parting.values.iter().any(|one| one.kind().is_chat()) {
            let chats = ["channels", "chat", "last_message"].into_iter().filter_map(|what| schema.contacts.own(what));
            fields.extend(chats.map(|field| (field.to_owned(), "".into())));
        }
        if let Some(field) = schema.contacts.own("id").filter(|_| !parting.kin.is_empty()) {
            fields.insert(field.to_owned(), parting.person.to_string().into());
        }
        let done = maker.revise(parting.contact, fields, &held).await;
        if matches!(done, WriteOutcome::Done(_)) {
            match self.is_called_duplicate(schema, parting).await {
                // Comments about a duplicate stay, because the webservice cannot remove them.
                Ok(true) => {
                    let said = match parting.is_of_one() {
                        true => notes::counts(),
                        false => notes::parted(),
                    };
                    let said = said.to(self.settings.language);
                    let comment = notes_and_tasks::comment(&id, &said, &schema.owner);
                    let made = notes_and_tasks::make(&self.transport, "ModComments", vec![comment]).await;
                    // The mark stands as long as nothing takes it back: the next run tries again.
                    if let Some(row @ (WriteOutcome::NotSent | WriteOutcome::Unknown)) = made.into_iter().next() {
                        return row;
                    }
                }
                Ok(false) => {}
                Err(failure) => return maker.refused_or_later(parting.contact, failure).await,
            }
        }
        if matches!(done, WriteOutcome::Done(_)) { fault.unwrap_or(done) } else { done }
    }

    /// True if the latest comment about it says that the contact is a duplicate of another person's contact.
    async fn is_called_duplicate(&self, schema: &Schema, parting: &Parting) -> Result<bool, Failure> {
        let is_unmarked = parting.kin.is_empty() && parting.no_duplicate_of.is_empty();
        if is_unmarked || breakage::is_on("duplicate-of-strangers-stays") {
            return Ok(false);
        }
        let condition = format!("related_to={}", query::literal(&schema.contacts.of(parting.contact)));
        let mut rows = query::all(&self.transport, "id,commentcontent", "ModComments", &condition).await?;
        rows.sort_by_key(|row| query::id(row).and_then(|id| query::number(&id)));
        let said = |row: &Value| {
            let text = row.get("commentcontent").map(plain)?;
            let of = called_duplicate_of(&text);
            let is_strange = |of: u64| !parting.kin.is_empty() && (of == parting.contact || !parting.kin.contains(&of));
            of.map(|of| is_strange(of) || parting.no_duplicate_of.contains(&of))
                .or_else(|| [notes::parted(), notes::counts()].iter().any(|one| begins(&text, one)).then_some(false))
        };
        Ok(rows.iter().rev().find_map(said).unwrap_or(false))
    }

    /// Moves other people's deals on this contact to their own contacts. If such a contact is gone, the run of its
    /// person finds another.
    async fn give_back(&self, schema: &Schema, parting: &Parting) -> Result<(), Failure> {
        if parting.others_deals.is_empty() {
            return Ok(());
        }
        let condition = format!("contact_id={}", query::literal(&schema.contacts.of(parting.contact)));
        for row in query::all(&self.transport, "id", "Potentials", &condition).await? {
            let Some(deal) = query::id(&row).and_then(|id| query::number(&id)) else { continue };
            let Some(home) = parting.others_deals.get(&deal).copied().flatten() else { continue };
            if self.hang(schema, deal, &Parting::of(parting.person, home)).await == WriteOutcome::NotSent {
                return Err(Failure::Lost);
            }
        }
        Ok(())
    }

    /// Moves the deal to the contact. With the other person's id it would count as a deal of that person.
    async fn hang(&self, schema: &Schema, deal: u64, parting: &Parting) -> WriteOutcome {
        let contact = parting.contact;
        // If the new contact is gone, the CRM empties the deal's reference and answers success.
        match self.missing_of(schema, &[Gone::Contact(contact)]).await.map(|gone| gone.first().copied()) {
            Ok(None) => {}
            Ok(Some(gone)) => return WriteOutcome::Gone(gone),
            Err(_) => return WriteOutcome::NotSent,
        }
        let mut fields = Fields::new();
        fields.insert("id".into(), schema.deals.of(deal).into());
        fields.insert("contact_id".into(), schema.contacts.of(contact).into());
        if let (Some(field), Some(show)) = (schema.deals.own("id"), parting.shows.get(&deal)) {
            fields.insert(field.to_owned(), deal_id(parting.person, show).into());
        }
        let element = Value::Object(fields).to_string();
        match self.transport.post("revise", &[("element", &element)]).await {
            Ok(_) => WriteOutcome::Done(deal),
            Err(failure) if failure.is_gone() => WriteOutcome::Gone(Gone::Deal(deal)),
            Err(Failure::Refused { code, message }) => WriteOutcome::Refused(format!("{message} ({code})")),
            Err(_) => WriteOutcome::NotSent,
        }
    }
}

/// The contact of which a comment says that another one is its duplicate, in any language.
fn called_duplicate_of(text: &str) -> Option<u64> {
    let of = |language| {
        let rest = text.strip_prefix(&notes::duplicate_of(MARK).around(language).0)?;
        query::number(rest.split(':').next()?)
    };
    Language::ALL.into_iter().find_map(of)
}

/// True if a comment begins as this text does up to its colon, in any language.
fn begins(comment: &str, text: &Text) -> bool {
    let of = |language| comment.starts_with(text.to(language).split(':').next().unwrap_or_default());
    Language::ALL.into_iter().any(of)
}
