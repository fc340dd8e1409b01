//! Imports questionnaires of the box office and old lists from CSV. Reports every error with its row. A dry run shows
//! what would happen, and a second import changes nothing.

mod charset;

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use stagedoor_engine::{Standing, ledger, standing};
use stagedoor_model::{
    Body, Channel, ConsentClaim, Email, Event, EventId, FormSubmitted, Identifier, MARKETING, Phone, Proof, SourceName,
    Timestamp, breakage,
};

pub use self::charset::text_of;
use crate::hub::Hub;

/// Events of one call to the queue.
const CHUNK: usize = 500;
const COLUMNS: [&str; 10] = [
    "email",
    "phone",
    "name",
    "tags",
    "email_consent",
    "sms_consent",
    "call_consent",
    "messenger_consent",
    "consent_at",
    "wording",
];

/// The origin of the consents in a file.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The proof that a consent export shows, such as `questionnaires of May 2027, box office`.
    pub source: String,
    /// `paper`: each person signed. `list`: an old list, which never overrides a withdrawal.
    pub method: String,
    pub wording: Option<String>,
    /// The file's name without its folder.
    pub file: String,
}

/// A valid row of the file.
pub struct ImportRow {
    pub number: usize,
    form: FormSubmitted,
    at: Timestamp,
    key: String,
}

/// Reads a file. Errors name row and column; the values are personal and are not repeated.
pub fn read(text: &str, origin: &Origin, hub: &Hub) -> (Vec<ImportRow>, Vec<String>) {
    let first = text.lines().next().unwrap_or("");
    let delimiter = if first.matches(';').count() >= first.matches(',').count().max(1) { b';' } else { b',' };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let headers: Vec<String> = match reader.headers() {
        Ok(headers) => headers.iter().map(str::to_lowercase).collect(),
        Err(_) => return (vec![], vec!["the first row cannot be read: it names the columns".into()]),
    };
    let unknown: Vec<&str> = headers.iter().map(String::as_str).filter(|name| !COLUMNS.contains(name)).collect();
    if !unknown.is_empty() || !headers.iter().any(|name| name == "email" || name == "phone") {
        let known = COLUMNS.join(", ");
        return (
            vec![],
            vec![format!("row 1: unknown columns {unknown:?}; there are {known}, and email or phone is needed")],
        );
    }
    let doubled = headers.iter().enumerate().filter(|(at, name)| headers.iter().take(*at).any(|one| one == *name));
    let doubled: BTreeSet<&str> = doubled.map(|(_, name)| name.as_str()).collect();
    if !doubled.is_empty() && !breakage::is_on("cells-lost-unsaid") {
        return (vec![], vec![format!("row 1: {doubled:?} stands twice; put what belongs together into one column")]);
    }
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    let mut record = csv::StringRecord::new();
    for number in 2.. {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                wrong.push(format!("row {number}: it is not UTF-8"));
                // An error of a record is noted and reading goes on; an error of the reader ends it.
                if error.is_io_error() {
                    break;
                }
                continue;
            }
        }
        let key_values: Vec<&str> = record.iter().collect();
        if let Some(what) = misread(&headers, &key_values, char::from(delimiter)) {
            let first = record.position().map_or(0, csv::Position::line);
            let last = reader.position().line().saturating_sub(1);
            let swallowed =
                if last > first { format!(" (lines {first} to {last} of the file)") } else { String::new() };
            wrong.push(format!("row {number}: {what}{swallowed}"));
            continue;
        }
        let field = |name: &str| {
            let at = headers.iter().position(|known| known == name)?;
            record.get(at).filter(|text| !text.is_empty())
        };
        match one(number, &field, origin, hub) {
            Ok(row) => rows.push(row),
            Err(what) => wrong.push(format!("row {number}: {what}")),
        }
    }
    (rows, wrong)
}

/// An error if the columns were probably read wrongly.
fn misread(headers: &[String], key_values: &[&str], delimiter: char) -> Option<String> {
    if breakage::is_on("cells-lost-unsaid") {
        return None;
    }
    let name_of = |at: usize| headers.get(at).cloned().unwrap_or_else(|| format!("column {}", at + 1));
    if let Some(at) = key_values.iter().position(|key_value| key_value.contains(['\n', '\r'])) {
        return Some(format!(
            "{}: the cell goes on in the next line; close its quotation mark, or write it in one line",
            name_of(at)
        ));
    }
    let surplus = key_values.iter().skip(headers.len()).position(|key_value| !key_value.is_empty());
    surplus.map(|at| {
        format!(
            "{}: it has no name in the first row; put a cell that holds \"{delimiter}\" between quotation marks",
            name_of(headers.len() + at)
        )
    })
}

