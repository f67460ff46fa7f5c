//! The HTML page: the activities, the last seven days, and the form that adds one. No script: it
//! works with every browser and leaves the content security policy nothing to allow but our own
//! files.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::activity::{self, Activity, DAY_MS, Draft, KIND_CHARS_MAX, MINUTES_MAX, Problem};
use crate::config::Identity;
use crate::reply::{self, Cause};
use crate::routes::App;
use crate::store::Day;

const ROWS_MAX: i64 = 100;
const DAYS: i64 = 7;
const SUGGESTIONS: &[&str] =
    &["run", "ride", "swim", "walk", "hike", "row", "climb", "yoga", "strength"];
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'";

pub(crate) async fn show(State(app): State<Arc<App>>) -> Response {
    render(&app, StatusCode::OK, Entry::default()).await
}

/// Stores and sends the browser to the page, so that a reload does not store again.
pub(crate) async fn submit(
    State(app): State<Arc<App>>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let field = |name: &str| {
        let found = fields.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let (kind, minutes) = (field("kind"), field("minutes"));
    match Draft::from_form(&kind, &minutes, activity::now()) {
        Err(problems) => {
            let entry = Entry { kind, minutes, problems };
            render(&app, StatusCode::UNPROCESSABLE_ENTITY, entry).await
        }
        Ok(draft) => match app.store.add(draft).await {
            Ok(_) => Redirect::to("/").into_response(),
            Err(error) => unavailable(&app, Entry { kind, minutes, problems: vec![] }, &error),
        },
    }
}

/// What was typed, and what is wrong with it.
#[derive(Default)]
struct Entry {
    kind: String,
    minutes: String,
    problems: Vec<Problem>,
}

impl Entry {
    fn problem(&self, field: &str) -> Option<&str> {
        let found = self.problems.iter().find(|it| it.field == field);
        found.map(|it| it.problem.as_str())
    }
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    identity: &'a Identity,
    entry: Entry,
    suggestions: &'static [&'static str],
    kind_chars_max: usize,
    minutes_max: i64,
    available: bool,
    week: Week,
    rows: Vec<Row>,
}

#[derive(Default)]
struct Week {
    bars: Vec<Bar>,
    activities: i64,
    duration: String,
    active_days: usize,
}

/// One day of the chart, in the units of its view box: 100 high, upwards from the bottom.
struct Bar {
    x: i64,
    top: i64,
    height: i64,
    weekday: String,
    minutes: i64,
}

struct Row {
    colour: &'static str,
    kind: String,
    duration: String,
    time: String,
    day: String,
    datetime: String,
}

async fn render(app: &App, status: StatusCode, entry: Entry) -> Response {
    let today = Timestamp::now().as_millisecond() / DAY_MS;
    let first = today - DAYS + 1;
    let read = async {
        let days = app.store.days(first, today).await?;
        let activities = app.store.newest(ROWS_MAX).await?;
        Ok((days, activities))
    };
    match read.await {
        Err(error) => unavailable(app, entry, &error),
        Ok((days, activities)) => {
            let rows = activities.into_iter().map(|it| row(it, today)).collect();
            html(status, &page(app, entry, true, week(&days, first), rows))
        }
    }
}

fn unavailable(app: &App, entry: Entry, error: &sqlx::Error) -> Response {
    let status = reply::store_status(error);
    let mut response = html(status, &page(app, entry, false, Week::default(), Vec::new()));
    response.extensions_mut().insert(Cause(error.to_string()));
    response
}

fn page(app: &App, entry: Entry, available: bool, week: Week, rows: Vec<Row>) -> Page<'_> {
    Page {
        identity: &app.identity,
        entry,
        suggestions: SUGGESTIONS,
        kind_chars_max: KIND_CHARS_MAX,
        minutes_max: MINUTES_MAX,
        available,
        week,
        rows,
    }
}

fn html(status: StatusCode, page: &Page<'_>) -> Response {
    match page.render() {
        Ok(text) => {
            let headers =
                [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)];
            (status, headers, text).into_response()
        }
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            let mut response = reply::error(status, "the page cannot be rendered");
            response.extensions_mut().insert(Cause(error.to_string()));
            response
        }
    }
}

fn week(days: &[Day], first: i64) -> Week {
    let minutes_of =
        |number| days.iter().find(|day| day.number == number).map_or(0, |it| it.minutes);
    let highest = days.iter().map(|day| day.minutes).max().unwrap_or(0).max(1);
    let bar = |index: i64| {
        let minutes = minutes_of(first + index);
        // A little activity is still to be seen.
        let height = if minutes == 0 { 2 } else { (minutes * 100 / highest).max(6) };
        let weekday = utc((first + index) * DAY_MS).strftime("%a").to_string();
        Bar { x: index * 40, top: 100 - height, height, weekday, minutes }
    };
    Week {
        bars: (0..DAYS).map(bar).collect(),
        activities: days.iter().map(|day| day.activities).sum(),
        duration: duration(days.iter().map(|day| day.minutes).sum()),
        active_days: days.len(),
    }
}

fn row(activity: Activity, today: i64) -> Row {
    let at = activity.at.as_millisecond();
    let zoned = utc(at);
    let day = match today - at.div_euclid(DAY_MS) {
        0 => "Today".to_owned(),
        1 => "Yesterday".to_owned(),
        2..=320 => zoned.strftime("%a %-d %b").to_string(),
        _ => zoned.strftime("%-d %b %Y").to_string(),
    };
    Row {
        colour: colour(&activity.kind),
        kind: activity.kind,
        duration: duration(activity.minutes),
        time: zoned.strftime("%H:%M").to_string(),
        day,
        datetime: activity.at.to_string(),
    }
}

/// A class of the style sheet, never text of a user.
fn colour(kind: &str) -> &'static str {
    let first_word = kind.split_whitespace().next().unwrap_or_default();
    let known = SUGGESTIONS.iter().find(|it| it.eq_ignore_ascii_case(first_word));
    known.copied().unwrap_or("other")
}

fn duration(minutes: i64) -> String {
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes:02} min"),
    }
}

fn utc(milliseconds: i64) -> Zoned {
    let time = Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    time.to_zoned(TimeZone::UTC)
}
