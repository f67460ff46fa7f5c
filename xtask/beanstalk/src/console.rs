//! The console: read-only pages to look at, and the state as JSON for programs of this machine.

use std::fmt::Write as _;

use crate::beliefs::BELIEFS;
use crate::health;
use crate::operations::logs_of;
use crate::server::answer::text;
use crate::server::query::Query;
use crate::service::Service;
use crate::state::{Environment, Event, Status};

const HTML: &str = "text/html; charset=utf-8";

/// A page and its kind; `None` when there is none at this path.
pub(crate) fn page(service: &Service, path: &str, query: &Query) -> Option<(&'static str, String)> {
    match path {
        "/" => Some((HTML, overview(service))),
        "/environment" => environment(service, query.text("id")?).map(|page| (HTML, page)),
        "/beliefs" => Some((HTML, beliefs())),
        "/local/status" => Some(("application/json", status(service))),
        _ => None,
    }
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;\
padding:0 1rem;color:#1b1f24;background:#fff}table{border-collapse:collapse;width:100%;\
margin:.5rem 0 2rem}th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d8dee4;\
vertical-align:top}th{font-weight:600;color:#57606a}h1{font-size:1.4rem}h2{font-size:1.1rem}\
pre{background:#f6f8fa;padding:1rem;overflow:auto;font-size:13px}.Green{color:#116329}\
.Yellow{color:#7d4e00}.Red{color:#a40e26}.Grey{color:#57606a}a{color:#0550ae}\
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,.Grey{color:#9198a1}\
th,td{border-color:#3d444d}pre{background:#151b23}.Green{color:#3fb950}.Yellow{color:#d29922}\
.Red{color:#ff7b72}a{color:#79c0ff}}";

fn frame(title: &str, content: &str) -> String {
    let title = text(title);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"5\"><title>{title}\
         </title><style>{STYLE}</style><h1>{title}</h1>{content}"
    )
}

fn rows<T>(
    heads: &[&str],
    rows: impl Iterator<Item = T>,
    row: impl Fn(T) -> Vec<String>,
) -> String {
    let mut html = String::from("<table><tr>");
    for head in heads {
        write!(html, "<th scope=\"col\">{head}").ok();
    }
    let mut none = true;
    for item in rows {
        none = false;
        html += "<tr>";
        for cell in row(item) {
            write!(html, "<td>{cell}").ok();
        }
    }
    if none {
        write!(html, "<tr><td colspan=\"{}\">none yet", heads.len()).ok();
    }
    html + "</table>"
}

fn coloured(service: &Service, environment: &Environment) -> String {
    let seen = health::of(service, environment);
    format!("<span class=\"{}\">{}</span>", seen.level.color(), seen.level.name())
}

fn overview(service: &Service) -> String {
    let (environments, versions, events) = service.read(|state| {
        let living = state.environments.values().filter(|it| it.status != Status::Terminated);
        let mut versions: Vec<_> = state.versions.values().cloned().collect();
        versions.sort_by_key(|version| std::cmp::Reverse(version.created));
        versions.truncate(50);
        let events: Vec<Event> = state.events.iter().rev().take(50).cloned().collect();
        (living.cloned().collect::<Vec<_>>(), versions, events)
    });
    let heads = ["Environment", "Application", "Version", "Status", "Health", "Address"];
    let table = rows(&heads, environments.iter(), |it| {
        let address = text(&it.address.name());
        vec![
            format!("<a href=\"/environment?id={}\">{}</a>", text(&it.id), text(&it.name)),
            text(&it.application),
            text(it.version.as_deref().unwrap_or("none")),
            format!("{:?}", it.status),
            coloured(service, it),
            format!("<a href=\"http://{address}/\">{address}</a>"),
        ]
    });
    let versions =
        rows(&["Application", "Version", "Made", "Description"], versions.iter(), |it| {
            let made = it.created.to_string();
            vec![text(&it.application), text(&it.label), made, text(&it.description)]
        });
    let content = format!(
        "<h2>Environments</h2>{table}<h2>Versions</h2>{versions}<h2>Events</h2>{}\
         <p><a href=\"/beliefs\">What is believed of the service and was not observed</a>",
        event_table(&events)
    );
    frame("Local Elastic Beanstalk", &content)
}

fn event_table(events: &[Event]) -> String {
    rows(&["Time", "Environment", "Severity", "Message"], events.iter(), |it| {
        let name = it.environment.as_deref().unwrap_or_default();
        let (date, severity) = (it.date.to_string(), it.severity.name().to_owned());
        vec![date, text(name), severity, text(&it.message)]
    })
}

fn environment(service: &Service, id: &str) -> Option<String> {
    let it = service.environment(id)?;
    let seen = health::of(service, &it);
    let events: Vec<Event> = service.read(|state| {
        let own = state.events.iter().rev().filter(|it| it.environment_id.as_deref() == Some(id));
        own.take(100).cloned().collect()
    });
    let causes: String = seen.causes.iter().map(|it| format!("<li>{}", text(it))).collect();
    let heads = ["Instance", "Version", "Deployment", "Result", "In service"];
    let instances = rows(&heads, it.instances.iter(), |instance| {
        vec![
            text(&instance.id),
            text(instance.version.as_deref().unwrap_or("none")),
            instance.deployment.to_string(),
            text(&instance.result),
            if instance.in_service { "yes" } else { "no" }.to_owned(),
        ]
    });
    let mut logs = String::new();
    for instance in &it.instances {
        let file = logs_of(service, &instance.id).join("eb-engine.log");
        let content = std::fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<&str> = content.lines().collect();
        let last = lines[lines.len().saturating_sub(30)..].join("\n");
        write!(logs, "<h2>Log of {}</h2><pre>{}</pre>", text(&instance.id), text(&last)).ok();
    }
    let address = text(&it.address.name());
    let content = format!(
        "<p><a href=\"/\">All environments</a><p>{} of {}, {:?}, {}: <a href=\"http://{address}/\">\
         {address}</a><ul>{causes}</ul><h2>Instances</h2>{instances}<h2>Events</h2>{}{logs}",
        text(it.version.as_deref().unwrap_or("no version")),
        text(&it.application),
        it.status,
        coloured(service, &it),
        event_table(&events)
    );
    Some(frame(&it.name, &content))
}

fn beliefs() -> String {
    let table = rows(&["Subject", "Belief", "Source"], BELIEFS.iter(), |it| {
        vec![text(it.subject), text(it.belief), text(it.source)]
    });
    frame("What is believed", &format!("<p><a href=\"/\">All environments</a>{table}"))
}

/// For `beanstalk status`, and for tests that compare state and containers.
fn status(service: &Service) -> String {
    let environments: Vec<Environment> =
        service.read(|state| state.environments.values().cloned().collect());
    let list: Vec<serde_json::Value> = environments
        .iter()
        .map(|it| {
            let seen = health::of(service, it);
            let instances: Vec<_> = it
                .instances
                .iter()
                .map(|instance| {
                    serde_json::json!({
                        "id": instance.id, "version": instance.version,
                        "deployment": instance.deployment, "result": instance.result,
                        "in_service": instance.in_service,
                    })
                })
                .collect();
            serde_json::json!({
                "id": it.id, "name": it.name, "application": it.application,
                "version": it.version, "status": format!("{:?}", it.status),
                "health": seen.level.name(), "causes": seen.causes,
                "address": it.address.name(), "instances": instances,
            })
        })
        .collect();
    let owner = &service.engine.owner;
    serde_json::json!({"owner": owner, "environments": list}).to_string() + "\n"
}
