//! A batch that is refused for one bad row goes again without it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use serde_json::{Value, json};
use stagedoor_crm::amocrm::{AmoCrm, Authorization};
use stagedoor_engine::{ContactDraft, PersonId};
use stagedoor_model::RecordKey;
use stagedoor_ports::{Crm, WriteOutcome, Writes};
use stagedoor_tests::world::settings;

/// A CRM that refuses a whole batch for some names and does not say which row it was.
async fn tongue_tied(State(seen): State<Arc<Mutex<Vec<usize>>>>, Json(rows): Json<Vec<Value>>) -> Response {
    seen.lock().expect("a lock").push(rows.len());
    let bad = |row: &Value| row["name"].as_str().is_some_and(|name| name.starts_with("bad"));
    if rows.iter().any(bad) {
        let problem = json!({ "title": "Bad Request", "status": 400, "detail": "Код ошибки 244." });
        return (StatusCode::BAD_REQUEST, [("content-type", "application/problem+json")], problem.to_string())
            .into_response();
    }
    let made: Vec<Value> =
        rows.iter().enumerate().map(|(n, row)| json!({ "id": n + 1, "request_id": row["request_id"] })).collect();
    Json(json!({ "_embedded": { "contacts": made } })).into_response()
}

fn draft(name: &str) -> ContactDraft {
    let person = PersonId::of(&RecordKey(name.to_owned()));
    ContactDraft {
        person,
        name: Some(name.to_owned()),
        phones: vec![],
        emails: vec![],
        telegram: None,
        tags: vec![],
        untagged: vec![],
        chats: None,
        marketing: None,
        company: None,
        other_ids: BTreeSet::new(),
    }
}

#[tokio::test]
async fn where_the_crm_names_no_row_the_batch_is_halved_until_the_bad_one_stands_alone() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let app = Router::new()
        .route("/api/v4/contacts", post(tongue_tied))
        .route("/api/v4/contacts/custom_fields", get(async || StatusCode::NO_CONTENT).post(async || Json(json!({}))))
        .route("/api/v4/leads/custom_fields", get(async || StatusCode::NO_CONTENT).post(async || Json(json!({}))))
        .route("/api/v4/leads/pipelines", get(async || StatusCode::NO_CONTENT))
        .with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let crm = AmoCrm::new(settings(&base, 1_000), Authorization::LongLived("t".into())).expect("a client");
    let names: Vec<String> =
        (0..100).map(|n| if n == 37 || n == 80 { format!("bad {n}") } else { format!("good {n}") }).collect();
    let rows = crm.apply(Writes::CreateContacts(&names.iter().map(|name| draft(name)).collect::<Vec<_>>())).await;
    let refused: BTreeSet<usize> =
        rows.iter().enumerate().filter(|(_, row)| matches!(row, WriteOutcome::Refused(_))).map(|(n, _)| n).collect();
    assert_eq!(refused, BTreeSet::from([37, 80]));
    assert_eq!(rows.iter().filter(|row| matches!(row, WriteOutcome::Done(_))).count(), 98);
    assert!(seen.lock().expect("a lock").len() <= 30, "halving is cheap");
}
