//! Releases as data: versions, the record, its journal, and what differs between two records. Text
//! in, facts out; nothing here runs a program or reads a file.

pub(crate) mod bundle;
pub(crate) mod changes;
pub(crate) mod deployment;
pub(crate) mod journal;
pub(crate) mod record;
pub(crate) mod sbom;
pub(crate) mod version;

#[cfg(test)]
pub(crate) mod sample;
