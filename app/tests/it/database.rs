//! Stores that belong to one test each: a SQLite file of its own, or a schema of its own in
//! Postgres.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) kind: &'static str,
    cleanup: Cleanup,
}

enum Cleanup {
    Directory(PathBuf),
    Schema { server: String, name: String },
}

/// Runs the same expectations against each store there is.
pub(crate) fn on_every_store(test: impl Fn(&Database)) {
    test(&Database::sqlite());
    match Database::postgres() {
        Some(postgres) => test(&postgres),
        None => eprintln!("TEST_DATABASE_URL is not set: not tested on Postgres"),
    }
}

impl Database {
    pub(crate) fn sqlite() -> Database {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(unique_name());
        fs::create_dir_all(&directory).unwrap();
        let url = format!("sqlite:{}", directory.join("store.db").display());
        Database { url, kind: "sqlite", cleanup: Cleanup::Directory(directory) }
    }

    pub(crate) fn postgres() -> Option<Database> {
        let server = std::env::var("TEST_DATABASE_URL").ok()?;
        let name = unique_name();
        execute(&server, format!("CREATE SCHEMA {name}"));
        let separator = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{separator}options[search_path]={name}");
        Some(Database { url, kind: "postgres", cleanup: Cleanup::Schema { server, name } })
    }

    /// The same store by way of `port` on this machine.
    pub(crate) fn url_through(&self, port: u16) -> String {
        let mut url = AnyConnectOptions::from_str(&self.url).unwrap().database_url;
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(port)).unwrap();
        url.to_string()
    }

    /// Where the server is, for a proxy.
    pub(crate) fn server_address(&self) -> String {
        let url = AnyConnectOptions::from_str(&self.url).unwrap().database_url;
        format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        match &self.cleanup {
            // Not worth a second panic: the directory lies below cargo's target.
            Cleanup::Directory(directory) => drop(fs::remove_dir_all(directory)),
            Cleanup::Schema { server, name } => {
                execute(server, format!("DROP SCHEMA {name} CASCADE"));
            }
        }
    }
}

fn execute(server: &str, sql: String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(server).await.unwrap();
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// Unique among test processes that run at once and among the tests of one.
pub(crate) fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
