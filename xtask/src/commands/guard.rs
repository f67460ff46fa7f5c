//! `guard`, which only xtask calls: the process that outlives a killed xtask and cleans up.

use anyhow::{Context, Result};

use crate::cli::Guard;
use crate::supervise::guard;

impl Guard {
    pub(crate) fn run(self) -> Result<()> {
        guard::run().with_context(|| format!("the guard of {} failed", self.name))
    }
}
