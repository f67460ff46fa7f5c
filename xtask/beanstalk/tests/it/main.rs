//! The behaviour of the local Elastic Beanstalk, seen from outside: the real binary with a state of
//! its own, the real EB CLI, boto3 and AWS CLI, and a real engine that runs the bundles.
//!
//! One binary links once. A test that needs a Docker engine begins with `engine!()`: without one it
//! is reported as not run, and with `STEVEDORE_REQUIRE_DOCKER=1` that is a failure.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_macros)]
// Stories and campaigns say what they did; cargo shows it of those that fail.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod app;
mod dsl;
mod hostile;
mod killed;
mod load;
mod models;
mod policies;
mod refusals;
mod sign;
mod tools;
mod transcript;
