//! A proxy between the functions and the stand-in. It refuses what a function's role does not allow, as IAM does, and
//! counts every call with its capacity.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::{
    capacity::{Item, Table, Tables, read_half_units, size},
    stack::{Deployed, OneOrMany, REGION, STACK, Statement, credential},
};

/// Counts by caller and action.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Calls by (caller, `service:Action`).
    pub calls: BTreeMap<(String, String), u64>,
    /// Write units of a kilobyte by (caller, table).
    pub writes: BTreeMap<(String, String), u64>,
    /// Write units of the table `misc` by (caller, kind of row): the first word of the partition.
    pub misc_writes: BTreeMap<(String, String), u64>,
    /// Half units of reads by (caller, table).
    pub reads: BTreeMap<(String, String), u64>,
    /// Calls by (caller, action, resource).
    pub on: BTreeMap<(String, String, String), u64>,
    /// Everything that was allowed: (caller, action, resource).
    pub used: BTreeSet<(String, String, String)>,
    /// Everything that was refused: (caller, action, resource).
    pub refused: BTreeSet<(String, String, String)>,
}

impl Counts {
    /// Calls of an action on resources whose name ends so.
    pub fn calls_on(&self, who: &str, action: &str, end: &str) -> u64 {
        let own = self.on.iter().filter(|((by, what, on), _)| by == who && what == action && on.ends_with(end));
        own.map(|(_, count)| count).sum()
    }

    pub fn calls_of(&self, who: &str, action: &str) -> u64 {
        self.calls.iter().filter(|((by, what), _)| by == who && what == action).map(|(_, count)| count).sum()
    }

    /// True if this caller used the action on something that a statement's resource covers.
    pub fn does(&self, who: &str, action: &str, resource: &str) -> bool {
        self.used.iter().any(|(by, what, on)| by == who && what == action && covers(resource, on))
    }

    pub fn write_units(&self) -> u64 {
        self.writes.values().sum()
    }

    pub fn read_units(&self) -> f64 {
        self.reads.values().sum::<u64>() as f64 / 2.0
    }
}

#[derive(Default)]
struct Books {
    counts: Counts,
    /// The present items, to know what a write replaces.
    images: HashMap<(String, String), Item>,
    /// The caller whose write gets no answer, and after how many more writes.
    trip: Option<(String, u32, oneshot::Sender<()>)>,
    /// The action whose next calls fail before they take effect, and how many.
    throttle: Option<(String, u32)>,
}

#[derive(Clone)]
pub struct Meter {
    books: Arc<Mutex<Books>>,
    http: reqwest::Client,
    upstream: String,
    roles: Arc<BTreeMap<String, Vec<Statement>>>,
    tables: Arc<Tables>,
    turn: Arc<tokio::sync::Mutex<()>>,
    order: Arc<tokio::sync::Mutex<()>>,
    pub url: String,
    serving: Arc<JoinHandle<()>>,
}

impl Drop for Meter {
    fn drop(&mut self) {
        if Arc::strong_count(&self.serving) == 1 {
            self.serving.abort();
        }
    }
}

impl Meter {
    pub async fn start(upstream: &str, deployed: &Deployed) -> Self {
        let roles = deployed.functions.iter();
        let roles = roles.map(|(name, one)| (short(name).to_owned(), one.statements.clone())).collect();
        let tables = deployed.tables.iter().map(|(name, one)| (name.clone(), Table::of(one))).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let books = Arc::<Mutex<Books>>::default();
        let mut meter = Self {
            books,
            http: stagedoor_http::builder().build().expect("a client"),
            upstream: upstream.to_owned(),
            roles: Arc::new(roles),
            tables: Arc::new(tables),
            turn: Arc::default(),
            order: Arc::default(),
            url,
            serving: Arc::new(tokio::spawn(async {})),
        };
        let app = Router::new().fallback(handle).with_state(meter.clone());
        meter.serving = Arc::new(tokio::spawn(async move { _ = axum::serve(listener, app).await }));
        meter
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn counts(&self) -> Counts {
        self.books().counts.clone()
    }

    /// Lets the next writes of `who` take effect and withholds the answer of the last. The receiver then resolves.
    pub fn trip(&self, who: &str, after: u32) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.books().trip = Some((who.to_owned(), after, sender));
        receiver
    }

    /// Throttles the next calls of this action.
    pub fn throttle(&self, action: &str, calls: u32) {
        self.books().throttle = Some((action.to_owned(), calls));
    }

