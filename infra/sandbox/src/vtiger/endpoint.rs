//! The one endpoint: operations and their methods, access, and the form of answers.

use std::collections::BTreeMap;

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State as Shared},
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, header};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::{
    Fields, Session, State, VtigerSandbox,
    answer::{Answer, FORBIDDEN, Wrong, denied, wrong},
    modules::result_of,
    records::clock,
    vtql,
};
use crate::{
    faults::{self, FaultKind},
    responses,
};

/// Each operation has one fixed method and its parameters.
const OPERATIONS: [(&str, &Method, &[&str]); 19] = [
    ("getchallenge", &Method::GET, &["username"]),
    ("listtypes", &Method::GET, &["fieldTypeList"]),
    ("describe", &Method::GET, &["elementType"]),
    ("retrieve", &Method::GET, &["id"]),
    ("query", &Method::GET, &["query"]),
    ("sync", &Method::GET, &["modifiedTime", "elementType"]),
    ("relatedtypes", &Method::GET, &["elementType"]),
    ("retrieve_related", &Method::GET, &["id", "relatedType", "relatedLabel"]),
    ("query_related", &Method::GET, &["query", "id", "relatedLabel"]),
    ("login", &Method::POST, &["username", "accessKey"]),
    ("logout", &Method::POST, &[]),
    ("extendsession", &Method::POST, &[]),
    ("create", &Method::POST, &["elementType", "element"]),
    ("update", &Method::POST, &["element"]),
    ("revise", &Method::POST, &["element"]),
    ("delete", &Method::POST, &["id"]),
    ("convertlead", &Method::POST, &["element"]),
    ("add_related", &Method::POST, &["sourceRecordId", "relatedRecordId", "relationIdLabel"]),
    ("retrieve_inventory", &Method::GET, &["id"]),
];

type Parameters = BTreeMap<String, String>;

pub(crate) async fn door(Shared(sandbox): Shared<VtigerSandbox>, request: Request) -> Response {
    if request.uri().path() != "/webservice.php" {
        // The PHP test server falls back to its start page (recorded: rest /restapi/v1/...).
        return page(StatusCode::OK, "<!DOCTYPE html><html><head><title>Login</title></head></html>");
    }
    let (parts, body) = request.into_parts();
    let form = to_bytes(body, 4 << 20).await.unwrap_or_default();
    let read = |bytes: &[u8]| -> Parameters { serde_urlencoded(bytes) };
    let query = read(parts.uri.query().unwrap_or_default().as_bytes());
    let is_form = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = match is_form.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        true => read(&form),
        false => Parameters::new(),
    };
    let mut all = query.clone();
    all.extend(form.clone());
    let operation = all.get("operation").cloned().unwrap_or_default();
    let call = format!("{operation} {}", all.get("elementType").cloned().unwrap_or_default()).trim().to_owned();
    let (fault, latency, pace) = {
        let mut state = sandbox.state();
        *state.calls.entry(call.clone()).or_default() += 1;
        let fault = state.faults.iter_mut().find_map(|fault| fault.strikes(&call));
        let writes = OPERATIONS.iter().any(|(name, method, _)| *name == operation && **method == Method::POST);
        let reads = matches!(operation.as_str(), "query" | "retrieve");
        let pace = if writes && operation != "login" {
            state.seed.write
        } else if reads {
            state.seed.read
        } else {
            Default::default()
        };
        (fault, state.faults.iter().find_map(crate::Fault::latency), pace)
    };
    if let Some(latency) = latency {
        tokio::time::sleep(std::time::Duration::from_millis(latency)).await;
    }
    let (fault, after) = fault.unzip();
    if let Some(page) = fault.and_then(faults::page) {
        return page;
    }
    match fault {
        Some(kind @ (FaultKind::LateAfterTimeout | FaultKind::LateAfterCut | FaultKind::LateWithoutAnswer)) => {
            let (sandbox, method) = (sandbox.clone(), parts.method);
            tokio::spawn(async move {
                tokio::time::sleep(after.unwrap_or_default()).await;
                let session = all.get("sessionName").and_then(|name| sandbox.state().sessions.get(name).cloned());
                let given = if method == Method::GET { &query } else { &form };
                respond(&sandbox, &operation, &all, given, &method, session.as_ref());
            });
            return faults::given_up(kind).await;
        }
        Some(FaultKind::Broken) => return uncaught("text/html; charset=UTF-8"),
        Some(FaultKind::Throttled | FaultKind::TooSlow | FaultKind::Unpaid) => {
            return page(StatusCode::SERVICE_UNAVAILABLE, "busy");
        }
        Some(FaultKind::Cut) => return responses::cut(),
        Some(FaultKind::HalfMade) => sandbox.state().loses_a_line = true,
        Some(_) | None => {}
    }
    let session = all.get("sessionName").and_then(|name| sandbox.state().sessions.get(name).cloned());
    let answer = {
        // The lock of the session. The call's duration passes while it is held.
        let _turn = match &session {
            Some(session) => Some(session.turn.lock().await),
            None => None,
        };
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
        respond(
            &sandbox,
            &operation,
            &all,
            if parts.method == Method::GET { &query } else { &form },
            &parts.method,
            session.as_ref(),
        )
    };
    if matches!(fault, Some(FaultKind::AnswerLost)) { responses::cut() } else { answer }
}

