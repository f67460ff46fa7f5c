//! The store: SQLite or Postgres behind one code path. sqlx's `Any` driver picks by the URL; the
//! SQL is the part of the language both speak, with `$1` placeholders.

use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow, install_default_drivers};
use sqlx::{AnyConnection, AnyPool, Connection as _, Row as _};
use uuid::Uuid;

use crate::activity::{Activity, DAY_MS, Draft};
use crate::log::Log;

const CONNECTIONS_MAX: u32 = 5;
const ACQUIRE_DEADLINE: Duration = Duration::from_secs(3);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const PING_DEADLINE: Duration = Duration::from_secs(2);

/// Holds a password, hence no `Debug` and no `Display`.
#[derive(Clone)]
pub(crate) struct DatabaseUrl {
    options: AnyConnectOptions,
    pub(crate) kind: &'static str,
}

impl DatabaseUrl {
    /// # Errors
    /// What to set. Never any part of the value: a password with a slash in it makes even the host
    /// unsafe to show.
    pub(crate) fn parse(text: Option<&str>) -> Result<DatabaseUrl, String> {
        const WANTED: &str = "set it to sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME";
        let Some(text) = text else { return Err(format!("is missing: {WANTED}")) };
        let kind = match text.split_once(':') {
            Some(("sqlite", _)) => "sqlite",
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => "postgres",
            _ => return Err(format!("names no store this app knows: {WANTED}")),
        };
        let mut options: AnyConnectOptions =
            text.parse().map_err(|_| format!("is not a valid URL: {WANTED}"))?;
        if kind == "sqlite" {
            if text.contains(":memory:") || text.contains("mode=memory") {
                return Err("an in-memory store forgets its schema: name a file".into());
            }
            let url = &mut options.database_url;
            if !url.query_pairs().any(|(key, _)| key == "mode") {
                url.query_pairs_mut().append_pair("mode", "rwc");
            }
        }
        Ok(DatabaseUrl { options, kind })
    }

    /// Stands in while the rest of a broken environment is read; never connected to.
    pub(crate) fn placeholder() -> DatabaseUrl {
        #[expect(clippy::expect_used, reason = "a literal that the tests parse")]
        DatabaseUrl::parse(Some("sqlite:unused")).expect("a valid URL")
    }
}

/// Connects once, and goes on trying for `wait` while the store looks as if it were only late.
pub(crate) async fn connect(
    url: &DatabaseUrl,
    wait: Duration,
    log: Log,
) -> anyhow::Result<AnyConnection> {
    install_default_drivers();
    let kind = url.kind;
    let started = tokio::time::Instant::now();
    let mut pause = Duration::from_millis(100);
    let mut told = false;
    loop {
        let attempt = AnyConnection::connect_with(&url.options);
        let error = match tokio::time::timeout(CONNECT_DEADLINE, attempt).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if !is_late(&error) => {
                bail!("cannot open the {kind} store: {error}");
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} seconds", CONNECT_DEADLINE.as_secs()),
        };
        if started.elapsed() + pause > wait {
            let seconds = wait.as_secs();
            bail!("the {kind} store did not answer within {seconds} seconds: {error}");
        }
        if !told {
            log.warn("waiting", &[("store", kind.into()), ("error", error.into())]);
            told = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Not there yet, or there and still starting (57P03) or full (53300): worth another try.
fn is_late(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(it) => {
            matches!(it.code().as_deref(), Some("57P03" | "53300"))
        }
        _ => false,
    }
}

#[derive(Clone)]
pub(crate) struct Store {
    pool: AnyPool,
    pub(crate) kind: &'static str,
}

/// Minutes and number of activities of one UTC day.
pub(crate) struct Day {
    /// Days since 1970-01-01.
    pub(crate) number: i64,
    pub(crate) minutes: i64,
    pub(crate) activities: i64,
}

const COLUMNS_BY_ID: &str = "SELECT id, kind, minutes, at_ms FROM activities WHERE id = $1";
const NEWEST_FIRST: &str =
    "SELECT id, kind, minutes, at_ms FROM activities ORDER BY at_ms DESC, id DESC LIMIT $1";
const BY_DAY: &str = "SELECT at_ms / 86400000 AS number, CAST(SUM(minutes) AS BIGINT) AS minutes, \
     COUNT(*) AS activities FROM activities WHERE at_ms >= $1 AND at_ms < $2 GROUP BY 1 ORDER BY 1";

impl Store {
    /// A pool over a store that `connect` has found to answer.
    pub(crate) fn over(url: &DatabaseUrl) -> Store {
        let is_sqlite = url.kind == "sqlite";
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_DEADLINE)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_sqlite {
                        // Readers and the writer do not block one another. sqlx itself sets a busy
                        // timeout of 5 seconds.
                        let wal = sqlx::query("PRAGMA journal_mode = WAL");
                        wal.execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(url.options.clone());
        Store { pool, kind: url.kind }
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// # Errors
    /// One sentence, when the store does not answer a trivial question in time.
    pub(crate) async fn ping(&self) -> Result<(), String> {
        let question = sqlx::query("SELECT 1").execute(&self.pool);
        match tokio::time::timeout(PING_DEADLINE, question).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} seconds", PING_DEADLINE.as_secs())),
        }
    }

    pub(crate) async fn add(&self, draft: Draft) -> sqlx::Result<Activity> {
        let Draft { kind, minutes, at } = draft;
        let id = Uuid::now_v7().to_string();
        sqlx::query("INSERT INTO activities (id, kind, minutes, at_ms) VALUES ($1, $2, $3, $4)")
            .bind(&id)
            .bind(&kind)
            .bind(minutes)
            .bind(at.as_millisecond())
            .execute(&self.pool)
            .await?;
        Ok(Activity { id, kind, minutes, at })
    }

    pub(crate) async fn find(&self, id: Uuid) -> sqlx::Result<Option<Activity>> {
        let query = sqlx::query(COLUMNS_BY_ID).bind(id.to_string());
        query.fetch_optional(&self.pool).await?.as_ref().map(activity).transpose()
    }

    pub(crate) async fn newest(&self, limit: i64) -> sqlx::Result<Vec<Activity>> {
        let rows = sqlx::query(NEWEST_FIRST).bind(limit).fetch_all(&self.pool).await?;
        rows.iter().map(activity).collect()
    }

    /// Days with at least one activity, from day number `first` up to and including `last`.
    pub(crate) async fn days(&self, first: i64, last: i64) -> sqlx::Result<Vec<Day>> {
        let query = sqlx::query(BY_DAY).bind(first * DAY_MS).bind((last + 1) * DAY_MS);
        let rows = query.fetch_all(&self.pool).await?;
        let day = |row: &AnyRow| {
            Ok(Day {
                number: row.try_get("number")?,
                minutes: row.try_get("minutes")?,
                activities: row.try_get("activities")?,
            })
        };
        rows.iter().map(day).collect()
    }
}

fn activity(row: &AnyRow) -> sqlx::Result<Activity> {
    let at = Timestamp::from_millisecond(row.try_get("at_ms")?)
        .map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Activity {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        minutes: row.try_get("minutes")?,
        at,
    })
}