    fn allows(&self, who: &str, action: &str, resource: &str, keys: &BTreeSet<String>) -> bool {
        let Some(statements) = self.roles.get(who) else { return true };
        let matches = |patterns: &OneOrMany, what: &str| patterns.all().iter().any(|one| covers(one, what));
        statements.iter().any(|one| {
            let is_of_this = one.effect == "Allow" && matches(&one.action, action) && matches(&one.resource, resource);
            is_of_this && holds(&one.condition, keys)
        })
    }

    /// Forwards one call at a time: the stand-in cannot take more, and the images stay true.
    async fn forward(&self, headers: &HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
        let _turn = self.turn.lock().await;
        let mut request = self.http.post(&self.upstream).body(body);
        for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        match request.send().await {
            Ok(answer) => {
                let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
                (status, answer.bytes().await.unwrap_or_default())
            }
            Err(_) => (StatusCode::BAD_GATEWAY, Bytes::new()),
        }
    }

    async fn now_there(&self, table: &str, key: &Item) -> Option<Item> {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-target", "DynamoDB_20120810.GetItem".parse().ok()?);
        headers.insert("content-type", "application/x-amz-json-1.0".parse().ok()?);
        headers.insert("authorization", credential("meter", "dynamodb").parse().ok()?);
        let body = json!({ "TableName": table, "Key": key, "ConsistentRead": true });
        let (_, answer) = self.forward(&headers, body.to_string().into()).await;
        serde_json::from_slice::<Value>(&answer).ok()?.get("Item")?.as_object().cloned()
    }
}

fn short(function: &str) -> &str {
    function.strip_prefix(&format!("{STACK}-")).unwrap_or(function)
}

/// `Credential=<who>/<date>/<region>/<service>/aws4_request`.
fn scope(headers: &HeaderMap) -> (String, String) {
    let text = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
    let scope = text.split_once("Credential=").map_or("", |(_, rest)| rest);
    let mut parts = scope.split(['/', ',']);
    (parts.next().unwrap_or("").to_owned(), parts.nth(2).unwrap_or("").to_owned())
}

/// True if a policy's pattern covers the text. `*` stands for any letters.
fn covers(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|rest| covers(after, rest))),
    }
}

/// True if a statement's condition holds for a call with these partitions. Only conditions on leading keys are
/// supported.
fn holds(condition: &Value, keys: &BTreeSet<String>) -> bool {
    let conditions = condition.as_object().into_iter().flatten();
    conditions.into_iter().all(|(operator, wanted)| {
        assert!(operator.starts_with("ForAllValues:String"), "{operator} is not known here");
        let patterns = wanted.get("dynamodb:LeadingKeys").and_then(Value::as_array).into_iter().flatten();
        let patterns: Vec<&str> = patterns.filter_map(Value::as_str).collect();
        keys.iter().all(|key| patterns.iter().any(|pattern| covers(pattern, key)))
    })
}

/// Collects the partitions of the table `misc` that a call names.
fn leading_keys(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if [":pk", ":key", "pk"].contains(&name.as_str()) {
                    keys.extend(inner.get("S").and_then(Value::as_str).map(str::to_owned));
                }
                leading_keys(inner, keys);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| leading_keys(item, keys)),
        _ => {}
    }
}

/// The permissions that a call needs: actions with their resources.
fn needs(service: &str, operation: &str, body: &Value) -> Vec<(String, String)> {
    let arn = |rest: String| format!("arn:aws:{service}:{REGION}:123456789012:{rest}");
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("").to_owned();
    match service {
        "sqs" => {
            let url = text(body.get("QueueUrl"));
            let action = operation.strip_suffix("Batch").unwrap_or(operation);
            vec![(format!("sqs:{action}"), arn(url.rsplit('/').next().unwrap_or("").to_owned()))]
        }
        "ssm" => {
            let names = body.get("Names").and_then(Value::as_array).into_iter().flatten();
            names.map(|name| (format!("ssm:{operation}"), arn(format!("parameter{}", text(Some(name)))))).collect()
        }
        "dynamodb" if operation == "TransactWriteItems" => {
            let items = body.get("TransactItems").and_then(Value::as_array).into_iter().flatten();
            let item = |one: &Value| {
                let (kind, inner) = one.as_object()?.iter().next()?;
                let action = if kind == "ConditionCheck" { "ConditionCheckItem".into() } else { format!("{kind}Item") };
                Some((format!("dynamodb:{action}"), arn(format!("table/{}", text(inner.get("TableName"))))))
            };
            items.filter_map(item).collect()
        }
        "dynamodb" => {
            let tables: Vec<String> = match body.get("RequestItems").and_then(Value::as_object) {
                Some(many) => many.keys().cloned().collect(),
                None => vec![text(body.get("TableName"))],
            };
            let index = body.get("IndexName").and_then(Value::as_str);
            let resource = |table: String| match index {
                Some(index) => arn(format!("table/{table}/index/{index}")),
                None => arn(format!("table/{table}")),
            };
            tables.into_iter().map(|table| (format!("dynamodb:{operation}"), resource(table))).collect()
        }
        _ => vec![(format!("{service}:{operation}"), "*".into())],
    }
}

