//! `app migrate`: the admin process. The migrations travel inside the binary, so the schema a
//! release needs cannot be missing from it. A server never migrates by itself: it refuses to start
//! instead.
//!
//! sqlx's `migrate!` would do the embedding at the price of compiling its macros and drivers twice;
//! a list and a test that compares it with the folder cost nothing.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::migrate::{Migrate as _, Migration, MigrationType};
use sqlx::{AnyConnection, Connection as _, SqlSafeStr as _};

use crate::config::MigrateConfig;
use crate::signals::Stop;
use crate::store;

/// File name and text; the number before the underscore is the version. Append only.
const MIGRATIONS: &[(&str, &str)] =
    &[("1_create_activities", include_str!("../migrations/1_create_activities.sql"))];

/// sqlx's own name for it, so that its command line tool reads the same table.
const TABLE: &str = "_sqlx_migrations";
/// For the lock that another migration may hold, and for the work itself.
const DEADLINE: Duration = Duration::from_secs(300);

pub(crate) async fn run(config: MigrateConfig) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    let work = async {
        let mut connection =
            store::connect(&config.database, config.database_wait, config.log).await?;
        let applied = tokio::time::timeout(DEADLINE, apply(&mut connection));
        let applied = applied.await.context("the migration took more than 5 minutes")??;
        connection.close().await.context("cannot close the store")?;
        let total = MIGRATIONS.len();
        let mut out = std::io::stdout();
        if applied.is_empty() {
            writeln!(out, "nothing to apply: {total} of {total} migrations are in place")?;
        }
        applied.iter().try_for_each(|name| writeln!(out, "applied {name}"))?;
        Ok(())
    };
    tokio::select! {
        result = work => result,
        signal = stop.received() => bail!("stopped by {signal}; run `app migrate` again"),
    }
}

/// # Errors
/// The schema lacks migrations of this binary. A schema that is ahead is fine: that is a rollback.
pub(crate) async fn check(connection: &mut AnyConnection) -> anyhow::Result<()> {
    let applied = match connection.list_applied_migrations(TABLE).await {
        Ok(applied) => applied,
        Err(error) => bail!("the store has no schema yet: run `app migrate` ({error})"),
    };
    let missing = migrations()
        .iter()
        .filter(|wanted| !applied.iter().any(|it| it.version == wanted.version))
        .count();
    if missing > 0 {
        bail!("the store lacks {missing} of {} migrations: run `app migrate`", MIGRATIONS.len());
    }
    Ok(())
}

/// Returns the names of what was applied.
async fn apply(connection: &mut AnyConnection) -> anyhow::Result<Vec<String>> {
    // One at a time: an advisory lock on Postgres, nothing on SQLite.
    connection.lock().await.context("cannot lock the store for a migration")?;
    let applied = apply_locked(connection).await;
    // A lost connection has lost its lock too; the first error is the one to tell.
    let unlocked = connection.unlock().await.context("cannot unlock the store");
    applied.and_then(|names| unlocked.map(|()| names))
}

async fn apply_locked(connection: &mut AnyConnection) -> anyhow::Result<Vec<String>> {
    connection.ensure_migrations_table(TABLE).await.context("cannot create the migration table")?;
    if let Some(version) = connection.dirty_version(TABLE).await? {
        bail!("migration {version} was interrupted: restore the store from a backup");
    }
    let applied = connection.list_applied_migrations(TABLE).await?;
    let applied: BTreeMap<i64, _> =
        applied.into_iter().map(|it| (it.version, it.checksum)).collect();
    let mut names = Vec::new();
    for migration in migrations() {
        let name = format!("{} {}", migration.version, migration.description);
        match applied.get(&migration.version) {
            Some(checksum) if *checksum == migration.checksum => {}
            Some(_) => bail!("migration {name} was changed after it was applied: append a new one"),
            None => {
                let done = connection.apply(TABLE, &migration).await;
                done.with_context(|| format!("cannot apply migration {name}"))?;
                names.push(name);
            }
        }
    }
    Ok(names)
}

fn migrations() -> Vec<Migration> {
    let migration = |(name, sql): &(&'static str, &'static str)| {
        let (version, description) = name.split_once('_').unwrap_or((name, ""));
        Migration::new(
            version.parse().unwrap_or_default(),
            description.replace('_', " ").into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    };
    MIGRATIONS.iter().map(migration).collect()
}

#[cfg(test)]
mod tests {
    use super::{MIGRATIONS, migrations};

    #[test]
    fn every_file_of_the_folder_is_embedded_in_ascending_order() {
        let folder = std::fs::read_dir("migrations").unwrap();
        let mut files: Vec<String> =
            folder.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        files.sort_by_key(|name| name.split('_').next().unwrap().parse::<i64>().unwrap());
        let embedded: Vec<String> =
            MIGRATIONS.iter().map(|(name, _)| format!("{name}.sql")).collect();
        assert_eq!(embedded, files);
        let versions: Vec<i64> = migrations().iter().map(|it| it.version).collect();
        assert!(versions.is_sorted_by(|a, b| 0 < *a && a < b), "{versions:?}");
    }
}
