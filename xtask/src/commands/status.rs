//! `status`: which engine runs, and how each service is.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{doctor, procfile, start};
use crate::cli::Status;
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::compose;

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
        if let Some(problem) = doctor::engine(ctx).problem() {
            if ctx.interrupted() {
                return Err(exit::interrupted());
            }
            super::env::load(ctx, name)?;
            ctx.say(problem);
            return show(ctx, name, "none", &[], None);
        }
        let stage = start::existing(ctx, name)?;
        let containers = start::containers(ctx, &stage)?;
        let mut rows = Vec::new();
        for service in stage.stack.names() {
            let found = containers.iter().find(|container| container.service == service);
            rows.push(match found {
                Some(container) => (service, container.status.clone(), container.image.clone()),
                None => (service, "not running".into(), String::new()),
            });
        }
        let ports: BTreeSet<u16> =
            containers.iter().flat_map(compose::Container::published).collect();
        show(ctx, name, "docker", &rows, ports.first().copied())
    }
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
        // An image's name ends in 64 digits; twelve tell it from others.
        let image = match image.split_once(":f-") {
            Some((name, digits)) => format!("{name}:f-{}", fingerprint::short(digits)),
            None => image.clone(),
        };
        ctx.print(format_args!("  {service:12} {status:30} {image}"))?;
    }
    Ok(())
}
