//! `image …`: one file per subcommand, and the external bases they share.

pub(crate) mod build;
mod destroy;
mod external;
mod list;
pub(crate) mod plan;
mod update;
