use std::collections::BTreeMap;

#[cfg(feature = "schemas")]
use schemars::JsonSchema;

use crate::{
    schema::{
        CampaignSection, ConsentSection, CrmSection, IdentitySection, ListSection, MailerSection, PipelineSection,
        PromoSection, ReplySection, ReportSection, SandboxSection, ScheduleSection, SegmentSection, ShowSection,
        SmsSection, SourceSection,
    },
    schema_hub::HubSection,
    schema_mailings::{MailingSection, MannersSection, SmtpSection},
};

/// The whole file, for its JSON Schema; it is read section by section, so that one mistake hides no other.
#[derive(Debug)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[allow(dead_code, reason = "the schema is made of it")]
pub struct StagedoorToml {
    hub: HubSection,
    crm: CrmSection,
    second_crm: Option<CrmSection>,
    identity: Option<IdentitySection>,
    schedule: Option<ScheduleSection>,
    retention: Option<crate::retention::RetentionSection>,
    alarms: Option<crate::alarms::AlarmsSection>,
    sandbox: Option<SandboxSection>,
    sms: Option<SmsSection>,
    smtp: Option<SmtpSection>,
    manners: Option<MannersSection>,
    mailing: Option<BTreeMap<String, MailingSection>>,
    consent: Option<ConsentSection>,
    claims: Option<crate::claims::ClaimsSection>,
    report: Option<ReportSection>,
    segment: Option<BTreeMap<String, SegmentSection>>,
    mailer: Option<BTreeMap<String, MailerSection>>,
    list: Option<BTreeMap<String, ListSection>>,
    campaign: Option<BTreeMap<String, CampaignSection>>,
    promo: Option<BTreeMap<String, PromoSection>>,
    reply: Option<Vec<ReplySection>>,
    pipeline: Vec<PipelineSection>,
    show: Option<Vec<ShowSection>>,
    source: BTreeMap<String, SourceSection>,
}
