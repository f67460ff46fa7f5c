//! `image …`: one file per subcommand, and the external bases they share.

pub(crate) mod build;
pub(crate) mod builder;
pub(crate) mod destroy;
pub(crate) mod external;
pub(crate) mod identity;
pub(crate) mod inputs;
mod last;
mod leftovers;
mod list;
pub(crate) mod packages;
pub(crate) mod plan;
mod prune;
pub(crate) mod pull;
pub(crate) mod share;
pub(crate) mod unknown;
mod update;
mod verify;
mod why;
