//! The smallest function: it answers `ok`.

use axum::{Router, routing::any};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    lambda_http::run(Router::new().fallback(any(async || "ok"))).await
}
