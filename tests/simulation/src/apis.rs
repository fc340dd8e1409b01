//! The APIs of shops and payment providers that the hub asks, and their faults.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
};
use http::StatusCode;
use stagedoor_sandbox::Payments;
use tokio::time::Instant;

use crate::{clock::VirtualClock, pretix::Pretix, ticketscloud::Ticketscloud};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiFault {
    /// 503.
    Broken,
    /// 404 with a web server's page.
    NotFoundPage,
    /// 200 with a page instead of JSON.
    Page,
    /// No answer before the caller hangs up.
    Hanging,
    /// Each answer takes eight seconds.
    Slow,
    /// pretix answers from an outdated copy of its database.
    Behind,
}

impl ApiFault {
    pub const ALL: [Self; 6] = [Self::Broken, Self::NotFoundPage, Self::Page, Self::Hanging, Self::Slow, Self::Behind];
}

type Struck = Arc<Mutex<Option<(ApiFault, Instant)>>>;

#[derive(Clone)]
pub struct Apis {
    pub payments: Payments,
    pub pretix: Pretix,
    pub ticketscloud: Ticketscloud,
    /// Current faults with their end.
    struck: Struck,
}

impl Apis {
    pub fn new(clock: VirtualClock) -> Self {
        let (pretix, ticketscloud) = (Pretix::new(clock), Ticketscloud::default());
        Self { payments: Payments::default(), pretix, ticketscloud, struck: Struck::default() }
    }

    pub fn strike(&self, fault: ApiFault, during: Duration) {
        self.pretix.fall_behind(if fault == ApiFault::Behind { during } else { Duration::ZERO });
        *self.struck.lock().unwrap_or_else(PoisonError::into_inner) = Some((fault, Instant::now() + during));
    }

    pub fn calm(&self) {
        self.pretix.fall_behind(Duration::ZERO);
        *self.struck.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub fn router(&self) -> Router {
        let all = self.payments.router().merge(self.pretix.router()).merge(self.ticketscloud.router());
        all.layer(middleware::from_fn_with_state(Arc::clone(&self.struck), strike))
    }
}

async fn strike(State(struck): State<Struck>, request: Request, next: Next) -> Response {
    let now = struck.lock().unwrap_or_else(PoisonError::into_inner).filter(|(_, until)| *until > Instant::now());
    let page = Html("<html><body>nginx</body></html>");
    match now.map(|(fault, _)| fault) {
        Some(ApiFault::Broken) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(ApiFault::NotFoundPage) => (StatusCode::NOT_FOUND, page).into_response(),
        Some(ApiFault::Page) => page.into_response(),
        Some(ApiFault::Hanging) => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Some(ApiFault::Slow) => {
            tokio::time::sleep(Duration::from_secs(8)).await;
            next.run(request).await
        }
        Some(ApiFault::Behind) | None => next.run(request).await,
    }
}
