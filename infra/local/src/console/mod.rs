//! The console: what came, what the hub made of it, who waits. It shows personal data, so it has its own listener and
//! requires a token.

mod access;
mod backoff;
mod pages;
mod show;
mod token;
mod words;

use std::sync::Arc;

use axum::{
    Form, Router,
    extract::{Path, State},
    middleware,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::StatusCode;
use maud::Markup;
use serde::Deserialize;
use stagedoor_engine::PersonId;
use stagedoor_model::{Body, EventId, Identifier};
use stagedoor_ports::PortError;
use stagedoor_texts::{Language, Text, console as texts};

pub use self::token::{ConsoleToken, FILE as TOKEN_FILE};
use self::words::Reader;
use crate::{commands, hub::Hub, metrics, report};

/// Rows of a list on one page.
const ROWS: usize = 100;

pub fn router(hub: Arc<Hub>, token: ConsoleToken) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/console/find", post(find))
        .route("/console/person/{id}", get(person))
        .route("/console/waiting", get(waiting))
        .route("/console/parked", get(rejected).post(retry_parked))
        .route("/console/unrecognized", get(unrecognized))
        .route("/console/report", get(letters))
        .route("/console/report.csv", get(letters_csv))
        .route("/console/effect.csv", get(effect_csv))
        .route("/console/event/{id}", get(event))
        .route("/console/replay/{id}", post(replay))
        .route("/metrics", get(metrics::answer))
        .with_state(Arc::clone(&hub))
        // The guard is the outermost layer: a missing page is refused in the same way.
        .layer(middleware::from_fn_with_state(Arc::new(access::Access::new(hub, token)), access::guard))
}

/// A page, or an answer that says why there is none.
type Page = Result<Markup, Response>;

fn broken(error: &PortError) -> Response {
    tracing::error!(%error, "the console cannot read");
    (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read now").into_response()
}

fn missing(what: &str, language: Language) -> Response {
    let body = pages::sentence(what);
    (StatusCode::NOT_FOUND, pages::frame(&texts::not_found().to(language), &body, language)).into_response()
}

async fn home(State(hub): State<Arc<Hub>>, Reader(language): Reader) -> Page {
    let status = hub.status_with_reasons().await.map_err(|error| broken(&error))?;
    // Changes that the CRM reports after the hub's own writes would hide everything else.
    let mut rows = hub.store.journal(ROWS * 10).await.map_err(|error| broken(&error))?;
    rows.retain(|row| !matches!(row.event.body, Body::ContactChanged(_)));
    rows.truncate(ROWS);
    let ids = rows.iter().filter_map(|row| row.person).collect();
    let links = hub.store.crm_states(&ids).await.map_err(|error| broken(&error))?;
    Ok(pages::home(&status, &rows, &links, &hub.counters.all(), language))
}

#[derive(Deserialize)]
struct Find {
    identifier: String,
}

// By POST: the search text is personal and does not belong in an address.
async fn find(State(hub): State<Arc<Hub>>, Reader(language): Reader, Form(find): Form<Find>) -> Response {
    let missing = |what: Text| missing(&what.to(language), language);
    let text = find.identifier.trim();
    let Ok(identifier) = commands::read_identifier(text, hub.config.region) else {
        return missing(texts::no_identifier());
    };
    match owner(&hub, &identifier).await {
        Ok(Some(id)) => Redirect::to(&format!("/console/person/{id}")).into_response(),
        Ok(None) => missing(texts::unknown_identifier()),
        Err(error) => broken(&error),
    }
}

async fn owner(hub: &Hub, identifier: &Identifier) -> Result<Option<PersonId>, PortError> {
    let claims = hub.store.resolve(&std::iter::once(identifier.clone()).collect()).await?;
    Ok(claims.owners.get(identifier).copied())
}

async fn person(State(hub): State<Arc<Hub>>, Reader(language): Reader, Path(id): Path<String>) -> Page {
    let missing = |what: Text| missing(&what.to(language), language);
    let id = PersonId::parse(&id).map_err(|_| missing(texts::no_person_id()))?;
    let found = hub.store.load(&std::iter::once(id).collect()).await.map_err(|error| broken(&error))?;
    let person = found.into_iter().next().ok_or_else(|| missing(texts::unknown_person()))?.value;
    let rows = hub.store.journal_of(person.id).await.map_err(|error| broken(&error))?;
    let own = std::iter::once(person.id).chain(person.merged_ids.iter().copied()).collect();
    let links = hub.store.crm_states(&own).await.map_err(|error| broken(&error))?;
    let catalog = hub.sync.catalog().await.map_err(|error| broken(&error))?;
    Ok(show::person(&person, &rows, &links, &catalog, language))
}

async fn waiting(State(hub): State<Arc<Hub>>, Reader(language): Reader) -> Page {
    let dirty = hub.store.claim_dirty(ROWS, None).await.map_err(|error| broken(&error))?;
    Ok(pages::waiting(&dirty, language))
}

async fn rejected(State(hub): State<Arc<Hub>>, Reader(language): Reader) -> Page {
    let rows = hub.store.rejected(ROWS).await.map_err(|error| broken(&error))?;
    let ids = rows.iter().map(|(id, _)| *id).collect();
    let people = hub.store.load(&ids).await.map_err(|error| broken(&error))?;
    Ok(pages::rejected(&rows, &people, language))
}

async fn retry_parked(State(hub): State<Arc<Hub>>) -> Response {
    match commands::retry_parked(&hub).await {
        Ok(_) => Redirect::to("/console/parked").into_response(),
        Err(error) => broken(&error),
    }
}

async fn letters(State(hub): State<Arc<Hub>>, Reader(language): Reader) -> Page {
    let report = report::report(&hub).await.map_err(|error| broken(&PortError::Retry(error)))?;
    Ok(pages::report(&report, language))
}

async fn letters_csv(State(hub): State<Arc<Hub>>) -> Response {
    as_csv(&hub, "report.csv", report::Report::csv).await
}

async fn effect_csv(State(hub): State<Arc<Hub>>) -> Response {
    as_csv(&hub, "effect.csv", report::Report::effect_csv).await
}

async fn as_csv(hub: &Hub, name: &str, of: fn(&report::Report) -> Result<String, String>) -> Response {
    match report::report(hub).await.and_then(|report| of(&report)) {
        Ok(text) => {
            let kind = ("content-type", "text/csv; charset=utf-8".to_owned());
            let file = ("content-disposition", format!("attachment; filename=\"{name}\""));
            ([kind, file], text).into_response()
        }
        Err(error) => broken(&PortError::Retry(error)),
    }
}

async fn unrecognized(State(hub): State<Arc<Hub>>, Reader(language): Reader) -> Page {
    let rows = hub.store.unrecognized(ROWS).await.map_err(|error| broken(&error))?;
    Ok(pages::unrecognized(&rows, language))
}

async fn event(State(hub): State<Arc<Hub>>, Reader(language): Reader, Path(id): Path<String>) -> Page {
    let row = hub.store.event(&EventId::from(id)).await.map_err(|error| broken(&error))?;
    let row = row.ok_or_else(|| missing(&texts::unknown_event().to(language), language))?;
    Ok(show::event(&row, language))
}

async fn replay(State(hub): State<Arc<Hub>>, Reader(language): Reader, Path(id): Path<String>) -> Response {
    match commands::replay_one(&hub, &EventId::from(id)).await {
        Ok(_) => Redirect::to("/console/unrecognized").into_response(),
        Err(error) => missing(&error, language),
    }
}
