//! stagedoor.toml: sources, pipelines, shows, and references to secrets. All errors are reported at once, with their
//! lines.

mod alarms;
mod audience;
mod bounds;
mod checked;
mod claims;
mod configured;
mod conversation;
mod crm;
mod error;
mod hub;
mod labels;
mod listeners;
mod mailings;
mod payments;
mod pools;
mod reader;
mod retention;
mod schema;
mod schema_hub;
mod schema_mailings;
mod secrets;
mod shows;
mod sms_length;
mod validate;
mod whole_file;

pub use alarms::{AlarmConfig, AlarmWebhook};
pub use checked::{Config, Credentials, CrmConfig, MailerConfig, SmsConfig, SmtpConfig};
pub use configured::Configured;
pub use error::{ConfigError, ConfigErrors};
pub use hub::is_development;
pub use listeners::Listeners;
pub use reader::Reading;
pub use retention::Retention;
pub use schema::{CrmKind, MailerProvider, SmsProvider};
pub use schema_mailings::Encryption;
pub use secrets::{LocalSecrets, Secrets, variable};
pub use validate::{load, load_for};

/// The JSON Schema of the file. The repository keeps a copy.
#[cfg(feature = "schemas")]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(whole_file::StagedoorToml).to_value()
}