async fn handle(State(meter): State<Meter>, headers: HeaderMap, body: Bytes) -> Response {
    let (who, service) = scope(&headers);
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or("");
    let operation = target.rsplit('.').next().unwrap_or("").to_owned();
    let request: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let action = format!("{service}:{operation}");
    *meter.books().counts.calls.entry((who.clone(), action.clone())).or_default() += 1;
    let mut keys = BTreeSet::new();
    leading_keys(&request, &mut keys);
    for (action, resource) in needs(&service, &operation, &request) {
        let allowed = meter.allows(&who, &action, &resource, &keys);
        let mut books = meter.books();
        *books.counts.on.entry((who.clone(), action.clone(), resource.clone())).or_default() += 1;
        let list = if allowed { &mut books.counts.used } else { &mut books.counts.refused };
        list.insert((who.clone(), action.clone(), resource.clone()));
        if !allowed {
            let message = format!("User: {who} is not authorized to perform: {action} on resource: {resource}");
            return refusal("AccessDeniedException", &message);
        }
    }
    if meter.is_throttled(&action) {
        return refusal("ThrottlingException", "Rate of requests exceeds the allowed throughput.");
    }
    let (status, answer) = match service.as_str() {
        "dynamodb" => meter.dynamo(&who, &operation, request, &headers, body).await,
        _ => meter.forward(&headers, body).await,
    };
    if ["PutItem", "UpdateItem", "TransactWriteItems", "BatchWriteItem", "DeleteItem"].contains(&operation.as_str()) {
        meter.maybe_trip(&who).await;
    }
    (status, [("content-type", "application/x-amz-json-1.0")], answer).into_response()
}

fn refusal(kind: &str, message: &str) -> Response {
    let body = json!({ "__type": format!("com.amazonaws#{kind}"), "message": message });
    (StatusCode::BAD_REQUEST, [("content-type", "application/x-amz-json-1.0")], body.to_string()).into_response()
}

impl Meter {
    fn is_throttled(&self, action: &str) -> bool {
        let mut books = self.books();
        let Some((wanted, left)) = books.throttle.as_mut() else { return false };
        let hit = wanted == action && *left > 0;
        *left -= u32::from(hit);
        hit
    }

    async fn maybe_trip(&self, who: &str) {
        let tripped = {
            let mut books = self.books();
            match books.trip.as_mut() {
                Some((caller, left, _)) if caller == who => {
                    *left = left.saturating_sub(1);
                    if *left == 0 { books.trip.take() } else { None }
                }
                _ => None,
            }
        };
        if let Some((_, _, sender)) = tripped {
            _ = sender.send(());
            // The write took effect, and its answer never comes.
            std::future::pending::<()>().await;
        }
    }