fn serde_urlencoded(bytes: &[u8]) -> Parameters {
    url::form_urlencoded::parse(bytes).map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

fn respond(
    sandbox: &VtigerSandbox,
    operation: &str,
    all: &Parameters,
    given: &Parameters,
    method: &Method,
    session: Option<&Session>,
) -> Response {
    let mut state = sandbox.state();
    if state.down {
        return uncaught("text/html; charset=UTF-8");
    }
    if all.get("format").is_some_and(|format| format != "json") {
        return uncaught("application/json");
    }
    let Some((name, wanted, parameters)) = OPERATIONS.iter().find(|(name, _, _)| *name == operation) else {
        return uncaught("text/html; charset=UTF-8");
    };
    // With another method the server does not see the parameters.
    let seen = |key: &str| if *wanted == method { given.get(key).cloned().unwrap_or_default() } else { String::new() };
    let values: Vec<String> = parameters.iter().map(|key| seen(key)).collect();
    let answer = match (*name, all.get("sessionName"), session) {
        ("getchallenge" | "login", _, _) => state.come_in(name, &values),
        (_, None, _) => Err(wrong("AUTHENTICATION_REQUIRED", "Authencation required")),
        (_, Some(_), None) => Err(wrong("INVALID_SESSIONID", "Session Identifier provided is Invalid")),
        (_, Some(token), Some(session)) => state.operate(name, &values, token, session.user),
    };
    match answer {
        Ok(result) => said(&json!({ "success": true, "result": result })),
        Err(Wrong::Error { code, message }) => {
            said(&json!({ "success": false, "error": { "message": message, "code": code } }))
        }
        Err(Wrong::Uncaught) => uncaught("text/html; charset=UTF-8"),
        Err(Wrong::Sentence(text)) => page(StatusCode::OK, text),
    }
}

fn said(value: &Value) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn page(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], text).into_response()
}

fn uncaught(kind: &'static str) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, kind)], Body::empty()).into_response()
}

impl State {
    pub(crate) fn now(&self) -> u64 {
        self.seed.clock.seconds() + self.ahead
    }

    /// The present as the server writes it into records.
    pub(crate) fn written_at(&self) -> String {
        clock(self.now().saturating_add_signed(self.zone))
    }

    fn token(&mut self) -> String {
        self.serial += 1;
        hex::encode(Md5::digest(format!("stagedoor-{}", self.serial))).chars().take(13).collect()
    }

    fn come_in(&mut self, operation: &str, values: &[String]) -> Answer {
        let (user, proof) = (values.first().cloned().unwrap_or_default(), values.get(1).cloned().unwrap_or_default());
        if operation == "getchallenge" {
            if user.is_empty() {
                return Err(denied("No username given"));
            }
            let known = self.seed.users.iter().find(|one| one.name == user).map(|one| one.number);
            let number = known.ok_or_else(|| denied("username does not exists"))?;
            let (token, ends) = (self.token(), self.now() + 300);
            // A new challenge replaces the user's earlier one.
            self.challenges.insert(number, (token.clone(), ends));
            return Ok(json!({ "token": token, "serverTime": self.now(), "expireTime": ends }));
        }
        let known = self.seed.users.iter().find(|one| one.name == user).cloned();
        let challenge = known.as_ref().and_then(|one| self.challenges.get(&one.number).cloned());
        let (Some(known), Some((token, ends))) = (known, challenge) else {
            return Err(wrong("INVALID_AUTH_TOKEN", "Specified token is invalid or expired"));
        };
        if ends <= self.now() {
            return Err(wrong("INVALID_AUTH_TOKEN", "Specified token is invalid or expired"));
        }
        let right = hex::encode(Md5::digest(format!("{token}{}", known.access_key)));
        if right != proof || !known.active {
            return Err(wrong("INVALID_USER_CREDENTIALS", "Invalid username or password"));
        }
        let session = format!("{}{}", self.token(), self.token().get(..8).unwrap_or_default());
        self.sessions.insert(session.clone(), Session { user: known.number, turn: Default::default() });
        let mut result = login_result();
        for (key, value) in [
            ("username", known.name.clone()),
            ("sessionName", session),
            ("userId", format!("19x{}", known.number)),
            ("is_admin", if known.admin { "on" } else { "off" }.to_owned()),
        ] {
            result.insert(key.to_owned(), value.into());
        }
        Ok(Value::Object(result))
    }

