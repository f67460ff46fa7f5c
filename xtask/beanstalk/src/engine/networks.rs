//! Networks by which instances find the attached services.
//!
//! Each instance has one of its own. On a network shared by all of them, the name of a service
//! would also lead to the containers of the other instances.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::{Engine, SHORT};

impl Engine {
    /// Creates the network of an instance, and connects containers to it by their aliases; what is
    /// there already stays.
    pub(crate) fn connect(
        &self,
        network: &str,
        labels: &[String],
        containers: &BTreeMap<String, String>,
    ) -> Result<()> {
        let exact = format!("name=^{network}$");
        if self.run(&["network", "ls", "--quiet", "--filter", &exact], SHORT)?.is_empty() {
            let labels = labels.iter().flat_map(|label| ["--label", label]);
            let create: Vec<&str> =
                ["network", "create"].into_iter().chain(labels).chain([network]).collect();
            self.run(&create, SHORT).with_context(|| format!("can't create {network}"))?;
        }
        let format = "{{.Name}}{{range $name, $_ := .NetworkSettings.Networks}} {{$name}}{{end}}";
        let names = containers.values().map(String::as_str);
        let inspect: Vec<&str> =
            ["container", "inspect", "--format", format].into_iter().chain(names).collect();
        let connected = self.run(&inspect, SHORT)?;
        let is_connected = |container: &str| {
            let mut lines = connected.lines().map(|line| line.trim_start_matches('/').split(' '));
            lines.any(|mut words| {
                words.next() == Some(container) && words.any(|word| word == network)
            })
        };
        for (alias, container) in containers.iter().filter(|(_, it)| !is_connected(it)) {
            let connect = ["network", "connect", "--alias", alias, network, container];
            self.run(&connect, SHORT)
                .with_context(|| format!("can't connect {container} to {network}"))?;
        }
        Ok(())
    }

    /// Removes the networks that compose leaves of a project, since they are not its own or
    /// containers of a different project are connected to them.
    pub(super) fn remove_networks(&self, project: &str) -> Result<()> {
        let own = format!("label={}", self.own());
        let exact = format!("name=^{project}_");
        let list = ["network", "ls", "--quiet", "--filter", &own, "--filter", &exact];
        for network in self.run(&list, SHORT)?.lines() {
            let format = "{{range $id, $_ := .Containers}}{{$id}} {{end}}";
            let containers =
                self.run(&["network", "inspect", "--format", format, network], SHORT)?;
            for container in containers.split_whitespace() {
                // It may be gone by now.
                let disconnect = ["network", "disconnect", "--force", network, container];
                self.run(&disconnect, SHORT).ok();
            }
            self.run(&["network", "rm", network], SHORT)?;
        }
        Ok(())
    }

    /// The projects that networks belong to: compose and we name them `PROJECT_NETWORK`.
    pub(super) fn projects_of_networks(&self) -> Result<Vec<String>> {
        let own = format!("label={}", self.own());
        let list = ["network", "ls", "--filter", &own, "--format", "{{.Name}}"];
        let names = self.run(&list, SHORT)?;
        Ok(names.lines().filter_map(|name| Some(name.split_once('_')?.0.to_owned())).collect())
    }
}
