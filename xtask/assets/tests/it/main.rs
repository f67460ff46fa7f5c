//! The behaviour of the asset pipeline, seen from outside: the real binary on temporary projects.
//!
//! What a test states of an output it reads from the output directory, as a browser would.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_macros)]

mod dsl;

mod bootstrap;
mod commands;
mod determinism;
mod freshness;
mod hostile;
mod interruptions;
mod manifest;
mod maps;
mod names;
mod problems;
mod scripts;
mod styles;
