//! What happened, newest first.

use super::{Answer, Call};
use crate::server::answer::{Fields, Node};
use crate::state::{Event, Moment};

pub(super) fn describe(call: &Call<'_>) -> Answer {
    let query = call.query;
    let text = |name: &str| query.text(name).map(str::to_owned);
    let (application, version, template) =
        (text("ApplicationName"), text("VersionLabel"), text("TemplateName"));
    let (id, name) = (text("EnvironmentId"), text("EnvironmentName"));
    let (request, platform) = (text("RequestId"), text("PlatformArn"));
    let severity = query.severity("Severity")?;
    let start = query.moment("StartTime")?.unwrap_or_default();
    let end = query.moment("EndTime")?.unwrap_or(Moment(u64::MAX));
    let most = query.number("MaxRecords", 1000)?.unwrap_or(usize::MAX);
    // The next page begins below a date: new events do not move it.
    let below = query.text("NextToken").and_then(|it| it.parse().ok()).unwrap_or(u64::MAX);
    let is = |wanted: &Option<String>, own: Option<&String>| {
        wanted.as_ref().is_none_or(|wanted| own == Some(wanted))
    };
    call.service.read(|state| {
        let from = state.events.partition_point(|event| event.date < start);
        let matches = |event: &&Event| {
            event.date < end
                && event.date.0 < below
                && severity.is_none_or(|least| event.severity >= least)
                && is(&application, Some(&event.application))
                && is(&version, event.version.as_ref())
                && is(&template, event.template.as_ref())
                && is(&id, event.environment_id.as_ref())
                && is(&name, event.environment.as_ref())
                && is(&request, Some(&event.request))
                && is(&platform, event.platform.as_ref())
        };
        let mut found = state.events[from..].iter().rev().filter(matches);
        let page: Vec<&Event> = found.by_ref().take(most).collect();
        let next = found.next().and(page.last()).map(|last| last.date.0.to_string());
        let answer = Fields::new().list("Events", page.into_iter().map(node));
        Ok(Some(answer.maybe("NextToken", next).into()))
    })
}

fn node(event: &Event) -> Node {
    let request = (!event.request.is_empty()).then_some(event.request.as_str());
    Fields::new()
        .with("EventDate", event.date)
        .with("Message", event.message.as_str())
        .with("ApplicationName", event.application.as_str())
        .maybe("VersionLabel", event.version.as_deref())
        .maybe("TemplateName", event.template.as_deref())
        .maybe("EnvironmentName", event.environment.as_deref())
        .maybe("PlatformArn", event.platform.as_deref())
        .maybe("RequestId", request)
        .with("Severity", event.severity.name())
        .into()
}
