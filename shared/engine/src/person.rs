use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};
use stagedoor_model::{
    Conversation, Email, Fact, Identifier, Kind, Messenger, Phone, Promo, Record, RecordKey, Rung, SECOND_CRM,
    SourceName, Submission, Timestamp, TrackedLink, Verdict, breakage, clean_name,
};

use crate::{Entry, Later, PersonId, proofs};

/// Returns the two identifiers that a manager called one person.
fn same_person(record: &Record) -> Option<BTreeSet<&Identifier>> {
    let Fact::Decided { verdict: verdict @ Verdict::SamePerson(..), .. } = &record.fact else { return None };
    Some(verdict.identifiers())
}

/// A set of records that strong identifiers hold together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub id: PersonId,
    /// Key of the record that the person was made from.
    pub origin: RecordKey,
    pub born: Timestamp,
    pub records: BTreeMap<RecordKey, Record>,
    /// People who share an identifier with this one, and whom a guard keeps apart.
    #[serde(default, rename = "neighbours")]
    pub blocked_with: BTreeSet<PersonId>,
    /// Ids of people who were joined into this one.
    #[serde(default, rename = "absorbed")]
    pub merged_ids: BTreeSet<PersonId>,
    /// The records that those people were made from. Earlier builds stored none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub absorbed_origins: BTreeMap<PersonId, RecordKey>,
    /// People who shared facts with this one while they counted as one person, and who are parted since.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub parted: BTreeSet<PersonId>,
    /// People among them into whom this one was joined. Their states held all rows in the CRM meanwhile.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub absorbed_by: BTreeSet<PersonId>,
    /// Former addresses. They may still stand in the person's rows of the CRM.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub former: BTreeSet<Identifier>,
    /// Claims of this person that another person proves.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub contested: BTreeSet<Identifier>,
    /// Withdrawals through the person's addresses in other people's records. They are never stored: each evaluation
    /// of consent reads them anew.
    #[serde(skip)]
    pub withdrawn_beside: BTreeSet<Entry>,
    /// Fields that a later version stored.
    #[serde(skip)]
    pub later: Later,
}

