//! Answers in the original's shapes and content types.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

pub fn hal(status: StatusCode, body: &Value) -> Response {
    (status, [("content-type", "application/hal+json")], body.to_string()).into_response()
}

pub fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

pub fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let code = status.as_u16();
    let body = json!({
        "title": title, "type": format!("https://httpstatus.es/{code}"), "status": code, "detail": detail,
    });
    (status, [("content-type", "application/problem+json")], body.to_string()).into_response()
}

pub fn invalid(errors: Vec<Value>) -> Response {
    let body = json!({
        "validation-errors": errors, "title": "Bad Request", "type": "https://httpstatus.es/400",
        "status": 400, "detail": "Request validation failed",
    });
    (StatusCode::BAD_REQUEST, [("content-type", "application/problem+json")], body.to_string()).into_response()
}

/// nginx's own pages: over the limit, and blocked.
pub fn html(status: StatusCode) -> Response {
    let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or(""));
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    (status, [("content-type", "text/html")], page).into_response()
}

/// An answer whose connection breaks before the body arrives.
pub fn cut() -> Response {
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let stream = Once(Some(Err(broken)));
    (StatusCode::OK, [("content-type", "application/hal+json")], Body::new(stream)).into_response()
}

struct Once(Option<Result<axum::body::Bytes, std::io::Error>>);

impl axum::body::HttpBody for Once {
    type Data = axum::body::Bytes;
    type Error = std::io::Error;
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Ready(self.0.take().map(|item| item.map(http_body::Frame::data)))
    }
}

pub fn unknown() -> Response {
    problem(StatusCode::NOT_FOUND, "Not Found", "Method not found")
}

pub async fn not_found() -> Response {
    unknown()
}
