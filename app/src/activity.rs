//! The one noun of the product, and what makes one valid. Pure: text and a clock reading in, a
//! draft or every problem out, the same rules for JSON and for the form.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

pub(crate) const KIND_CHARS_MAX: usize = 40;
pub(crate) const MINUTES_MAX: i64 = 24 * 60;
const MINUTES_WANTED: &str = "must be a whole number from 1 to 1440";
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// An activity as stored and as answered.
#[derive(Serialize)]
pub(crate) struct Activity {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) minutes: i64,
    /// RFC 3339 outside; the store keeps unix milliseconds.
    pub(crate) at: Timestamp,
}

/// A valid activity that has no identity yet.
pub(crate) struct Draft {
    pub(crate) kind: String,
    pub(crate) minutes: i64,
    pub(crate) at: Timestamp,
}

#[derive(Serialize)]
pub(crate) struct Problem {
    pub(crate) field: String,
    pub(crate) problem: String,
}

impl Problem {
    pub(crate) fn new(field: &str, problem: impl Into<String>) -> Problem {
        Problem { field: field.to_owned(), problem: problem.into() }
    }
}

impl Draft {
    /// # Errors
    /// Every problem: of `kind`, `minutes` and `at`, then every unknown field by name.
    pub(crate) fn from_json(value: &Value, now: Timestamp) -> Result<Draft, Vec<Problem>> {
        let Value::Object(fields) = value else {
            return Err(vec![Problem::new("body", "must be a JSON object")]);
        };
        let kind = match fields.get("kind") {
            None => Err("is missing".into()),
            Some(Value::String(text)) => check_kind(text),
            Some(_) => Err("must be text".into()),
        };
        let minutes = match fields.get("minutes") {
            None => Err("is missing".into()),
            Some(value) => check_minutes(value.as_i64()),
        };
        let at = match fields.get("at") {
            None => Ok(now),
            Some(Value::String(text)) => check_at(text, now),
            Some(_) => Err(AT_WANTED.into()),
        };
        let known = |name: &str| ["at", "kind", "minutes"].contains(&name);
        let unknown = fields.keys().filter(|name| !known(name.as_str()));
        let unknown = unknown.map(|name| Problem::new(name, "is not a known field")).collect();
        draft(kind, minutes, at, unknown)
    }

    /// # Errors
    /// Every problem, by the name of the form's field.
    pub(crate) fn from_form(
        kind: &str,
        minutes: &str,
        now: Timestamp,
    ) -> Result<Draft, Vec<Problem>> {
        let minutes = check_minutes(minutes.trim().parse().ok());
        draft(check_kind(kind), minutes, Ok(now), Vec::new())
    }
}

fn draft(
    kind: Result<String, String>,
    minutes: Result<i64, String>,
    at: Result<Timestamp, String>,
    mut unknown: Vec<Problem>,
) -> Result<Draft, Vec<Problem>> {
    if let (Ok(kind), Ok(minutes), Ok(at), true) = (&kind, &minutes, &at, unknown.is_empty()) {
        return Ok(Draft { kind: kind.clone(), minutes: *minutes, at: *at });
    }
    let of_fields = [("kind", kind.err()), ("minutes", minutes.err()), ("at", at.err())];
    let mut problems: Vec<Problem> = of_fields
        .into_iter()
        .filter_map(|(field, problem)| Some(Problem::new(field, problem?)))
        .collect();
    problems.append(&mut unknown);
    Err(problems)
}

fn check_kind(text: &str) -> Result<String, String> {
    let kind = text.trim();
    if kind.is_empty() {
        return Err("must not be empty".into());
    }
    if kind.chars().count() > KIND_CHARS_MAX {
        return Err(format!("must be at most {KIND_CHARS_MAX} characters"));
    }
    if kind.chars().any(char::is_control) {
        return Err("must not hold control characters".into());
    }
    Ok(kind.to_owned())
}

fn check_minutes(minutes: Option<i64>) -> Result<i64, String> {
    let minutes = minutes.filter(|minutes| (1..=MINUTES_MAX).contains(minutes));
    minutes.ok_or_else(|| MINUTES_WANTED.into())
}

const AT_WANTED: &str = "must be an RFC 3339 time, such as 2026-01-31T18:30:00Z";

fn check_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    // jiff also reads `…[Europe/Berlin]` and `20260131T…`, which RFC 3339 does not have.
    let shaped = text.as_bytes().get(4) == Some(&b'-') && !text.contains('[');
    let parsed = if shaped { text.parse::<Timestamp>().ok() } else { None };
    let at = parsed.ok_or(AT_WANTED)?.as_millisecond();
    if !(0..=now.as_millisecond() + DAY_MS).contains(&at) {
        return Err("must lie between 1970 and tomorrow".into());
    }
    // What is answered is what is stored: milliseconds.
    Timestamp::from_millisecond(at).map_err(|_| AT_WANTED.into())
}

/// The clock, at the store's precision.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
