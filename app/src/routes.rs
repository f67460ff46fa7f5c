//! The routes, and what holds for all of them: a deadline, a size limit, JSON errors, a log line
//! each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::Value;

use crate::assets::Assets;
use crate::config::Identity;
use crate::log::Log;
use crate::reply::{self, Cause};
use crate::store::Store;
use crate::{api, files, health, page};

const BODY_BYTES_MAX: usize = 64 * 1024;
/// Below the default grace period: an ordinary stop cuts nothing off.
const REQUEST_DEADLINE: Duration = Duration::from_secs(7);

/// What the handlers share.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    pub(crate) assets: Assets,
    /// What the page may load, and from where.
    pub(crate) policy: String,
    pub(crate) live_reload: Option<String>,
    pub(crate) log: Log,
    pub(crate) started: Instant,
}

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(page::show).post(page::submit))
        .route("/health", get(health::report))
        .route("/activities", get(api::list))
        .route("/activity", post(api::create))
        .route("/activity/{id}", get(api::find))
        .nest_service("/static", files::router(&app.assets.directory))
        .fallback_service(files::at_root(&app.assets.directory))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(deadline))
        .layer(middleware::from_fn(headers))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), log))
        .with_state(app)
}

async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => reply::error(StatusCode::SERVICE_UNAVAILABLE, "the request took too long"),
    }
}

/// Errors of the framework (no such route, body too large, …) become JSON like our own, and every
/// response gets the headers that do no harm anywhere.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = reply::errors_as_json(next.run(request).await);
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn log(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().to_string();
    // Without the query: it may hold what is nobody's business.
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status();
    if path == "/health" && !is_error(status) {
        return response;
    }
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut fields: Vec<(&str, Value)> = vec![
        ("method", method.into()),
        ("path", path.into()),
        ("status", status.as_u16().into()),
        ("ms", elapsed_ms.into()),
    ];
    if let Some(Cause(cause)) = response.extensions().get() {
        fields.push(("error", cause.as_str().into()));
    }
    if status.is_server_error() {
        app.log.warn("request", &fields);
    } else {
        app.log.info("request", &fields);
    }
    response
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// The media type without its parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}