    fn operate(&mut self, operation: &str, values: &[String], token: &str, user: u64) -> Answer {
        let value = |index: usize| values.get(index).map(String::as_str).unwrap_or_default();
        let element = |index: usize| -> Result<Fields, Wrong> {
            match value(index) {
                // The server does not catch a missing value.
                "" => Err(Wrong::Uncaught),
                text => match serde_json::from_str(text) {
                    Ok(Value::Object(fields)) => Ok(fields),
                    Ok(Value::Array(all)) if all.is_empty() => Ok(Fields::new()),
                    _ => Err(wrong("INTERNAL_SERVER_ERROR", "Unknown Error while processing request")),
                },
            }
        };
        let needed = |index: usize, name: &str| match value(index) {
            "" => Err(denied(&format!("{FORBIDDEN} for {name}"))),
            text => Ok(text.to_owned()),
        };
        match operation {
            "logout" => {
                self.sessions.remove(token);
                Ok(json!({ "message": "successfull" }))
            }
            "extendsession" => Ok(json!({ "sessionName": token, "userId": format!("19x{user}"), "version": "0.22",
                "vtigerVersion": "8.4.0" })),
            "listtypes" => Ok(self.types(user, value(0))),
            "describe" => self.describe(user, value(0)),
            "query" => vtql::query(self, user, &needed(0, "query")?),
            "retrieve" => self.retrieve(user, &needed(0, "id")?),
            "create" => self.create(user, value(0), element(1)?),
            "update" => self.update(user, element(0)?),
            "revise" => {
                let fields = element(0)?;
                let id = fields.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
                self.revise(user, &id, fields)
            }
            "delete" => self.delete(user, &needed(0, "id")?),
            // The handler does not declare one of its parameters, which PHP 8 does not catch.
            "sync" => Err(Wrong::Uncaught),
            "relatedtypes" => Ok(result_of(&format!("relatedtypes_{}", value(0)))),
            "add_related" => self.relate(value(0), value(1), value(2)),
            "retrieve_related" => self.related(value(0), value(1)),
            "query_related" => self.query_related(user, value(0), value(1)),
            "convertlead" => self.convert(user, &element(0)?),
            _ => Err(Wrong::Uncaught),
        }
    }

    pub(crate) fn admin(&self, user: u64) -> bool {
        self.seed.users.iter().any(|one| one.number == user && one.admin)
    }

    /// True for a module that the user's profile does not have (recorded: limited_user_...).
    pub(crate) fn hidden(&self, user: u64, module: &str) -> bool {
        !self.admin(user) && matches!(module, "Leads" | "Users") || self.hidden.contains(module)
    }

    fn types(&self, user: u64, of: &str) -> Value {
        let mut result = result_of(if of.is_empty() { "listtypes" } else { "listtypes_by_fieldtype" });
        for part in ["types", "information"] {
            match result.get_mut(part) {
                Some(Value::Array(all)) => all.retain(|one| !one.as_str().is_some_and(|name| self.hidden(user, name))),
                Some(Value::Object(all)) => all.retain(|name, _| !self.hidden(user, name)),
                _ => {}
            }
        }
        result
    }

    fn describe(&self, user: u64, module: &str) -> Answer {
        if self.hidden(user, module) {
            return Err(denied(FORBIDDEN));
        }
        let known = self.modules.get(module);
        known.map(|module| module.described.clone()).ok_or_else(|| denied(&format!("{FORBIDDEN} for name : {module}")))
    }
}

fn login_result() -> Fields {
    let pairs = super::modules::recorded(include_str!("../../recorded/vtiger/01_auth.json"));
    let login = pairs.into_iter().find(|pair| pair.get("name").and_then(Value::as_str) == Some("login"));
    match login.and_then(|pair| pair.pointer("/response/json/result").cloned()) {
        Some(Value::Object(fields)) => fields,
        _ => Fields::new(),
    }
}
