//! The behaviour of the local Elastic Beanstalk, seen from outside: the real binary with a state of
//! its own, the real EB CLI, boto3 and AWS CLI, and a real engine that runs the bundles.
//!
//! One binary links once. `xtask/tests/it/tiers.rs` says which tests run when.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_macros)]
// Stories and campaigns say what they did; cargo shows it of those that fail.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod app;
#[path = "../../../tests/it/asked.rs"]
mod asked;
mod dsl;
mod hostile;
mod killed;
mod load;
mod models;
mod networks;
mod policies;
mod refusals;
mod sign;
mod tools;
mod transcript;
