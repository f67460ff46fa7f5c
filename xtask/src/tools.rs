//! One file per outside program: what we say to it and how we read its answer.
//!
//! Functions here return a command or parse a text; they never run anything, so that every argv
//! can be tested as a value.

pub(crate) mod apt;
pub(crate) mod assets;
pub(crate) mod bake;
pub(crate) mod cargo;
pub(crate) mod compose;
pub(crate) mod docker;
pub(crate) mod git;
pub(crate) mod mmdebstrap;
pub(crate) mod npm;
pub(crate) mod tar;

#[cfg(test)]
mod tests;
