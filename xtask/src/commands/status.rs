//! `status`: which engine runs, and how each service is.

use std::collections::BTreeSet;
use std::time::SystemTime;

use anyhow::Result;

use super::start::verdict::{self, Verdict};
use super::start::{self, Existing, startup};
use super::{doctor, procfile};
use crate::cli::Status;
use crate::ctx::Ctx;
use crate::exit;
use crate::project::stack::Stack;
use crate::tools::docker_container::Container;

mod deployed;

impl Status {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let name = &self.environment;
        if self.drift {
            return deployed::drift(ctx, name);
        }
        self.here(ctx)?;
        deployed::show(ctx, name)
    }

    fn here(&self, ctx: &Ctx) -> Result<()> {
        let name = &self.environment;
        if let Some(host) = procfile::running(ctx, name)? {
            return show(
                ctx,
                name,
                "host",
                &[(host.processes, "running".into(), String::new())],
                host.port,
            );
        }
        if let Some(problem) = doctor::engine_in_use(ctx).problem() {
            if ctx.interrupted() {
                return Err(exit::interrupted());
            }
            super::env::load(ctx, name)?;
            ctx.say(problem);
            return show(ctx, name, "none", &[], None);
        }
        let mut existing = start::existing(ctx, name)?;
        let mut containers = std::mem::take(&mut existing.containers);
        for project in &existing.former {
            containers.extend(start::containers(ctx, project)?);
        }
        let rows = rows(&existing, &containers);
        let ports: BTreeSet<u16> = containers.iter().flat_map(Container::published).collect();
        show(ctx, name, "docker", &rows, ports.first().copied())?;
        if containers.is_empty() {
            return Ok(());
        }
        let wanted = match &existing.stack {
            Some(stack) => startup::wanted(stack, &existing.target.variables),
            None => startup::as_found(&containers),
        };
        problems(ctx, &verdict::judge(&wanted, &containers, SystemTime::now(), true))
    }
}

/// A row for each container, and for each service of the files that has none.
fn rows(existing: &Existing, containers: &[Container]) -> Vec<(String, String, String)> {
    let mut services: BTreeSet<String> = existing.stack.iter().flat_map(Stack::names).collect();
    services.extend(containers.iter().map(|it| it.service().to_owned()));
    let mut rows = Vec::new();
    for service in services {
        let own: Vec<&Container> = containers.iter().filter(|it| it.service() == service).collect();
        match own[..] {
            [] => rows.push((service, "not running".into(), String::new())),
            [one] => rows.push((service, status(one), one.image.clone())),
            _ => rows.extend(own.iter().map(|it| (it.replica(), status(it), it.image.clone()))),
        }
    }
    rows
}

/// The engine's words, with the restarts that they leave out.
fn status(container: &Container) -> String {
    match container.restarts {
        0 => container.status.clone(),
        1 => format!("{}, restarted once", container.status),
        times => format!("{}, restarted {times} times", container.status),
    }
}

/// What is wrong with what runs.
fn problems(ctx: &Ctx, verdict: &Verdict) -> Result<()> {
    let Verdict::Failed(failed) = verdict else { return Ok(()) };
    failed.iter().try_for_each(|finding| match ctx.json {
        true => ctx.event(&serde_json::json!({
            "event": "problem", "service": finding.service, "problem": finding.text,
        })),
        false => ctx.print(format_args!("  problem: {}", finding.text)),
    })
}

fn show(
    ctx: &Ctx,
    environment: &str,
    engine: &str,
    rows: &[(String, String, String)],
    port: Option<u16>,
) -> Result<()> {
    let url = port.map(|port| format!("http://127.0.0.1:{port}/"));
    if ctx.json {
        ctx.event(&serde_json::json!({
            "event": "status", "environment": environment, "engine": engine, "url": url,
        }))?;
        for (service, status, image) in rows {
            ctx.event(&serde_json::json!({
                "event": "service", "service": service, "status": status, "image": image,
            }))?;
        }
        return Ok(());
    }
    ctx.print(format_args!(
        "{environment}: engine {engine}{}",
        url.map(|u| format!(", {u}")).unwrap_or_default()
    ))?;
    for (service, status, image) in rows {
        ctx.print(format_args!("  {service:12} {status:30} {image}"))?;
    }
    Ok(())
}
