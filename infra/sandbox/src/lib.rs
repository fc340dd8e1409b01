//! amoCRM's API v4, as strict as the original. Tokens rotate, answers have HAL shapes, an empty result is 204, and
//! one bad row fails the whole batch with 400 and a dotted path. The limit is seven requests a second; webhooks are
//! unsigned.
//!
//! Sources: amocrm.ru/developers, and the issue threads of amocrm/amocrm-api-php for what only real accounts show.

mod account;
mod clock;
mod control;
mod entities;
mod faults;
mod hook_faults;
mod hooks;
mod links;
pub mod lists;
mod manager;
pub mod messengers;
mod middleware;
mod notes_and_tasks;
mod oauth;
pub mod payments;
mod responses;
mod robots;
mod rows;
mod setup;
pub mod smtp;
mod state;
mod subscriptions;
mod validate;
pub mod vtiger;

pub use account::Sandbox;
use axum::{
    Router,
    routing::{get, patch, post},
};
pub use clock::SandboxClock;
pub use faults::{Fault, FaultKind};
pub use hook_faults::{HookFault, HookFaultKind, SentHook};
pub use lists::{ListBreak, Lists};
pub use messengers::{Arrived, Break, Messengers, Platform};
pub use payments::Payments;
pub use smtp::{Delivered, Post, PostBreak};
pub use state::{PipelineSeed, Robot, Seed, StageIds};
use tokio::net::TcpListener;
pub use vtiger::{VtigerSandbox, VtigerSeed, VtigerUser};

impl Sandbox {
    pub fn router(&self) -> Router {
        let api = Router::new()
            .route("/api/v4/account", get(setup::account))
            .route("/api/v4/leads/pipelines", get(setup::pipelines))
            .route("/api/v4/leads/complex", post(entities::complex))
            .route(
                "/api/v4/webhooks",
                get(subscriptions::list).post(subscriptions::subscribe).delete(subscriptions::unsubscribe),
            )
            .route("/api/v4/tasks", get(notes_and_tasks::tasks).post(notes_and_tasks::add_tasks))
            .route("/api/v4/{entity}", get(entities::list).post(entities::create).patch(entities::update))
            .route("/api/v4/{entity}/{id}", get(entities::one).patch(entities::update_one))
            .route("/api/v4/{entity}/links", get(links::links_of_many))
            .route("/api/v4/{entity}/link", post(links::link_many))
            .route("/api/v4/{entity}/unlink", post(links::unlink_many))
            .route("/api/v4/{entity}/{id}/links", get(links::links))
            .route("/api/v4/{entity}/{id}/link", post(links::link))
            .route("/api/v4/{entity}/custom_fields", get(setup::fields).post(setup::add_fields))
            .route("/api/v4/{entity}/custom_fields/{id}", axum::routing::delete(setup::delete_field))
            .route("/api/v4/{entity}/tags", get(setup::tags).post(setup::add_tags))
            .route("/api/v4/{entity}/notes", get(notes_and_tasks::notes).post(notes_and_tasks::add_notes))
            .route_layer(axum::middleware::from_fn_with_state(self.clone(), middleware::gate));
        Router::new()
            .merge(api)
            .route("/oauth2/access_token", post(oauth::access_token))
            .route("/_sandbox/faults", post(control::faults))
            .route("/_sandbox/stats", get(control::stats))
            .route("/_sandbox/unblock", post(control::unblock))
            .route("/_sandbox/codes", post(control::code))
            .route("/_sandbox/clock", post(control::clock))
            .route("/_sandbox/elsewhere", get(control::elsewhere))
            .route("/_sandbox/hooks", post(control::hook_faults))
            .route("/_sandbox/hooks/release", post(manager::release_hooks))
            .route("/_sandbox/robots", post(manager::set_robots))
            .route("/_sandbox/stages", get(manager::stages).post(manager::change_stage))
            .route("/_sandbox/leads/{id}/move", post(manager::move_lead))
            .route("/_sandbox/{entity}", post(manager::add))
            .route("/_sandbox/{entity}/{id}", patch(manager::change).delete(manager::delete))
            .route("/_sandbox/{entity}/{id}/restore", post(manager::restore))
            .route("/_sandbox/{entity}/{id}/merge", post(manager::merge))
            .route("/_sandbox/{entity}/{id}/copy", post(manager::copy))
            .fallback(responses::not_found)
            .with_state(self.clone())
    }

    /// Serves until the task is dropped.
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        axum::serve(listener, self.router()).await
    }

    /// Adds contacts as a manager types them in. They cost the integration no call.
    pub fn add_contacts(&self, rows: &[serde_json::Value]) {
        _ = entities::add(self, "contacts", rows);
    }
}
