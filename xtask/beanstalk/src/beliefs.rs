//! What is believed of the service but was never observed: in one table, so that it can be read,
//! doubted and corrected when somebody has seen it.

/// What is believed, and where it comes from.
pub(crate) struct Belief {
    pub(crate) subject: &'static str,
    pub(crate) belief: &'static str,
    pub(crate) source: &'static str,
}

const fn belief(subject: &'static str, belief: &'static str, source: &'static str) -> Belief {
    Belief { subject, belief, source }
}

/// Sources: `docs` (AWS's guide), `report` (a user's transcript), `memory` (nobody's word).
pub(crate) const BELIEFS: &[Belief] = &[
    belief(
        "deploy",
        "an AllAtOnce deployment whose instances do not become healthy ends with `Failed to deploy \
         application.`, VersionLabel stays the earlier one and the new containers stay",
        "docs, report",
    ),
    belief(
        "deploy",
        "after a failed Rolling deployment the finished batches keep the new version",
        "docs",
    ),
    belief(
        "deploy",
        "Immutable and TrafficSplitting start new instances beside the old ones, and take them away \
         again when one of them fails; the old ones are not touched",
        "docs",
    ),
    belief(
        "deploy",
        "where settings and version change in one call, one deployment carries both, and a failure \
         takes back both",
        "memory",
    ),
    belief("deploy", "the wording of the events of Immutable and TrafficSplitting", "memory"),
    belief(
        "configuration",
        "an update of settings alone that fails is taken back: `The environment was reverted to the \
         previous configuration setting.`",
        "docs",
    ),
    belief(
        "configuration",
        "properties of an environment may have 4,096 bytes in all, each counted as KEY=VALUE",
        "docs; the wording of the refusal: memory",
    ),
    belief("configuration", "defaults of options that are not in the guide", "memory"),
    belief(
        "ECS branch",
        "a value of `containerDefinitions[].environment` wins over a property of the environment",
        "memory",
    ),
    belief(
        "ECS branch",
        "an essential container that ends takes its task with it, which is then started again",
        "docs",
    ),
    belief(
        "Docker branch",
        "compose is called as `docker compose up --detach --remove-orphans` on the instance",
        "memory",
    ),
    belief(
        "bundles",
        "a bundle that cannot be unpacked fails its deployment; the wording of the event",
        "memory",
    ),
    belief(
        "instances",
        "their own file system, root and devices: absolute paths are a private directory here; host \
         namespaces, devices and privileged containers are refused",
        "not modelled",
    ),
    belief(
        "instances",
        "hooks and commands run in a container with the source and without Docker, not as root of \
         the machine; packages, users, services and Resources of .ebextensions do nothing",
        "not modelled",
    ),
    belief("health", "how long an instance may take to answer, and how often it is asked", "docs"),
    belief("terminate", "an environment that is being changed is not terminated", "memory"),
    belief("errors", "the wording of refusals that `eb` does not compare", "memory"),
    belief(
        "platforms",
        "versions of the two platform branches and their solution stacks",
        "memory",
    ),
];