    async fn dynamo(
        &self,
        who: &str,
        operation: &str,
        mut request: Value,
        headers: &HeaderMap,
        body: Bytes,
    ) -> (StatusCode, Bytes) {
        let writes = writes(operation, &request);
        if writes.is_empty() {
            let (status, answer) = self.forward(headers, body).await;
            self.count_reads(who, &request, &answer);
            return (status, answer);
        }
        // One write at a time, so that the images stay true.
        let _order = self.order.lock().await;
        if operation == "UpdateItem" && request.get("ReturnValues").is_none() {
            request["ReturnValues"] = json!("ALL_NEW");
        }
        let body = if operation == "UpdateItem" { request.to_string().into() } else { body };
        let (status, answer) = self.forward(headers, body).await;
        let done = status.is_success();
        let factor = if operation == "TransactWriteItems" { 2 } else { 1 };
        for write in writes {
            let Some(table) = self.tables.get(&write.table) else { continue };
            let place = (write.table.clone(), table.key_of(&write.key));
            let before = self.books().images.get(&place).cloned();
            let after = match write.after {
                _ if !done => before.clone(),
                After::Item(item) => Some(item),
                After::Gone => None,
                After::Updated if operation == "UpdateItem" => {
                    let answered = serde_json::from_slice::<Value>(&answer).ok();
                    answered.and_then(|one| one.get("Attributes")?.as_object().cloned())
                }
                After::Updated => self.now_there(&write.table, &write.key).await,
            };
            // A failed condition costs as much as the item that it read.
            let units = table.write_units(before.as_ref(), after.as_ref()) * factor;
            let mut books = self.books();
            if write.table.ends_with("-misc") {
                let partition = write.key.get("pk").and_then(|value| value.get("S")?.as_str()).unwrap_or("");
                let kind = partition.split('#').next().unwrap_or("").to_owned();
                *books.counts.misc_writes.entry((who.to_owned(), kind)).or_default() += units;
            }
            *books.counts.writes.entry((who.to_owned(), write.table)).or_default() += units;
            match after {
                Some(item) => _ = books.images.insert(place, item),
                None => _ = books.images.remove(&place),
            }
        }
        (status, answer)
    }

    fn count_reads(&self, who: &str, request: &Value, answer: &Bytes) {
        let answer: Value = serde_json::from_slice(answer).unwrap_or(Value::Null);
        let mut books = self.books();
        let mut add = |table: &str, units: u64| {
            *books.counts.reads.entry((who.to_owned(), table.to_owned())).or_default() += units;
        };
        let bytes = |item: &Value| item.as_object().map_or(0, size);
        let table = request.get("TableName").and_then(Value::as_str).unwrap_or("");
        let consistent = |one: &Value| one.get("ConsistentRead").and_then(Value::as_bool).unwrap_or(false);
        if let Some(many) = request.get("RequestItems").and_then(Value::as_object) {
            for (table, wanted) in many {
                let asked = wanted.get("Keys").and_then(Value::as_array).map_or(0, Vec::len);
                let found = answer.pointer(&format!("/Responses/{table}")).and_then(Value::as_array);
                let found: Vec<&Value> = found.into_iter().flatten().collect();
                let missing = asked.saturating_sub(found.len());
                let units = |size| read_half_units(size, consistent(wanted));
                add(table, found.iter().map(|one| units(bytes(one))).sum::<u64>() + units(0) * missing as u64);
            }
        } else if let Some(items) = answer.get("Items").and_then(Value::as_array) {
            add(table, read_half_units(items.iter().map(bytes).sum(), consistent(request)));
        } else {
            add(table, read_half_units(answer.get("Item").map_or(0, bytes), consistent(request)));
        }
    }
}

enum After {
    Item(Item),
    Updated,
    Gone,
}

struct Write {
    table: String,
    key: Item,
    after: After,
}

fn writes(operation: &str, request: &Value) -> Vec<Write> {
    let object = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
    let one = |kind: &str, body: &Value| {
        let table = body.get("TableName").and_then(Value::as_str).unwrap_or("").to_owned();
        let item = object(body.get("Item"));
        let key = object(body.get("Key"));
        match kind {
            "Put" => Some(Write { table, key: item.clone(), after: After::Item(item) }),
            "Update" => Some(Write { table, key, after: After::Updated }),
            "Delete" => Some(Write { table, key, after: After::Gone }),
            _ => None,
        }
    };
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => {
            one(operation.trim_end_matches("Item"), request).into_iter().collect()
        }
        "TransactWriteItems" => {
            let items = request.get("TransactItems").and_then(Value::as_array).into_iter().flatten();
            items.filter_map(|item| item.as_object()?.iter().next().and_then(|(kind, body)| one(kind, body))).collect()
        }
        "BatchWriteItem" => {
            let tables = request.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
            let rows = tables
                .flat_map(|(table, rows)| rows.as_array().into_iter().flatten().map(move |row| (table.clone(), row)));
            let row = |(table, row): (String, &Value)| {
                if let Some(put) = row.get("PutRequest") {
                    let item = object(put.get("Item"));
                    return Write { table, key: item.clone(), after: After::Item(item) };
                }
                Write { table, key: object(row.pointer("/DeleteRequest/Key")), after: After::Gone }
            };
            rows.map(row).collect()
        }
        _ => vec![],
    }
}
