//! Step 4: turns segment membership into membership of mailing lists, in bulk. As with rows in the CRM, the wanted
//! state is compared with the known state, so that the hub recovers from outages and crashes. Two rules always hold.
//! A person is added only if their consent holds at the moment of the call. A person who may be on a list is known to
//! be on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::SignedDuration;
use stagedoor_engine::{Enrolment, Leaving, Member, PersonId, Place, enrolment, may_advertise};
use stagedoor_model::{
    Body, Channel, ConsentRecorded, Email, Event, EventId, Identifier, SourceName, Timestamp, breakage,
};
use stagedoor_ports::{Listed, MailingList, PortError, read_withdrawals};
use tokio::time::Instant;

use crate::{Sync, run::SyncRun};

/// Delay before people whom a list did not take are tried again.
const LATER: SignedDuration = SignedDuration::from_secs(60);

/// Time of a run that one account with mailing lists may use.
const BUDGET: Duration = Duration::from_secs(10);

/// One address of one person.
struct ListTask {
    person: PersonId,
    member: Member,
}

/// Calls of one kind to one list. Removals come before additions.
type Kind = (bool, String, Option<Leaving>);

impl Sync {
    /// Works independently of the CRM. A failure here is tried again in a minute and delays nobody.
    pub(crate) async fn enrol(&self, sync_run: &SyncRun) -> Result<(), PortError> {
        if self.catalog.lists.is_empty() {
            return Ok(());
        }
        let mut work = BTreeMap::<Kind, Vec<ListTask>>::new();
        for (person, step) in sync_run.enrolments(&self.catalog) {
            let (kind, member) = match step {
                Enrolment::Add { list, member } => ((true, list, None), member),
                Enrolment::Remove { list, email, why } => ((false, list, Some(why)), Member { email, name: None }),
            };
            work.entry(kind).or_default().push(ListTask { person, member });
        }
        let mut mailers = BTreeMap::<String, Vec<(Kind, Vec<ListTask>)>>::new();
        for (kind, tasks) in work {
            let Some(rule) = self.catalog.lists.iter().find(|rule| rule.name == kind.1) else { continue };
            mailers.entry(rule.mailer.clone()).or_default().push((kind, tasks));
        }
        // Accounts are called one after the other, so that a person who withdraws meanwhile is added to no further
        // list. An account that did not answer comes last. It costs the others its budget once, then nothing while it
        // rests.
        let mut mailers: Vec<_> = mailers.into_iter().collect();
        mailers.sort_by_key(|(mailer, _)| self.breakers.is_on_trial(&breaker_of(mailer)));
        let mut later = BTreeSet::new();
        for (mailer, work) in mailers {
            later.extend(self.enrol_at(sync_run, &mailer, work).await?);
        }
        if !later.is_empty() {
            let at = self.clock.now() + LATER;
            self.store.schedule_rechecks(&later.into_iter().map(|id| (id, at)).collect()).await?;
        }
        Ok(())
    }

