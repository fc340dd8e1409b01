//! What managers and robots do in the CRM.

use serde_json::json;

use crate::{account, act::Actors};

/// A kind of work that managers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    AddPhone,
    MoveDeal,
    DeleteDeal,
    DeleteContact,
}

impl Actors {
    pub fn manager(&mut self, work: Work) {
        let account = account::of_amocrm(&self.shared.amocrm, &self.shared.stages);
        match work {
            Work::AddPhone => {
                let serial = self.serial();
                let Some(contact) = self.rng.pick(&account.contacts).cloned() else { return };
                let phone = format!("+7495300{serial:04}");
                let phones = contact.phones.iter().chain([&phone]);
                let values: Vec<_> = phones.map(|one| json!({ "value": one, "enum_code": "MOB" })).collect();
                let body = json!({ "custom_fields_values": [{ "field_code": "PHONE", "values": values }] });
                self.story.tell(format!("a manager adds {phone} to contact {}", contact.id));
                self.shared.amocrm.changed_by_manager("contacts", contact.id, body);
                self.story.added_phones.push((contact.id, phone));
            }
            Work::MoveDeal => {
                let Some(deal) = self.rng.pick(&account.deals).cloned() else { return };
                let to = self.rng.either("Переговоры", "Закрыто и не реализовано");
                let Some(stage) = self.shared.amocrm.stage("Тур", to) else { return };
                self.story.tell(format!("a manager moves deal {} to {to:?}", deal.id));
                self.shared.amocrm.moved_by_manager(deal.id, stage);
                self.story.moves.insert(deal.id, (self.story.quiet_at, to.to_owned()));
            }
            Work::DeleteDeal => {
                let Some(deal) = self.rng.pick(&account.deals).cloned() else { return };
                self.story.tell(format!("a manager deletes deal {}", deal.id));
                self.shared.amocrm.deleted_by_manager("leads", deal.id);
                let holder = account.contacts.iter().find(|one| Some(one.id) == deal.contact);
                let humans = self.story.world.humans.iter().enumerate();
                let owners = humans.filter(|(_, human)| {
                    holder.is_some_and(|one| one.phones.iter().chain(&one.emails).any(|value| human.owns(value)))
                });
                let owners: Vec<usize> = owners.map(|(index, _)| index).collect();
                let shows = crate::world::SHOWS.iter().filter(|show| show.key == deal.show);
                for show in shows {
                    self.story.deleted_deals.extend(owners.iter().map(|human| (*human, show.key)));
                }
            }
            Work::DeleteContact => {
                let Some(contact) = self.rng.pick(&account.contacts).cloned() else { return };
                self.story.tell(format!("a manager deletes contact {}", contact.id));
                self.shared.amocrm.deleted_by_manager("contacts", contact.id);
                let humans = self.story.world.humans.iter().enumerate();
                let owners =
                    humans.filter(|(_, human)| contact.phones.iter().chain(&contact.emails).any(|one| human.owns(one)));
                self.story.deleted_humans.extend(owners.map(|(index, _)| index));
            }
        }
    }
}
