//! Volumes without a name: the next start makes new ones, so what they hold is not kept.
//!
//! They come from `volumes: ["/data"]` in a compose file, or from a `VOLUME` of an image that no
//! mount covers. The containers show both, whichever image they are of.

use std::collections::BTreeSet;

use crate::ctx::Ctx;
use crate::tools::docker_container::Container;

/// A volume without a name, by its service and where that sees it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unnamed {
    pub(crate) service: String,
    pub(crate) path: String,
}

impl Unnamed {
    /// What to write into the compose file.
    pub(crate) fn mend(&self) -> String {
        format!("name it with `volumes: [\"NAME:{}\"]`", self.path)
    }
}

/// Warns of each one. `environment` is where it is.
pub(crate) fn warn(ctx: &Ctx, environment: &str, volumes: impl IntoIterator<Item = Unnamed>) {
    for volume in volumes {
        let (Unnamed { service, path }, mend) = (&volume, volume.mend());
        ctx.warn(format_args!(
            "{environment}: {service} loses {path} at each stop, since that volume has no name; {mend}"
        ));
    }
}

/// Those of the containers of services.
pub(crate) fn of(containers: &[Container]) -> BTreeSet<Unnamed> {
    let one = |container: &Container| {
        let service = container.service().to_owned();
        let paths = container.unnamed_volumes();
        paths.into_iter().map(move |path| Unnamed { service: service.clone(), path })
    };
    containers.iter().flat_map(one).collect()
}
