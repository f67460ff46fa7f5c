//! The product from outside: the real binary, real sockets, a real store. SQLite always; Postgres
//! as well when TEST_DATABASE_URL names one. Waiting is always for an event, with a deadline, never
//! for a while.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say so and stop"
)]

mod api;
mod assets;
mod database;
mod dist;
mod http;
mod outage;
mod page;
mod process;
mod proxy;
mod server;
mod stores;
