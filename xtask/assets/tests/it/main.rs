//! The behaviour of the asset pipeline, seen from outside: the real binary on temporary projects.
//!
//! What a test states of an output it reads from the output directory, as a browser would.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_macros)]

mod compilers;
mod dsl;
mod web;

mod commands;
mod determinism;
mod everyday;
mod frameworks;
mod freshness;
mod hostile;
mod interruptions;
mod manifest;
mod maps;
mod names;
mod problems;
mod read_map;
mod root_files;
mod scripts;
mod styles;
