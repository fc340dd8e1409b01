//! What an alarm says, in Russian and English.

use stagedoor_model::Timestamp;

use super::book::{Alarm, AlarmKind, Phase};

/// What the words of an alarm are made of, besides its number. Nothing of it is personal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Why, and who has to act, in English and in Russian.
    pub why: Option<(String, String)>,
    /// Names with their numbers, such as queues.
    pub parts: Vec<(&'static str, u64)>,
}

/// In English and in Russian.
pub(super) fn words(phase: Phase, alarm: &Alarm, told: &Told) -> (String, String) {
    let (english, russian) = match phase {
        Phase::Over => over(alarm),
        Phase::Began | Phase::Still => holds(alarm, told),
    };
    match phase {
        Phase::Began => (english, russian),
        Phase::Still => {
            let since = moment(alarm.since);
            (format!("Still, since {since}: {english}"), format!("Продолжается с {since}: {russian}"))
        }
        Phase::Over => (format!("Over: {english}"), format!("Закончилось: {russian}")),
    }
}

fn moment(at: Timestamp) -> String {
    at.strftime("%F %H:%M UTC").to_string()
}

fn holds(alarm: &Alarm, told: &Told) -> (String, String) {
    let (count, source) = (alarm.count, alarm.source.as_deref().unwrap_or("?"));
    match alarm.kind {
        AlarmKind::PeopleWait => {
            let since = moment(alarm.since);
            let (why, why_ru) = told.why.clone().unwrap_or_default();
            (
                format!("{count} people wait for the CRM, the longest since {since}.{why}"),
                format!("CRM ждут {count} чел., дольше всех с {since}.{why_ru}"),
            )
        }
        AlarmKind::SignaturesRejected => (
            format!(
                "source {source}: {count} deliveries with a wrong signature in ten minutes. \
                 Compare the secret with the provider's"
            ),
            format!(
                "источник {source}: за десять минут {count} доставок с неверной подписью. \
                 Сверьте секрет с тем, что у провайдера"
            ),
        ),
        AlarmKind::DeadLetters => {
            let parts: Vec<String> = told.parts.iter().map(|(name, number)| format!("{name} {number}")).collect();
            let parts = parts.join(", ");
            (
                format!(
                    "{count} messages were given up ({parts}). `stagedoor dead-letters` lists them; \
                     mend the cause, then `stagedoor redrive`"
                ),
                format!(
                    "отложено как необработанные: {count} ({parts}). Список: `stagedoor dead-letters`; \
                     устраните причину, затем `stagedoor redrive`"
                ),
            )
        }
    }
}

fn over(alarm: &Alarm) -> (String, String) {
    let source = alarm.source.as_deref().unwrap_or("?");
    match alarm.kind {
        AlarmKind::PeopleWait => {
            ("nobody waits long for the CRM any more".into(), "никто больше не ждёт CRM долго".into())
        }
        AlarmKind::SignaturesRejected => (
            format!("source {source}: no wrong signature for ten minutes"),
            format!("источник {source}: десять минут без неверных подписей"),
        ),
        AlarmKind::DeadLetters => {
            ("no messages are given up any more".into(), "необработанных сообщений больше нет".into())
        }
    }
}
