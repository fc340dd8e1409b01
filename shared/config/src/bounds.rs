//! Numbers and texts that can be read but cannot work. Each is an error at once, so that nobody waits in vain.

use serde_json::Value as Json;
use stagedoor_model::breakage;
use toml::de::{DeTable, DeValue};

use crate::reader::{Reader, Value, spot, table};

/// Sections and keys, with the lowest and highest working number.
const SECTIONS: [(&str, &str, i64, i64); 17] = [
    ("crm", "timeout_seconds", 1, 600),
    ("crm", "poll_seconds", 1, 86_400),
    ("crm", "late_seconds", 0, 86_400),
    ("second_crm", "timeout_seconds", 1, 600),
    ("second_crm", "poll_seconds", 1, 86_400),
    ("second_crm", "late_seconds", 0, 86_400),
    ("schedule", "pull_seconds", 1, 86_400),
    ("sms", "rate", 1, 1_000_000),
    ("smtp", "rate", 1, 1_000_000),
    ("smtp", "port", 1, 65_535),
    ("identity", "phones", 1, 1_000),
    ("identity", "emails", 1, 1_000),
    ("identity", "crowd", 1, 1_000),
    ("identity", "names", 1, 1_000),
    ("identity", "published", 1, 1_000),
    // Zero has an error message of its own.
    ("alarms", "waiting_minutes", 0, 10_080),
    ("alarms", "silent_hours", 0, 8_784),
];
/// The same bounds for sections with a name.
const NAMED: [(&str, &str, i64, i64); 2] = [("source", "rate", 1, 1_000_000), ("mailer", "rate", 1, 1_000_000)];
/// Options that are secrets. docs/providers lists each as a secret reference.
const SECRET_OPTIONS: [&str; 2] = ["token", "key"];

impl Reader<'_> {
    pub(crate) fn bounds(&mut self, root: &DeTable<'_>) {
        // A running function does not stop because of a number that was accepted before.
        if !self.reading.checks_secrets() || breakage::is_on("useless-values-pass") {
            return;
        }
        for (section, key, least, most) in SECTIONS {
            if let Some(value) = root.get(section) {
                self.bound(value, key, section, (least, most));
            }
        }
        for (section, key, least, most) in NAMED {
            for (name, value) in table(root, section) {
                self.bound(value, key, &format!("{section}.{name}"), (least, most));
            }
        }
    }

    fn bound(&mut self, value: &Value<'_>, key: &str, place: &str, (least, most): (i64, i64)) {
        let told = value.get_ref().get(key).and_then(|one| match one.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        });
        if told.is_some_and(|number| !(least..=most).contains(&number)) {
            let what = format!("must be {least} to {most}");
            self.errors.note(spot(value, key), format!("{place}.{key}"), what);
        }
    }

    /// Rejects options that hold a secret as plain text, because every reader of the file could see it.
    pub(crate) fn options_are_references(&mut self, options: &Json, value: &Value<'_>, place: &str) {
        for key in SECRET_OPTIONS {
            let is_plain = |text: &str| !["env:", "ssm:", "dev:"].iter().any(|prefix| text.starts_with(prefix));
            let text = options.get(key).and_then(Json::as_str);
            if text.is_some_and(is_plain) && !breakage::is_on("useless-values-pass") {
                let what = "not a secret reference, expected env:NAME, ssm:/path or dev:text";
                self.errors.note(spot(value, "options"), format!("{place}.options.{key}"), what);
            }
        }
    }
}