impl Person {
    /// Returns identifiers that are proved to be the person's, or that a manager confirmed.
    pub fn identifiers(&self) -> BTreeSet<&Identifier> {
        let (mut proven, mut told, mut claimed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (mut joined, mut is_confirmed) = (Vec::new(), false);
        for record in self.records.values() {
            is_confirmed |= proofs::is_confirmation(record);
            claimed.extend(&record.claims);
            if record.is_of_somebody() { &mut proven } else { &mut told }.extend(&record.identifiers);
            joined.extend(same_person(record));
        }
        let is_named = |one: &&Identifier| proven.contains(one) || told.contains(one) || claimed.contains(one);
        joined.retain(|pair| pair.iter().all(is_named));
        // For an address that is only claimed, reports of providers and of the hub itself prove nothing.
        proven.extend(told.into_iter().filter(|one| is_confirmed || !claimed.contains(one)));
        proven.extend(joined.into_iter().flatten().filter(|one| !self.contested.contains(*one)));
        proven
    }

    /// Returns the two identifiers that a manager called one person, if `named`, all that name this person, has both.
    fn confirmed_by<'r>(&self, record: &'r Record, named: &BTreeSet<&Identifier>) -> Option<BTreeSet<&'r Identifier>> {
        let both = same_person(record)?;
        let is_theirs = both.iter().all(|one| named.contains(*one));
        is_theirs.then(|| both.into_iter().filter(|one| !self.contested.contains(*one)).collect())
    }

    /// Returns the claims: identifiers that somebody typed and nothing proves.
    pub fn claims(&self) -> BTreeSet<&Identifier> {
        let claims: BTreeSet<&Identifier> = self.records.values().flat_map(|record| &record.claims).collect();
        if claims.is_empty() {
            return claims;
        }
        let proven = self.identifiers();
        claims.into_iter().filter(|one| !proven.contains(one)).collect()
    }

    /// Returns all identifiers and claims of the records.
    pub fn identifiers_and_claims(&self) -> BTreeSet<&Identifier> {
        self.records.values().flat_map(|record| record.identifiers.iter().chain(&record.claims)).collect()
    }

    /// Returns the latest name; of two equally late ones the longer. A name that anybody can have sent counts only if
    /// there is no other. A contact made without a name has an e-mail or phone in its place, which is no name.
    pub fn name(&self) -> Option<&str> {
        self.name_among(|_| true).or_else(|| self.nickname())
    }

    /// Returns the name that the person, shops or forms gave, without names from the CRM.
    pub(crate) fn told_name(&self) -> Option<&str> {
        self.name_among(|record| !record.is_mirror())
    }

    fn name_among(&self, counts: impl Fn(&Record) -> bool) -> Option<&str> {
        let stand_ins = StandIns::of(self);
        let is_stand_in = |text: &str| match breakage::is_on("each-name-looks-through-all") {
            true => StandIns::of(self).hold(text),
            false => stand_ins.hold(text),
        };
        self.records
            .values()
            .filter(|record| counts(record))
            .filter_map(|record| Some((record, record.name.as_ref()?)))
            .filter(|(_, (_, text))| !is_stand_in(text))
            .max_by_key(|(record, (at, text))| {
                (!record.is_anonymous() || breakage::is_on("claimed-name-wins"), *at, text.len(), text)
            })
            .map(|(_, (_, text))| text.as_str())
    }

    /// Returns the latest nickname in a messenger. It counts only if there is no name.
    fn nickname(&self) -> Option<&str> {
        let profiles = self.conversations().filter_map(|(_, conversation)| conversation.profile.as_ref());
        let named = profiles.filter_map(|(at, profile)| Some((at, profile.nickname.as_deref()?)));
        named.max().map(|(_, nickname)| nickname)
    }

    /// Returns the person's conversations, each with its source.
    pub fn conversations(&self) -> impl Iterator<Item = (&SourceName, &Conversation)> {
        self.records.values().filter_map(|record| match &record.fact {
            Fact::Conversation(conversation) => Some((&record.source, conversation.as_ref())),
            _ => None,
        })
    }

    /// Returns the personal links that were made for the person.
    pub fn links(&self) -> impl Iterator<Item = &TrackedLink> {
        self.records.values().filter_map(|record| match &record.fact {
            Fact::Link(link) => Some(link),
            _ => None,
        })
    }

    /// Returns the promo codes that were issued to the person.
    pub fn promos(&self) -> impl Iterator<Item = &Promo> {
        self.records.values().filter_map(|record| match &record.fact {
            Fact::Promo(promo) => Some(promo),
            _ => None,
        })
    }

    /// Returns true if the text stands in for a name: a present or former address, a nickname, or a question mark.
    pub fn is_stand_in(&self, name: &str) -> bool {
        StandIns::of(self).hold(name)
    }

    /// Returns the proved phones, the oldest first.
    pub fn phones(&self) -> Vec<Phone> {
        self.values(Kind::Phone, false).filter_map(|text| Phone::try_from(text).ok()).collect()
    }

    /// Returns the phones that a manager may see, including claims that nobody else proves.
    pub fn shown_phones(&self) -> Vec<Phone> {
        self.values(Kind::Phone, true).filter_map(|text| Phone::try_from(text).ok()).collect()
    }

    /// Returns the e-mails that a manager may see, including claims that nobody else proves.
    pub fn shown_emails(&self) -> Vec<Email> {
        self.values(Kind::Email, true).filter_map(|text| Email::try_from(text).ok()).collect()
    }

    /// Returns the proved e-mails, the oldest first.
    pub fn emails(&self) -> Vec<Email> {
        self.values(Kind::Email, false).filter_map(|text| Email::try_from(text).ok()).collect()
    }

    /// Returns true if a manager could write to or call the person, or if the CRM has them already. The plan decides
    /// about people with only a chat.
    pub fn is_reachable(&self) -> bool {
        self.records.values().any(|record| {
            // Providers' reports make nobody a contact: a list may hold addresses that nobody confirmed.
            let told =
                matches!(record.fact, Fact::MailMessage(_) | Fact::Consent(_) | Fact::Membership { .. } | Fact::Moved);
            let chat = matches!(record.fact, Fact::Conversation(_) | Fact::Link(_) | Fact::Promo(_));
            !told
                && record.identifiers.iter().chain(&record.claims).any(|identifier| match identifier.kind() {
                    Kind::Phone | Kind::Email | Kind::CrmContact => true,
                    // Shops tell the Telegram id of a buyer.
                    Kind::Chat(messenger) => messenger == Messenger::Telegram && !chat,
                    Kind::Typed => identifier.is_unread(),
                    Kind::CrmLead
                    | Kind::Order
                    | Kind::Payment
                    | Kind::Customer
                    | Kind::SiteUser
                    | Kind::WhatsappUser
                    | Kind::Link
                    | Kind::Visitor
                    | Kind::Cookie => false,
                })
        })
    }

    /// Returns the person as one of two CRMs sees them. A contact in the other CRM becomes a plain submission.
    /// Deleted contacts and deals of the other CRM are left out.
    #[must_use]
    pub fn seen_by(&self, scope: &str) -> Self {
        let own = |record: &Record| (record.source.as_str() == SECOND_CRM) == (scope == SECOND_CRM);
        let told = |record: &Record| match &record.fact {
            Fact::CrmContact { changed_at, deleted: false, .. } if !own(record) => {
                let submission = Submission {
                    last: *changed_at,
                    rung: Rung::Interested,
                    show: None,
                    form: None,
                    amount: None,
                    consents: vec![],
                    labels: BTreeMap::new(),
                    company: None,
                    quiet: true,
                    is_anonymous: false,
                };
                let mut record = record.clone();
                record.identifiers.retain(|identifier| identifier.kind() != Kind::CrmContact);
                record.fact = Fact::Submission(submission);
                Some(record)
            }
            Fact::CrmContact { .. } | Fact::CrmLead { .. } if !own(record) => None,
            _ => Some(record.clone()),
        };
        let records = self.records.iter().filter_map(|(key, record)| Some((key.clone(), told(record)?))).collect();
        Self { records, ..self.clone() }
    }

    /// Returns the CRM's contacts of this person that are not deleted, the oldest (lowest id) first.
    pub fn contacts(&self) -> BTreeSet<u64> {
        self.records
            .values()
            .filter_map(|record| match record.fact {
                Fact::CrmContact { contact, deleted: false, .. } => Some(contact),
                _ => None,
            })
            .collect()
    }

    /// Returns true if a shop, a signed form, a messenger or the like proves a phone or e-mail of the person.
    fn is_proven_by_more_than_forms(&self) -> bool {
        let proves = |record: &Record| crate::proofs::proves(record) && record.is_of_somebody();
        let strong = |record: &Record| record.identifiers.iter().any(|one| one.kind().is_strong());
        self.records.values().any(|record| proves(record) && strong(record))
            && !breakage::is_on("confirmed-form-brings-all")
    }

    fn values(&self, kind: Kind, with_claims: bool) -> impl Iterator<Item = String> {
        let mut seen = BTreeMap::<&str, Timestamp>::new();
        let proven = self.identifiers();
        let contested = |one: &Identifier| self.contested.contains(one) && !breakage::is_on("contested-is-written");
        let is_proven = with_claims && self.is_proven_by_more_than_forms();
        // When a manager last said who this person is. Forms from before then are the person's.
        let decided_at = self.records.values().filter(|record| same_person(record).is_some()).map(|one| one.at).max();
        let is_decided = |form: &Record| decided_at >= Some(form.at);
        let named = decided_at.map(|_| self.identifiers_and_claims()).unwrap_or_default();
        for record in self.records.values() {
            // The message that joined the form proves its own address, but nothing else that a stranger typed beside
            // it.
            let is_shown = with_claims && !(is_proven && crate::proofs::is_claimed(record) && !is_decided(record));
            let claims = record.claims.iter().filter(|one| is_shown && !contested(one));
            let confirmed = self.confirmed_by(record, &named).into_iter().flatten();
            let told = record.identifiers.iter().filter(|one| with_claims || proven.contains(one));
            let all = told.chain(claims).chain(confirmed);
            for identifier in all.filter(|identifier| identifier.kind() == kind) {
                let at = seen.entry(identifier.value()).or_insert(record.at);
                *at = record.at.min(*at);
            }
        }
        let mut values: Vec<(Timestamp, String)> = seen.into_iter().map(|(value, at)| (at, value.to_owned())).collect();
        values.sort();
        values.into_iter().map(|(_, value)| value)
    }
}

/// The person's texts that stand in for a name, collected once.
struct StandIns<'p> {
    nicknames: BTreeSet<Cow<'p, str>>,
    addresses: BTreeSet<&'p str>,
}

impl<'p> StandIns<'p> {
    fn of(person: &'p Person) -> Self {
        let mut nicknames = BTreeSet::new();
        for (_, conversation) in person.conversations() {
            let nickname = conversation.profile.as_ref().and_then(|(_, profile)| profile.nickname.as_deref());
            nicknames.extend(nickname.and_then(clean_name).map(Cow::Owned));
            nicknames.extend(nickname.map(Cow::Borrowed));
        }
        let own = person.records.values().flat_map(|record| record.identifiers.iter().chain(&record.claims));
        let own = own.chain(person.former.iter().filter(|_| !breakage::is_on("former-address-is-a-name")));
        let own = own.filter(|one| matches!(one.kind(), Kind::Phone | Kind::Email));
        Self { nicknames, addresses: own.map(Identifier::value).collect() }
    }

    fn hold(&self, name: &str) -> bool {
        let is_unknown = name == "?" || name.starts_with("? № ");
        is_unknown || self.nicknames.contains(name) || self.addresses.contains(name)
    }
}
