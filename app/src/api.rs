//! The JSON interface: list, create, find.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use uuid::Uuid;

use crate::activity::{self, Draft, Problem};
use crate::reply::{self, Failure};
use crate::routes::{App, media_type};

const LIMIT_DEFAULT: i64 = 100;
const LIMIT_MAX: i64 = 500;

/// `GET /activities?limit=`: newest first.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let activities = app.store.newest(limit(&query)?).await?;
    Ok(reply::json(StatusCode::OK, &activities))
}

fn limit(query: &[(String, String)]) -> Result<i64, Failure> {
    let Some((_, text)) = query.iter().find(|(name, _)| name == "limit") else {
        return Ok(LIMIT_DEFAULT);
    };
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| {
        let problem = Problem::new("limit", "must be a whole number from 1 to 500");
        Failure::Invalid("the query is not valid", vec![problem])
    })
}

/// `GET /activity/{id}`
pub(crate) async fn find(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let id = Uuid::parse_str(&id).map_err(|_| Failure::NotFound)?;
    let activity = app.store.find(id).await?.ok_or(Failure::NotFound)?;
    Ok(reply::json(StatusCode::OK, &activity))
}

/// `POST /activity`
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    if media_type(&headers).as_deref() != Some("application/json") {
        return Err(Failure::UnsupportedMediaType);
    }
    let value: Value =
        serde_json::from_slice(&body).map_err(|error| Failure::Malformed(error.to_string()))?;
    let draft = Draft::from_json(&value, activity::now())
        .map_err(|problems| Failure::Invalid("the activity is not valid", problems))?;
    let activity = app.store.add(draft).await?;
    let location = [(LOCATION, format!("/activity/{}", activity.id))];
    Ok((location, reply::json(StatusCode::CREATED, &activity)).into_response())
}
