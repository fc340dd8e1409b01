//! The figures of `stagedoor status`.

use stagedoor_sync::UNKNOWN_ZONES;
use stagedoor_texts::{Arg, Language, commands as texts};

use crate::{
    alarms::{self, Alarm},
    backup,
    hub::Hub,
};

impl Hub {
    /// Reads the figures of `status`.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub async fn status(&self) -> Result<Status, stagedoor_ports::PortError> {
        let totals = self.store.totals().await?;
        Ok(Status {
            queue_depth: self.queue.depth().await? + self.queues.chats.depth().await?,
            outbox: self.queues.outbox.depth().await?,
            oldest_seconds: self.seconds_since(self.queue.oldest().await?),
            waiting_seconds: self.seconds_since(totals.waiting_since),
            dead_letters: self.queue.dead_letters().await?
                + self.queues.chats.dead_letters().await?
                + self.queues.outbox.dead_letters().await?,
            waiting: totals.waiting,
            rejected: totals.rejected,
            people: totals.people,
            deals: totals.deals,
            events: totals.events,
            unrecognized: totals.unrecognized,
            unreadable: totals.unreadable,
            waiting_reason: vec![],
            unknown_zones: vec![],
            advertising_held_since: None,
            rules_asked: None,
            alarms: vec![],
        })
    }

    /// As [`Hub::status`], with the reasons why people and events wait.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub async fn status_with_reasons(&self) -> Result<Status, stagedoor_ports::PortError> {
        let status = self.status().await?;
        let waiting_reason = stagedoor_sync::waiting_reasons(self.store.as_ref()).await?;
        let zones = self.store.key_values(UNKNOWN_ZONES).await?;
        let told = zones.keys().filter_map(|name| name.strip_prefix(UNKNOWN_ZONES)?.split_once('/'));
        let unknown_zones = told.map(|(source, zone)| format!("{zone} ({source})")).collect();
        let advertising_held_since = backup::held_since(self).await?;
        let rules_asked = stagedoor_sync::rules_progress(&*self.store).await?;
        let alarms = alarms::ringing(&*self.store).await?;
        Ok(Status { waiting_reason, unknown_zones, advertising_held_since, rules_asked, alarms, ..status })
    }
}

impl Status {
    /// The figures in lines for a terminal.
    pub fn lines(&self, language: Language) -> Vec<String> {
        let mut queue = texts::queue(self.queue_depth);
        if let Some(seconds) = self.oldest_seconds {
            queue = texts::oldest(queue, seconds);
        }
        let mut waiting = texts::waiting(self.waiting);
        if let Some(seconds) = self.waiting_seconds {
            waiting = texts::longest(waiting, seconds);
        }
        let mut lines = vec![
            queue,
            texts::outbox(self.outbox),
            texts::dead_letters(self.dead_letters),
            waiting,
            texts::parked(self.rejected),
            texts::unrecognized(self.unrecognized),
            texts::in_all(self.people, self.deals, self.events),
        ];
        lines.extend((self.unreadable > 0).then(|| texts::unreadable(self.unreadable)));
        lines.extend(self.rules_asked.map(|asked| texts::new_rules(asked, self.people)));
        for one in &self.alarms {
            let text = if language == Language::Russian { &one.text_ru } else { &one.text };
            lines.push(texts::alarm(one.kind.name(), one.since.to_string(), text));
        }
        let mut lines: Vec<String> = lines.iter().map(|line| line.to(language)).collect();
        for one in &self.waiting_reason {
            let (reason, who) = (Arg::Reason(one.reason.clone()), Arg::Reason(one.who_acts.clone()));
            lines.push(texts::why(reason).to(language));
            let since = one.since.to_string();
            let act = match one.until {
                Some(until) => texts::act_until(since, until.to_string(), who),
                None => texts::act(since, who),
            };
            let act = if one.people > 0 { texts::people_wait(one.people, act) } else { act };
            lines.push(format!("              {}", act.to(language)));
        }
        let held = self.advertising_held_since.as_ref().map(|since| texts::advertising_held(since.to_string()));
        let zones = (!self.unknown_zones.is_empty()).then(|| texts::zones(self.unknown_zones.join(", ")));
        lines.extend(held.into_iter().chain(zones).map(|line| line.to(language)));
        lines
    }
}

/// What `status --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Status {
    /// Events that are not yet folded.
    pub queue_depth: u64,
    /// Messages that wait to be sent.
    #[serde(default)]
    pub outbox: u64,
    /// The age of the oldest event in seconds, where the queue can tell.
    pub oldest_seconds: Option<u64>,
    pub dead_letters: u64,
    /// People whose CRM rows may differ from what they should be.
    pub waiting: u64,
    /// The longest wait of these people, in seconds.
    pub waiting_seconds: Option<u64>,
    /// People with a row that the CRM refused.
    #[serde(rename = "parked")]
    pub rejected: u64,
    pub people: u64,
    /// Deals in the CRM.
    pub deals: u64,
    pub events: u64,
    pub unrecognized: u64,
    /// Stored people and events that this version cannot read.
    #[serde(default)]
    pub unreadable: u64,
    /// The reasons why people and events wait, the longest wait first. Only [`Hub::status_with_reasons`] fills it.
    #[serde(default)]
    pub waiting_reason: Vec<stagedoor_sync::WaitingReason>,
    /// Zones of shows that are no IANA zones, each with its source.
    #[serde(default)]
    pub unknown_zones: Vec<String>,
    /// The time of the restore since which advertising is held, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertising_held_since: Option<String>,
    /// How many people were checked against new segments and mailings, while the check is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules_asked: Option<u64>,
    /// Alarms that ring on one machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<Alarm>,
}