fn one<'f>(
    number: usize,
    field: &impl Fn(&str) -> Option<&'f str>,
    origin: &Origin,
    hub: &Hub,
) -> Result<ImportRow, String> {
    let mut identifiers = BTreeSet::new();
    if let Some(email) = field("email") {
        let emails = Email::parse_all(email);
        let unread = emails.is_empty().then(|| Email::parse(email).map_err(|error| format!("email: {error}")));
        identifiers.extend(unread.transpose()?.into_iter().chain(emails).map(Identifier::email));
    }
    if let Some(phone) = field("phone") {
        let phones = Phone::parse_all(phone, hub.config.region);
        let unread = phones
            .is_empty()
            .then(|| Phone::parse(phone, hub.config.region).map_err(|error| format!("phone: {error}")));
        identifiers.extend(unread.transpose()?.into_iter().chain(phones).map(Identifier::phone));
    }
    if identifiers.is_empty() {
        return Err("neither an e-mail nor a phone".into());
    }
    let wording = field("wording").map(str::to_owned).or_else(|| origin.wording.clone());
    let mut consents = Vec::new();
    for channel in Channel::ALL {
        let column = format!("{}_consent", channel.name());
        let given = match field(&column).map(str::to_lowercase).as_deref() {
            None => continue,
            Some("yes" | "да" | "1" | "true" | "+") => true,
            Some("no" | "нет" | "0" | "false" | "-") => false,
            Some(_) => return Err(format!("{column}: expected yes or no")),
        };
        if given && !identifiers.iter().any(|one| channel.reaches(one.kind())) && channel != Channel::Messenger {
            return Err(format!("{column}: the row has no address of that kind"));
        }
        consents.push(ConsentClaim { purpose: MARKETING.into(), channel, given, wording: wording.clone() });
    }
    let at = field("consent_at").map(|told| time(told, hub)).transpose()?;
    let at = match at {
        Some(at) => at,
        None if consents.is_empty() => hub.sync.clock.now(),
        None => return Err("consent_at: a consent without its date proves nothing".into()),
    };
    if at > hub.sync.clock.now() {
        return Err("consent_at: it lies in the future".into());
    }
    let told = ["email", "phone", "consent_at", "email_consent", "sms_consent", "call_consent", "messenger_consent"];
    let told: Vec<&str> = told.iter().map(|name| field(name).unwrap_or("")).collect();
    let key = hex::encode(Sha256::digest(format!("{}\n{}", origin.source, told.join("\n"))));
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut labels = BTreeMap::from([
        label("consent_method", &origin.method),
        label("consent_source", &origin.source),
        label("consent_file", &origin.file),
        label("consent_row", &number.to_string()),
    ]);
    labels.extend(field("tags").map(|tags| label("tags", tags)));
    let name = field("name").map(str::to_owned);
    let form = FormSubmitted {
        identifiers,
        proof: Proof::Signed,
        name,
        form: None,
        show: None,
        company: None,
        amount: None,
        consents,
        labels,
    };
    Ok(ImportRow { number, form, at, key })
}

fn time(told: &str, hub: &Hub) -> Result<Timestamp, String> {
    if let Ok(at) = told.parse::<Timestamp>() {
        return Ok(at);
    }
    let day = ["%Y-%m-%d", "%d.%m.%Y"].iter().find_map(|format| jiff::civil::Date::strptime(format, told).ok());
    let zone = hub.config.catalog.zone.clone().unwrap_or(TimeZone::UTC);
    let start = day.and_then(|day| zone.to_timestamp(day.at(0, 0, 0, 0)).ok());
    start.ok_or_else(|| {
        "consent_at: expected a day such as 2027-05-16 or 16.05.2027, or a time such as 2027-05-16T19:00:00+03:00"
            .into()
    })
}

/// What each row would do, one line a row.
///
/// # Errors
/// When the store cannot be read.
pub async fn dry_run(hub: &Hub, rows: &[ImportRow]) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for row in rows {
        let owners = hub.store.resolve(&row.form.identifiers).await.map_err(|error| error.to_string())?.owners;
        let ids: BTreeSet<_> = owners.into_values().collect();
        let people = hub.store.load(&ids).await.map_err(|error| error.to_string())?;
        let who = match people.len() {
            0 => "a new person".to_owned(),
            1 => "a known person".to_owned(),
            several => format!("joins {several} known people"),
        };
        let mut news = Vec::new();
        for claim in &row.form.consents {
            let withdrawn = people.iter().any(|person| {
                let now =
                    standing(&ledger(&person.value), MARKETING, claim.channel, None, &hub.config.catalog.consent, None);
                matches!(now, Standing::Withdrawn(entry) if entry.at >= row.at || row.is_list())
            });
            news.push(match (claim.given, withdrawn) {
                (true, true) => format!("{}: stays withdrawn", claim.channel.name()),
                (true, false) => format!("{}: yes", claim.channel.name()),
                (false, _) => format!("{}: withdrawn", claim.channel.name()),
            });
        }
        let news = if news.is_empty() { "no word on consent".to_owned() } else { news.join(", ") };
        lines.push(format!("row {}: {who}; {news}", row.number));
    }
    Ok(lines)
}

impl ImportRow {
    fn is_list(&self) -> bool {
        self.form.labels.get("consent_method").is_some_and(|method| method == "list")
    }
}

/// Queues the rows as events. `progress` gets the number of queued rows.
///
/// # Errors
/// When the queue does not take the events. A second run is safe, because rows that are there change nothing.
pub async fn run(hub: &Hub, rows: Vec<ImportRow>, progress: impl Fn(usize)) -> Result<usize, String> {
    let own = SourceName::new("import")?;
    let (count, now) = (rows.len(), hub.sync.clock.now());
    let events: Vec<Event> = rows
        .into_iter()
        .map(|row| {
            let id = EventId::derive(&own, &[&row.key]);
            Event::new(&own, id, row.at, Body::QuestionnaireImported(row.form)).received_by(now)
        })
        .collect();
    let mut queued = 0;
    for chunk in events.chunks(CHUNK) {
        hub.queue.send(chunk.to_vec()).await.map_err(|error| error.to_string())?;
        queued += chunk.len();
        progress(queued);
    }
    Ok(count)
}
