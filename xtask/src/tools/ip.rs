//! ip: the network interfaces of this machine.

use anyhow::{Context, Result};
use serde::Deserialize;
use xshell::{Cmd, Shell, cmd};

/// One interface; `master` is the bridge that it is a port of.
#[derive(Debug, Deserialize)]
pub(crate) struct Link {
    pub(crate) ifname: String,
    pub(crate) master: Option<String>,
}

/// All interfaces, for [`parse_links`].
pub(crate) fn links(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "ip -json link show")
}

pub(crate) fn parse_links(output: &str) -> Result<Vec<Link>> {
    serde_json::from_str(output).context("ip lists interfaces in a form that is not known")
}

/// Removes an interface. Of a pair (`veth`), the other end goes too.
pub(crate) fn delete_link<'s>(sh: &'s Shell, name: &str) -> Cmd<'s> {
    cmd!(sh, "ip link delete {name}")
}
