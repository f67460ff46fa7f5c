//! Answers that are not a page: JSON bodies, and one shape for every error:
//! `{"error": "…", "problems": [{"field": "…", "problem": "…"}]}`, the second key only where fields
//! are wrong.

use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::activity::Problem;
use crate::routes::media_type;

/// Why a request failed, for the log line only.
#[derive(Clone)]
pub(crate) struct Cause(pub(crate) String);

pub(crate) enum Failure {
    NotFound,
    /// The body cannot be read as JSON.
    Malformed(String),
    UnsupportedMediaType,
    /// What was sent, and every problem with it.
    Invalid(&'static str, Vec<Problem>),
    Store(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        Failure::Store(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Failure::NotFound => error(StatusCode::NOT_FOUND, "there is no such activity"),
            Failure::Malformed(why) => {
                error(StatusCode::BAD_REQUEST, &format!("the body is not JSON: {why}"))
            }
            Failure::UnsupportedMediaType => error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send the activity as content-type: application/json",
            ),
            Failure::Invalid(what, problems) => {
                let body = ErrorBody { error: what, problems };
                json(StatusCode::UNPROCESSABLE_ENTITY, &body)
            }
            Failure::Store(cause) => {
                let status = store_status(&cause);
                let mut response = error(status, "the store did not do its part; try again later");
                response.extensions_mut().insert(Cause(cause.to_string()));
                response
            }
        }
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Problem>,
}

pub(crate) fn error(status: StatusCode, message: &str) -> Response {
    json(status, &ErrorBody { error: message, problems: Vec::new() })
}

pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(CONTENT_TYPE, "application/json")], bytes).into_response(),
        // Our bodies are strings and numbers: there is nothing in them that JSON lacks.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// 503 tells a load balancer that another try, or another server, may do better.
pub(crate) fn store_status(error: &sqlx::Error) -> StatusCode {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Gives an error that the framework made with a plain or empty body the shape of ours.
pub(crate) fn errors_as_json(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_ours =
        matches!(media_type(response.headers()).as_deref(), Some("application/json" | "text/html"));
    if !is_error || is_ours {
        return response;
    }
    let message = match status {
        StatusCode::NOT_FOUND => "there is nothing at this address",
        StatusCode::METHOD_NOT_ALLOWED => "this address does not take this method",
        StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than 64 KiB",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "this address does not take this content-type",
        other => other.canonical_reason().unwrap_or("the request failed"),
    };
    let allow = response.headers().get(ALLOW).cloned();
    let mut replacement = error(status, message);
    if let Some(allow) = allow {
        replacement.headers_mut().insert(ALLOW, allow);
    }
    replacement
}
