//! The actions of managers and robots in the CRM.

use std::collections::BTreeSet;

use crate::{
    account::{Account, Contact},
    act::Actors,
    sand::Row,
    world::SHOWS,
};

/// A kind of action in the CRM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    AddPhone,
    /// A manager removes a value that the hub wrote. It must not come back.
    RemovePhone,
    /// A manager adds a contact of a human whom the hub may know already.
    AddContact,
    MoveDeal,
    DeleteDeal,
    DeleteContact,
    /// A manager restores a deleted row.
    Restore,
    /// A manager merges a marked duplicate into its contact.
    MergeDuplicate,
    RenameStage,
    DeleteCompany,
    /// A robot moves every deal that comes to the cart to a stage of managers.
    Robots,
}

impl Actors {
    pub fn manager(&mut self, work: Work) {
        let account = self.shared.crm.account();
        match work {
            Work::AddPhone => self.add_phone(&account),
            Work::RemovePhone => self.remove_phone(&account),
            Work::AddContact => self.add_contact(&account),
            Work::MoveDeal => self.move_deal(&account),
            Work::DeleteDeal => self.delete_deal(&account),
            Work::DeleteContact => self.delete_contact(&account),
            Work::Restore => self.restore(),
            Work::MergeDuplicate => self.merge_duplicate(&account),
            Work::RenameStage => self.rename_stage(),
            Work::DeleteCompany => self.delete_company(),
            Work::Robots => self.set_robots(),
        }
    }

    /// The humans who own values of a contact.
    fn owners(&self, contact: &Contact) -> BTreeSet<usize> {
        let humans = self.story.world.humans.iter().enumerate();
        let taken = self.story.removed_phones.iter().filter(|(id, _)| *id == contact.id).map(|(_, phone)| phone);
        let values: BTreeSet<&String> = contact.phones.iter().chain(&contact.emails).chain(taken).collect();
        let owns = humans.filter(|(_, human)| values.iter().any(|one| human.owns(one)));
        owns.map(|(index, _)| index).collect()
    }

    fn add_phone(&mut self, account: &Account) {
        let serial = self.serial();
        let Some(contact) = self.rng.pick(&account.contacts).cloned() else { return };
        if self.shared.calls.is_reading() {
            return;
        }
        let phone = format!("+7495300{serial:04}");
        if self.shared.crm.add_phone(contact.id, &phone) {
            self.story.tell(format!("a manager adds {phone} to contact {}", contact.id));
            self.story.added_phones.push((contact.id, phone));
        }
    }

    fn remove_phone(&mut self, account: &Account) {
        let Some(mut contact) = self.rng.pick(&account.contacts).cloned() else { return };
        if contact.phones.len() < 2 {
            return;
        }
        let Some(phone) = contact.phones.pop_last() else { return };
        self.story.tell(format!("a manager removes {phone} from contact {}", contact.id));
        self.shared.crm.remove_phone(contact.id, &phone);
        self.story.added_phones.retain(|(id, added)| *id != contact.id || *added != phone);
        self.story.removed_phones.push((contact.id, phone));
    }

    fn add_contact(&mut self, account: &Account) {
        let Some(who) = self.rng.pick(&self.story.world.humans).cloned() else { return };
        // `backfill` reads rows that were in the CRM before the hub, or that no webhook reported.
        if account.deals.is_empty() || self.story.hooks_lost {
            return;
        }
        let [phone, _] = &who.phones;
        self.story.tell(format!("a manager adds a contact of {} with {phone}", who.name));
        self.shared.crm.add_contact(&who.name, phone);
    }

    fn move_deal(&mut self, account: &Account) {
        let Some(deal) = self.rng.pick(&account.deals).cloned() else { return };
        let to = self.rng.either("Переговоры", "Закрыто и не реализовано");
        self.story.tell(format!("a manager moves deal {} to {to:?}", deal.id));
        self.shared.crm.move_deal(deal.id, to);
        self.story.moves.insert(deal.id, (self.story.quiet_at, to.to_owned()));
    }

    fn delete_deal(&mut self, account: &Account) {
        let Some(deal) = self.rng.pick(&account.deals).cloned() else { return };
        self.story.tell(format!("a manager deletes deal {}", deal.id));
        self.shared.crm.delete(Row::Deal, deal.id);
        self.story.bin.push((Row::Deal, deal.id));
        let holder = account.contacts.iter().find(|one| Some(one.id) == deal.contact);
        let owners = holder.map(|one| self.owners(one)).unwrap_or_default();
        for show in SHOWS.iter().filter(|show| show.key == deal.show) {
            self.story.deleted_deals.extend(owners.iter().map(|human| (*human, show.key)));
        }
    }

    fn delete_contact(&mut self, account: &Account) {
        let Some(contact) = self.rng.pick(&account.contacts).cloned() else { return };
        self.story.tell(format!("a manager deletes contact {}", contact.id));
        self.shared.crm.delete(Row::Contact, contact.id);
        self.story.bin.push((Row::Contact, contact.id));
        let owners = self.owners(&contact);
        self.story.deleted_humans.extend(owners);
    }

    fn restore(&mut self) {
        // A restored row stays as it was if no webhook reports it and nothing else happens to its person.
        if self.story.hooks_lost {
            return;
        }
        let Some((row, id)) = self.story.bin.pop() else { return };
        self.story.tell(format!("a manager restores {row:?} {id}"));
        self.shared.crm.restore(row, id);
        self.story.restored.push((row, id));
    }

    fn merge_duplicate(&mut self, account: &Account) {
        let pair = account.contacts.iter().filter(|one| one.duplicate).find_map(|gone| {
            let kept = account.contacts.iter().find(|one| !one.duplicate && Some(one.id) == gone.duplicate_of)?;
            Some((gone.id, kept.id))
        });
        let Some((gone, kept)) = pair else { return };
        self.story.tell(format!("a manager merges contact {gone} into {kept}"));
        self.shared.crm.merge_contacts(gone, kept);
        // The merged contact has the values of both, as far as it has room.
        self.story.removed_phones.retain(|(id, _)| *id != gone && *id != kept);
        let merged = self.shared.crm.account();
        let holds = |phone: &String| merged.contacts.iter().any(|one| one.id == kept && one.phones.contains(phone));
        self.story.added_phones.retain(|(id, phone)| *id != gone || holds(phone));
        self.story.added_phones.iter_mut().filter(|(id, _)| *id == gone).for_each(|(id, _)| *id = kept);
    }

    fn rename_stage(&mut self) {
        let (serial, stage) = (self.serial(), self.rng.either("Корзина", "Оплачено"));
        // The hub cannot know a stage that never bore its name in the config.
        if self.shared.crm.account().deals.is_empty() {
            return;
        }
        self.story.tell(format!("a manager renames the stage {stage:?}"));
        self.shared.crm.rename_stage(stage, &format!("{stage} {serial}"));
    }

    fn delete_company(&mut self) {
        let companies = self.shared.crm.companies();
        let Some(id) = self.rng.pick(&companies).copied() else { return };
        self.story.tell(format!("a manager deletes company {id}"));
        self.shared.crm.delete(Row::Company, id);
    }

    fn set_robots(&mut self) {
        self.story.tell("a robot moves deals from the cart on to \"Переговоры\" from here");
        self.story.robots = true;
        self.shared.crm.set_robot("Корзина", "Переговоры");
    }
}