    /// Makes the calls to one account, within its budget of a run. Returns the people to look at again.
    async fn enrol_at(
        &self,
        sync_run: &SyncRun,
        mailer_name: &str,
        work: Vec<(Kind, Vec<ListTask>)>,
    ) -> Result<BTreeSet<PersonId>, PortError> {
        let Some(mailer) = self.lists.get(mailer_name) else { return Ok(BTreeSet::new()) };
        let breaker = breaker_of(mailer_name);
        let (mut later, mut is_over) = (BTreeSet::new(), self.breakers.rest(&breaker, self.clock.now()).is_some());
        let mut until = Instant::now() + BUDGET;
        if breakage::is_on("list-holds-round") {
            until += BUDGET * 1_000;
        }
        for ((_, name, why), mut tasks) in work {
            let Some(rule) = self.catalog.lists.iter().find(|rule| rule.name == name) else { continue };
            tasks.sort_by(|a, b| a.member.email.cmp(&b.member.email));
            let batch = mailer.batch().max(1);
            while !tasks.is_empty() {
                let rest = tasks.split_off(tasks.len().min(batch));
                let chunk = std::mem::replace(&mut tasks, rest);
                is_over = is_over || sync_run.is_over() || !self.lease().await?;
                let people: BTreeSet<PersonId> = chunk.iter().map(|task| task.person).collect();
                if is_over {
                    // Another process reconciles, or the time is up. The undone work is kept beyond the run.
                    later.extend(people);
                    continue;
                }
                let call = self.call_list(sync_run, &name, &rule.id, mailer.as_ref(), why, chunk);
                match tokio::time::timeout_at(until, call).await {
                    Ok(called) => {
                        later.extend(called?);
                        if self.breakers.succeeded(&breaker) {
                            self.note_list(mailer_name, None).await;
                        }
                    }
                    // This is as if the process ended during the call: the next run calls again.
                    Err(_) => {
                        is_over = true;
                        later.extend(people);
                        if let Some(since) = self.breakers.failed(&breaker, self.clock.now(), true) {
                            tracing::warn!(list = mailer_name, %since, "the mailing list does not answer in time");
                            self.note_list(mailer_name, Some(since)).await;
                        }
                    }
                }
            }
        }
        Ok(later)
    }

    /// Makes one bulk call. Returns the people to look at again.
    async fn call_list(
        &self,
        sync_run: &SyncRun,
        name: &str,
        list: &str,
        mailer: &dyn MailingList,
        why: Option<Leaving>,
        tasks: Vec<ListTask>,
    ) -> Result<BTreeSet<PersonId>, PortError> {
        let (tasks, answers) = match why {
            Some(why) => {
                let emails: Vec<Email> = tasks.iter().map(|task| task.member.email.clone()).collect();
                let answers = mailer.remove(list, &emails, why).await;
                (tasks, answers)
            }
            None => {
                // Before the call they are noted as perhaps on the list, and their consent is checked again. A
                // withdrawal may have been folded since the run began.
                let adding = |task| (task, Place::Adding { again: sync_run.was_out(name, task) });
                let intended: Vec<(PersonId, String, Place)> = tasks.iter().map(adding).map(pair).collect();
                let intended = sync_run.place(name, intended.into_iter());
                self.keep(sync_run, intended).await?;
                let tasks = self.still_consenting(tasks).await?;
                let members: Vec<Member> = tasks.iter().map(|task| task.member.clone()).collect();
                let answers = if members.is_empty() { vec![] } else { mailer.add(list, &members).await };
                (tasks, answers)
            }
        };
        let (mut placed, mut gone, mut left, mut later) = (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
        for (task, answer) in tasks.iter().zip(answers) {
            match (answer, why) {
                (Listed::Done, None) => placed.push(pair((task, Place::Enrolled))),
                (Listed::Done | Listed::Left, Some(Leaving::Withdrawn)) => placed.push(pair((task, Place::Out))),
                (Listed::Done | Listed::Left, Some(Leaving::Segment)) => {
                    gone.push((task.person, task.member.email.as_str().to_owned()))
                }
                // The hub removed them. They consented again, and the provider wants to hear that from them.
                (Listed::Left, None) if sync_run.was_out(name, task) => {
                    placed.push(pair((task, Place::Left { at: sync_run.at })));
                }
                (Listed::Left, None) => {
                    placed.push(pair((task, Place::Left { at: sync_run.at })));
                    left.push(task.member.email.clone());
                }
                (Listed::Refused(reason), None) => placed.push(pair((task, Place::Refused { reason }))),
                (Listed::Refused(reason), Some(_)) => {
                    tracing::warn!(list = name, reason, "a list does not let an address go; tried again");
                    later.insert(task.person);
                }
                (Listed::Later, _) => _ = later.insert(task.person),
            }
        }
        // The consent ledger comes first: once the place is saved, no process asks this list again.
        self.tell_left(name, sync_run.at, left).await?;
        let mut changed = sync_run.place(name, placed.into_iter());
        changed.extend(sync_run.unplace(name, &gone));
        self.keep(sync_run, changed).await?;
        Ok(later)
    }

    async fn still_consenting(&self, tasks: Vec<ListTask>) -> Result<Vec<ListTask>, PortError> {
        let ids: BTreeSet<PersonId> = tasks.iter().map(|task| task.person).collect();
        let mut people: BTreeMap<PersonId, stagedoor_engine::Person> =
            self.store.load(&ids).await?.into_iter().map(|one| (one.value.id, one.value)).collect();
        read_withdrawals(&*self.store, &mut people.values_mut().collect::<Vec<_>>()).await?;
        let holds = |task: &ListTask| {
            // A person who was joined into another meanwhile is asked in the next run.
            let address = Identifier::email(task.member.email.clone());
            let policy = &self.catalog.consent;
            people.get(&task.person).is_some_and(|one| may_advertise(one, Channel::Email, &address, policy, None))
        };
        Ok(tasks.into_iter().filter(holds).collect())
    }

    /// Records people who left a list at the provider as having left everywhere. The consent ledger passes it to the
    /// CRM and to every other list.
    pub(crate) async fn tell_left(&self, list: &str, at: Timestamp, left: Vec<Email>) -> Result<(), PortError> {
        if left.is_empty() {
            return Ok(());
        }
        let source = SourceName::new(list).or_else(|_| SourceName::new("list"));
        let source = source.map_err(|error| PortError::Fail(error.into()))?;
        let events = left.into_iter().map(|email| {
            let address = Identifier::email(email);
            // A person who came back may leave again.
            let id = EventId::derive(&source, &["left", address.value(), &at.as_second().to_string()]);
            let said = ConsentRecorded::withdrawn(address, Channel::Email, "unsubscribe");
            Event::new(&source, id, at, Body::ConsentRecorded(said))
        });
        let failed = self.fold(events.enumerate().collect()).await;
        if failed.is_empty() { Ok(()) } else { Err(PortError::Retry("a withdrawal was not saved".into())) }
    }
}

fn breaker_of(mailer: &str) -> String {
    format!("list/{mailer}")
}

fn pair((task, place): (&ListTask, Place)) -> (PersonId, String, Place) {
    (task.person, task.member.email.as_str().to_owned(), place)
}

impl SyncRun {
    fn enrolments(&self, catalog: &stagedoor_engine::Catalog) -> Vec<(PersonId, Enrolment)> {
        let person_runs = self.person_runs();
        let steps = person_runs.iter().flat_map(|(id, person_run)| {
            enrolment(&person_run.person, &person_run.link, catalog).into_iter().map(|step| (*id, step))
        });
        steps.collect()
    }

