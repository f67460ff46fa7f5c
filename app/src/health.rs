//! `GET /health`: what runs, and whether its store answers. 503 takes the process out of rotation.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::reply::{self, Cause};
use crate::routes::App;

#[derive(Serialize)]
struct Report<'a> {
    status: &'a str,
    version: &'a str,
    commit: &'a str,
    process: Process<'a>,
    store: &'a str,
}

#[derive(Serialize)]
struct Process<'a> {
    pid: u32,
    uptime_seconds: u64,
    #[serde(rename = "type")]
    process_type: &'a str,
}

pub(crate) async fn report(State(app): State<Arc<App>>) -> Response {
    let answer = app.store.ping().await;
    let (status, word) = match answer {
        Ok(()) => (StatusCode::OK, "ok"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let report = Report {
        status: word,
        version: &app.identity.version,
        commit: &app.identity.commit,
        process: Process {
            pid: std::process::id(),
            uptime_seconds: app.started.elapsed().as_secs(),
            process_type: &app.identity.process,
        },
        store: app.store.kind,
    };
    let mut response = reply::json(status, &report);
    if let Err(cause) = answer {
        response.extensions_mut().insert(Cause(cause));
    }
    response
}
