//! The text of an alarm.

use stagedoor_model::Timestamp;
use stagedoor_texts::{Arg, Text, alarms};

use super::alarm::{Alarm, AlarmKind, Phase};

/// What the text of an alarm is made of, besides its number. It holds nothing personal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AlarmText {
    /// The reasons and who has to act.
    pub why: Vec<(String, String)>,
    /// Names with their numbers, such as queues.
    pub parts: Vec<(&'static str, u64)>,
    /// The longest usual silence, in hours of the kind (weekday, night, weekend) that is too long now.
    pub usual_hours: i64,
    /// True if the source never sent anything.
    pub is_new: bool,
    /// How often the alarm began since the last notice.
    pub untold: u32,
}

/// The text of an alarm.
pub(super) fn words(phase: Phase, alarm: &Alarm, told: &AlarmText) -> Text {
    match phase {
        Phase::Began if told.untold > 0 => alarms::again(holds(alarm, told), told.untold),
        Phase::Began => holds(alarm, told),
        Phase::Still => alarms::still(moment(alarm.since), holds(alarm, told)),
        Phase::Over => alarms::over(over(alarm)),
    }
}

fn moment(at: Timestamp) -> String {
    at.strftime("%F %H:%M UTC").to_string()
}

fn holds(alarm: &Alarm, told: &AlarmText) -> Text {
    let (count, source) = (alarm.count, alarm.source.as_deref().unwrap_or("?"));
    let since = moment(alarm.since);
    match alarm.kind {
        AlarmKind::PeopleWait => told.why.iter().fold(alarms::people_wait(count, since), |before, (why, who)| {
            alarms::why(before, Arg::Reason(why.clone()), Arg::Reason(who.clone()))
        }),
        AlarmKind::SignaturesRejected => alarms::rejected(source, count),
        AlarmKind::DeadLetters => {
            let parts: Vec<String> = told.parts.iter().map(|(name, number)| format!("{name} {number}")).collect();
            alarms::dead_letters(count, parts.join(", "))
        }
        AlarmKind::SourceSilent if told.is_new => alarms::silent_since_config(source, since),
        AlarmKind::SourceSilent => alarms::silent(source, since, told.usual_hours),
    }
}

fn over(alarm: &Alarm) -> Text {
    let source = alarm.source.as_deref().unwrap_or("?");
    match alarm.kind {
        AlarmKind::PeopleWait => alarms::people_wait_over(),
        AlarmKind::SignaturesRejected => alarms::rejected_over(source),
        AlarmKind::DeadLetters => alarms::dead_letters_over(),
        AlarmKind::SourceSilent => alarms::silent_over(source),
    }
}