    fn was_out(&self, list: &str, task: &ListTask) -> bool {
        let person_runs = self.person_runs();
        let place = person_runs
            .get(&task.person)
            .and_then(|person_run| person_run.link.lists.get(list)?.get(task.member.email.as_str()));
        place.is_some_and(Place::was_out)
    }

    fn place(&self, list: &str, places: impl Iterator<Item = (PersonId, String, Place)>) -> BTreeSet<PersonId> {
        let (mut person_runs, mut changed) = (self.person_runs(), BTreeSet::new());
        for (person, address, place) in places {
            let Some(person_run) = person_runs.get_mut(&person) else { continue };
            let known = person_run.link.lists.entry(list.to_owned()).or_default();
            if known.get(&address) != Some(&place) {
                known.insert(address, place);
                changed.insert(person);
            }
        }
        changed
    }

    fn unplace(&self, list: &str, gone: &[(PersonId, String)]) -> BTreeSet<PersonId> {
        let (mut person_runs, mut changed) = (self.person_runs(), BTreeSet::new());
        for (person, address) in gone {
            let Some(person_run) = person_runs.get_mut(person) else { continue };
            if let Some(known) = person_run.link.lists.get_mut(list) {
                known.remove(address);
                if known.is_empty() {
                    person_run.link.lists.remove(list);
                }
                changed.insert(*person);
            }
        }
        changed
    }
}
