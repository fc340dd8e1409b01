//! The text of an alarm, in Russian and English.

use stagedoor_model::Timestamp;

use super::book::{Alarm, AlarmKind, Phase};

/// What the text of an alarm is made of, besides its number. It holds nothing personal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AlarmText {
    /// The reason and who has to act, in English and in Russian.
    pub why: Option<(String, String)>,
    /// Names with their numbers, such as queues.
    pub parts: Vec<(&'static str, u64)>,
    /// The longest usual silence, in hours of the kind (weekday, night, weekend) that is too long now.
    pub usual_hours: i64,
    /// True if the source never sent anything.
    pub is_new: bool,
    /// How often the alarm began since the last notice.
    pub untold: u32,
}

/// The text in English and in Russian.
pub(super) fn words(phase: Phase, alarm: &Alarm, told: &AlarmText) -> (String, String) {
    let (english, russian) = match phase {
        Phase::Over => over(alarm),
        Phase::Began | Phase::Still => holds(alarm, told),
    };
    match phase {
        Phase::Began if told.untold > 0 => {
            let times = told.untold;
            (
                format!("{english}. It began {times} more times since the last message"),
                format!("{russian}. С прошлого сообщения начиналось ещё раз: {times}"),
            )
        }
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

fn holds(alarm: &Alarm, told: &AlarmText) -> (String, String) {
    let (count, source) = (alarm.count, alarm.source.as_deref().unwrap_or("?"));
    match alarm.kind {
        AlarmKind::PeopleWait => {
            let since = moment(alarm.since);
            let (why, why_ru) = told.why.clone().unwrap_or_default();
            (
                format!("people wait for the CRM: {count}, the longest since {since}.{why}"),
                format!("CRM ждут {count} чел., дольше всех с {since}.{why_ru}"),
            )
        }
        AlarmKind::SignaturesRejected => (
            format!(
                "source {source}: deliveries with a wrong signature in ten minutes: {count}, or from another origin. \
                 Compare the secret with the provider's, and the site or account with the options"
            ),
            format!(
                "источник {source}: доставок с неверной подписью за десять минут: {count}, или с другого адреса. \
                 Сверьте секрет с тем, что у провайдера, а сайт или аккаунт — с настройками"
            ),
        ),
        AlarmKind::DeadLetters => {
            let parts: Vec<String> = told.parts.iter().map(|(name, number)| format!("{name} {number}")).collect();
            let parts = parts.join(", ");
            (
                format!(
                    "messages were given up: {count} ({parts}). `stagedoor dead-letters` lists them; \
                     mend the cause, then `stagedoor redrive`"
                ),
                format!(
                    "отложено как необработанные: {count} ({parts}). Список: `stagedoor dead-letters`; \
                     устраните причину, затем `stagedoor redrive`"
                ),
            )
        }
        AlarmKind::SourceSilent if told.is_new => {
            let since = moment(alarm.since);
            (
                format!(
                    "source {source}: nothing came since it stands in the config ({since}). Look whether its webhook is \
                     set at the provider"
                ),
                format!(
                    "источник {source}: с тех пор как он в конфигурации ({since}), ничего не пришло. \
                     Проверьте, настроен ли вебхук у провайдера"
                ),
            )
        }
        AlarmKind::SourceSilent => {
            let (since, hours) = (moment(alarm.since), told.usual_hours);
            (
                format!(
                    "source {source}: nothing came since {since}; in four weeks its longest gap was {hours} h. Look whether \
                     its webhook is still set at the provider"
                ),
                format!(
                    "источник {source}: с {since} ничего не приходит; за четыре недели самый долгий перерыв был {hours} ч. \
                     Проверьте, не отключён ли вебхук у провайдера"
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
        AlarmKind::SourceSilent => {
            (format!("source {source} sends again"), format!("источник {source} снова присылает данные"))
        }
    }
}
