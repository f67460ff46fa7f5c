//! `x-stevedore: {bundle: …}` on a service: what Elastic Beanstalk has to know of it and compose
//! has no word for, and which losses on the way there are accepted.

use std::collections::BTreeSet;

use serde::Deserialize;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Hints {
    /// What it publishes on an instance; compose's `ports` are about this machine.
    pub(crate) ports: Option<Vec<Port>>,
    /// What the ECS branch gives it at most, in MiB, where compose has no limit.
    pub(crate) memory_mb: Option<u64>,
    /// Keys of compose that may be lost, or may become what is only like them.
    pub(crate) lossy: BTreeSet<Lossy>,
}

/// A key of compose that some branch can only come near to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lossy {
    /// ECS: a quota becomes a share.
    Cpus,
    /// ECS: what ends is not started again by itself; the end of an essential container ends all.
    Restart,
    /// ECS: health is asked at one pace, from the beginning.
    StartInterval,
    /// A volume lives no longer than its instance.
    Volumes,
}

/// `HOST:CONTAINER` or `HOST:CONTAINER/udp`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Port {
    pub(crate) host: u16,
    pub(crate) container: u16,
    /// `tcp` or `udp`.
    pub(crate) protocol: String,
}

impl TryFrom<String> for Port {
    type Error = String;

    fn try_from(text: String) -> Result<Port, String> {
        let read = || {
            let (ports, protocol) = match text.split_once('/') {
                None => (text.as_str(), "tcp"),
                Some((ports, "tcp")) => (ports, "tcp"),
                Some((ports, "udp")) => (ports, "udp"),
                Some(_) => return None,
            };
            let (host, container) = ports.split_once(':')?;
            let digits = |port: &str| port.bytes().all(|it| it.is_ascii_digit());
            let number = |port: &str| port.parse().ok().filter(|it| *it != 0 && digits(port));
            let protocol = protocol.to_owned();
            Some(Port { host: number(host)?, container: number(container)?, protocol })
        };
        read()
            .ok_or_else(|| format!("the port {text:?} is no \"HOST:CONTAINER\" such as \"80:80\""))
    }
}
