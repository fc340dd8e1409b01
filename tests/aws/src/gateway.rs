//! The HTTP API in front of the functions. It turns requests into events of payload format 2.0, and answers into
//! responses (docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html).

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::runtime::Function;

type Routes = Arc<BTreeMap<String, Function>>;

/// Serves one route for each function, `/<function>/…`.
pub fn serve(listener: TcpListener, functions: BTreeMap<String, Function>) -> JoinHandle<()> {
    let app = Router::new().fallback(handle).with_state(Arc::new(functions));
    let app = app.layer(axum::extract::DefaultBodyLimit::max(10 * 1024 * 1024));
    tokio::spawn(async move { _ = axum::serve(listener, app).await })
}

async fn handle(State(routes): State<Routes>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    // Links have their own short path.
    let first = uri.path().split('/').nth(1).unwrap_or("");
    let name = if first == "l" { "links" } else { first };
    let Some(function) = routes.get(name) else {
        return (StatusCode::NOT_FOUND, "{\"message\":\"Not Found\"}").into_response();
    };
    let event = event(name, &method, &uri, &headers, &body);
    match function.invoke(event.to_string().into()).await {
        Ok(answer) => spoken(&answer),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "{\"message\":\"Internal Server Error\"}").into_response(),
    }
}

fn event(name: &str, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Value {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let entry = joined.entry(name.as_str().to_owned()).or_default();
        if !entry.is_empty() {
            entry.push(',');
        }
        entry.push_str(&value);
    }
    // Format 2.0 separates cookies from the headers.
    let cookies: Vec<String> = joined
        .remove("cookie")
        .into_iter()
        .flat_map(|all| all.split("; ").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let kind = joined.get("content-type").map_or("", String::as_str);
    let plain = kind.starts_with("text/") || kind.starts_with("application/json");
    let text = plain.then(|| std::str::from_utf8(body).ok()).flatten();
    let route = format!("ANY /{}/{{proxy+}}", if name == "links" { "l" } else { name });
    json!({
        "version": "2.0",
        "routeKey": route,
        "rawPath": uri.path(),
        "rawQueryString": uri.query().unwrap_or(""),
        "headers": joined,
        "cookies": cookies,
        "requestContext": {
            "accountId": "123456789012", "apiId": "proof", "domainName": "proof.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "proof", "requestId": "JKJaXmPLvHcESHA=", "routeKey": route, "stage": "$default",
            "time": "24/Nov/2026:00:00:00 +0000", "timeEpoch": 1_795_564_800_000_u64,
            "http": {
                "method": method.as_str(), "path": uri.path(), "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": joined.get("user-agent").map_or("", String::as_str),
            },
        },
        "body": text.map_or_else(|| STANDARD.encode(body), str::to_owned),
        "isBase64Encoded": text.is_none(),
    })
}

fn spoken(answer: &Bytes) -> Response {
    let answer: Value = serde_json::from_slice(answer).unwrap_or(Value::Null);
    let status =
        answer.get("statusCode").and_then(Value::as_u64).and_then(|code| StatusCode::from_u16(code as u16).ok());
    let body = answer.get("body").and_then(Value::as_str).unwrap_or("");
    let encoded = answer.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or(false);
    let body = if encoded { STANDARD.decode(body).unwrap_or_default() } else { body.as_bytes().to_vec() };
    let mut response = (status.unwrap_or(StatusCode::BAD_GATEWAY), body).into_response();
    for (name, value) in answer.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
        if let (Ok(name), Some(value)) = (HeaderName::try_from(name.as_str()), value) {
            response.headers_mut().insert(name, value);
        }
    }
    for cookie in answer.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        if let Some(value) = cookie.as_str().and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
            response.headers_mut().append("set-cookie", value);
        }
    }
    response
}
