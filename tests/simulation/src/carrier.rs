//! Carries a CRM client's requests to a stand-in's router, in virtual time.

use std::{sync::Mutex, time::Duration};

use async_trait::async_trait;
use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response};
use stagedoor_crm::{HttpClient, HttpError};
use tower::ServiceExt;

use crate::rng::Rng;

/// Bytes of an answer at most.
const MOST: usize = 64 << 20;

pub struct Carrier {
    router: Router,
    timeout: Duration,
    rng: Mutex<Rng>,
}

impl Carrier {
    pub fn new(router: Router, timeout: Duration, rng: Rng) -> Self {
        Self { router, timeout, rng: Mutex::new(rng) }
    }

    /// How long a request is under way.
    fn way(&self) -> Duration {
        let mut rng = self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Duration::from_millis(rng.between(20, 180))
    }
}

#[async_trait]
impl HttpClient for Carrier {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (router, way) = (self.router.clone(), self.way());
        // A server goes on when its caller has hung up.
        let served = tokio::spawn(async move {
            tokio::time::sleep(way).await;
            let Ok(answer) = router.oneshot(request.map(Body::from)).await;
            let (parts, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, MOST).await.map_err(|_| HttpError::NoAnswer)?;
            Ok(Response::from_parts(parts, body))
        });
        match tokio::time::timeout(self.timeout, served).await {
            Ok(Ok(answer)) => answer,
            _ => Err(HttpError::NoAnswer),
        }
    }
}
