//! The behaviour of `cargo xtask`, seen from outside: the real binary in temporary projects, with
//! the real git and the real docker. Programs are faked only to inject faults.
//!
//! One binary links once. A test that needs a Docker engine begins with `engine!()`: without one it
//! is reported as not run, and in CI that is a failure.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_macros)]

mod dsl;

mod assets;
mod bad_input;
mod browser;
mod campaign;
mod cli;
mod dotenv;
mod dry_run;
mod elsewhere;
mod freshness;
mod gates;
mod host;
mod ignore_rules;
mod images;
mod prune;
mod reasons;
mod recipe;
mod secrets;
mod services;
mod shared_cache;
mod tidy;
mod verify;
