//! The HTML page: the activities, the last seven days, and the form that adds one. It works without
//! script and style too. Nothing of either stands in the page itself, so the content security
//! policy allows nothing but our own files.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::activity::{self, Activity, DAY_MS, Draft, KIND_CHARS_MAX, MINUTES_MAX, Problem};
use crate::assets::Manifest;
use crate::cdn::Cdn;
use crate::config::Identity;
use crate::reply::{self, Cause};
use crate::routes::App;
use crate::store::Day;

const ROWS_MAX: i64 = 100;
const DAYS: i64 = 7;
const SUGGESTIONS: &[&str] =
    &["run", "ride", "swim", "walk", "hike", "row", "climb", "yoga", "strength"];

/// The content security policy: assets from here and from the CDN, nothing from elsewhere. While
/// one develops, a script from where live reload is may ask there.
pub(crate) fn policy(cdn: Option<&Cdn>, live_reload: Option<&str>) -> String {
    let cdn = cdn.map(|cdn| format!(" {}", cdn.origin)).unwrap_or_default();
    let assets: Vec<String> = ["style", "script", "img", "font"]
        .iter()
        .map(|kind| match live_reload.filter(|_| *kind == "script") {
            Some(live) => format!("script-src 'self'{cdn} {live}; connect-src {live}; "),
            None => format!("{kind}-src 'self'{cdn}; "),
        })
        .collect();
    format!(
        "default-src 'none'; {}form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        assets.concat()
    )
}

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
    assets: Arc<Manifest>,
    live_reload: Option<&'a str>,
    identity: &'a Identity,
    entry: Entry,
    suggestions: &'static [&'static str],
    kind_chars_max: usize,
    minutes_max: i64,
    available: bool,
    week: Week,
    latest: Vec<Group>,
}

#[derive(Default)]
struct Week {
    bars: Vec<Bar>,
    activities: i64,
    duration: String,
    active_days: usize,
}

/// One day of the chart.
struct Bar {
    weekday: String,
    minutes: i64,
    /// In percent of the chart's height.
    height: i64,
    is_today: bool,
}

/// The activities of one day.
struct Group {
    day: String,
    rows: Vec<Row>,
}

struct Row {
    class: &'static str,
    kind: String,
    duration: String,
    time: String,
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
            let page = page(app, entry, true, week(&days, first), groups(activities, today));
            html(app, status, &page)
        }
    }
}

fn unavailable(app: &App, entry: Entry, error: &sqlx::Error) -> Response {
    let status = reply::store_status(error);
    let page = page(app, entry, false, Week::default(), Vec::new());
    let mut response = html(app, status, &page);
    response.extensions_mut().insert(Cause(error.to_string()));
    response
}

fn page(app: &App, entry: Entry, available: bool, week: Week, latest: Vec<Group>) -> Page<'_> {
    let is_dev = app.identity.version == "dev";
    Page {
        // While one develops, assets are built anew under a running app.
        assets: if is_dev { app.assets.refreshed(app.log) } else { app.assets.manifest() },
        live_reload: app.live_reload.as_deref(),
        identity: &app.identity,
        entry,
        suggestions: SUGGESTIONS,
        kind_chars_max: KIND_CHARS_MAX,
        minutes_max: MINUTES_MAX,
        available,
        week,
        latest,
    }
}

fn html(app: &App, status: StatusCode, page: &Page<'_>) -> Response {
    match page.render() {
        Ok(text) => {
            let policy = app.policy.as_str();
            let headers =
                [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, policy)];
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
        let height = if minutes == 0 { 0 } else { (minutes * 100 / highest).max(6) };
        let weekday = utc((first + index) * DAY_MS).strftime("%a").to_string();
        Bar { weekday, minutes, height, is_today: index == DAYS - 1 }
    };
    Week {
        bars: (0..DAYS).map(bar).collect(),
        activities: days.iter().map(|day| day.activities).sum(),
        duration: duration(days.iter().map(|day| day.minutes).sum()),
        active_days: days.len(),
    }
}

/// One group a day; the activities come newest first.
fn groups(activities: Vec<Activity>, today: i64) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for activity in activities {
        let day = day(&activity, today);
        match groups.last_mut() {
            Some(group) if group.day == day => group.rows.push(row(activity)),
            _ => groups.push(Group { day, rows: vec![row(activity)] }),
        }
    }
    groups
}

fn day(activity: &Activity, today: i64) -> String {
    let at = activity.at.as_millisecond();
    match today - at.div_euclid(DAY_MS) {
        0 => "Today".to_owned(),
        1 => "Yesterday".to_owned(),
        2..=320 => utc(at).strftime("%A, %-d %B").to_string(),
        _ => utc(at).strftime("%-d %B %Y").to_string(),
    }
}

fn row(activity: Activity) -> Row {
    Row {
        class: class(&activity.kind),
        kind: activity.kind,
        duration: duration(activity.minutes),
        time: utc(activity.at.as_millisecond()).strftime("%H:%M").to_string(),
        datetime: activity.at.to_string(),
    }
}

/// Chooses icon and colour: a word of the style sheet, never text of a user.
fn class(kind: &str) -> &'static str {
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
