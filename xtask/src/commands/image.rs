//! `image …`: one file per subcommand, and the external bases they share.

pub(crate) mod build;
pub(crate) mod builder;
mod destroy;
mod external;
mod inputs;
mod list;
pub(crate) mod plan;
mod prune;
pub(crate) mod share;
mod update;
mod verify;
mod why;
