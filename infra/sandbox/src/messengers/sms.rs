//! smsc.ru: send.php and status.php with fmt=3 (smsc.ru/api/http). The same message twice within a minute is error 9.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{LoggedMessage, Messengers, Platform};

const OWN: Platform = Platform::Sms;
pub const LOGIN: &str = "stagedoor";

fn error(code: u16, message: &str) -> Response {
    Json(json!({ "error": message, "error_code": code })).into_response()
}

fn fields(body: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

fn is_account(all: &Messengers, fields: &BTreeMap<String, String>) -> bool {
    let login = fields.get("login").map(String::as_str) == Some(LOGIN);
    login && all.board().is_token(OWN, fields.get("psw").map(String::as_str))
}

fn digits(phone: &str) -> String {
    phone.chars().filter(char::is_ascii_digit).collect()
}

pub async fn send(State(all): State<Messengers>, body: Bytes) -> Response {
    let fields = fields(&body);
    let (Some(phone), Some(said)) = (fields.get("phones"), fields.get("mes").filter(|said| !said.is_empty())) else {
        return error(1, "parameters error");
    };
    if !is_account(&all, &fields) {
        return error(2, "authorise error");
    }
    let to = digits(phone);
    if !(10..=15).contains(&to.len()) {
        return error(7, "invalid number");
    }
    if said.chars().count() > 1_000 {
        return error(1, "parameters error");
    }
    let Some(id) = fields.get("id").filter(|id| id.parse::<u32>().is_ok_and(|id| (1..=0x7fff_ffff).contains(&id)))
    else {
        return error(1, "parameters error");
    };
    {
        let board = all.board();
        let minute = Duration::from_secs(60);
        let same = |one: &super::Arrived| {
            one.platform == OWN && one.to == to && one.text == *said && Instant::now().duration_since(one.at) < minute
        };
        if board.arrived.iter().any(same) {
            return error(9, "duplicate request, wait a minute");
        }
        if board.fan(OWN, &to).blocked {
            return error(8, "message to this number can not be delivered");
        }
    }
    let own = id.parse::<u64>().unwrap_or(0);
    let told = LoggedMessage { to, text: said.clone(), button: None, key: Some(id.clone()) };
    all.take(
        OWN,
        told,
        move |_| Json(json!({ "id": own, "cnt": 1 })).into_response(),
        |_| error(9, "too many concurrent requests"),
    )
}

pub async fn status(State(all): State<Messengers>, body: Bytes) -> Response {
    let fields = fields(&body);
    let (Some(phone), Some(id)) = (fields.get("phone"), fields.get("id")) else { return error(1, "parameters error") };
    if !is_account(&all, &fields) {
        return error(2, "authorise error");
    }
    let to = digits(phone);
    let board = all.board();
    let known = board.arrived.iter().any(|one| one.platform == OWN && one.to == to && one.key.as_ref() == Some(id));
    match known {
        true => Json(json!({ "status": 1, "last_date": "24.11.2026 12:00:00", "err": 0 })).into_response(),
        false => error(3, "no such message"),
    }
}
