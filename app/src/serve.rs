//! `app serve`: wait for the store, check its schema, listen, and stop gracefully: no new
//! connections, what is under way may finish within the grace period, then the store is closed.

use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sqlx::Connection as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::config::ServeConfig;
use crate::migrate;
use crate::page;
use crate::routes::{self, App};
use crate::signals::Stop;
use crate::store::{self, Store};

const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

pub(crate) async fn run(config: ServeConfig) -> anyhow::Result<()> {
    let log = config.log;
    let mut stop = Stop::listen()?;
    let store = tokio::select! {
        store = open(&config) => store?,
        signal = stop.received() => {
            log.info("stopped", &[("signal", signal.into()), ("started", false.into())]);
            return Ok(());
        }
    };
    let address = SocketAddr::new(config.host, config.port);
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr().context("cannot read the address listened on")?;
    config.assets.warn_if_missing(log);
    let app = App {
        store: store.clone(),
        identity: config.identity.clone(),
        assets: config.assets,
        policy: page::policy(config.cdn.as_ref(), config.live_reload.as_deref()),
        live_reload: config.live_reload,
        log,
        started: Instant::now(),
    };
    let router = routes::router(Arc::new(app));

    let (begin_stop, stopping) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        stopping.await.ok();
    });
    let mut server = pin!(server.into_future());
    log.info(
        "listening",
        &[
            ("address", address.to_string().into()),
            ("store", store.kind.into()),
            ("version", config.identity.version.into()),
            ("commit", config.identity.commit.into()),
            ("process", config.identity.process.into()),
            ("pid", std::process::id().into()),
        ],
    );

    tokio::select! {
        result = &mut server => result.context("the server ended by itself")?,
        signal = stop.received() => {
            log.info("stopping", &[("signal", signal.into())]);
            begin_stop.send(()).ok();
            match tokio::time::timeout(config.shutdown_grace, server).await {
                Ok(result) => result.context("the server did not stop cleanly")?,
                Err(_) => {
                    let seconds = config.shutdown_grace.as_secs();
                    log.warn("cut off", &[("grace_seconds", seconds.into())]);
                }
            }
        }
    }
    tokio::time::timeout(CLOSE_DEADLINE, store.close()).await.ok();
    log.info("stopped", &[]);
    Ok(())
}

async fn open(config: &ServeConfig) -> anyhow::Result<Store> {
    let mut connection = store::connect(&config.database, config.database_wait, config.log).await?;
    migrate::check(&mut connection).await?;
    connection.close().await.context("cannot close the first connection to the store")?;
    Ok(Store::over(&config.database))
}
