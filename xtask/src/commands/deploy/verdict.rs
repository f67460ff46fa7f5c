//! What became of a deployment, judged from what the service says of the environment; never from an
//! exit code. Pure: facts in, verdict out.

use std::time::Duration;

use crate::tools::aws::{Environment, Event, Instance};

/// What is known at one moment.
#[derive(Debug)]
pub(crate) struct Facts<'f> {
    /// What is to run.
    pub(crate) label: &'f str,
    pub(crate) environment: Option<&'f Environment>,
    /// When the service last changed the environment before it was told; nothing where that is not
    /// known, since somebody else told it.
    pub(crate) before: Option<&'f str>,
    /// What it said since then, the oldest first.
    pub(crate) events: &'f [Event],
    pub(crate) instances: &'f [Instance],
    /// Since it was told, or since we came back to it.
    pub(crate) since_told: Duration,
    /// Since the environment was seen to be ready again.
    pub(crate) since_ready: Duration,
    /// How long the environment may be unwell after that.
    pub(crate) settle: Duration,
    /// How long it may take to begin.
    pub(crate) may_begin_within: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Waiting,
    Succeeded,
    /// In one sentence.
    Failed(String),
}

/// Events by which the service says that it gave a deployment up, in its own words.
const FAILURES: [&str; 4] = [
    "Failed to deploy application.",
    "Failed to deploy configuration.",
    "Failed to launch environment.",
    "The environment was reverted to the previous configuration setting.",
];
const END: &str = "Environment update completed successfully.";

pub(crate) fn judge(facts: &Facts<'_>) -> Verdict {
    let Some(environment) = facts.environment else {
        return Verdict::Failed("the environment is not there any more".into());
    };
    match environment.status.as_str() {
        "Ready" => {}
        "Terminating" | "Terminated" => {
            return Verdict::Failed("the environment is being terminated".into());
        }
        // Whatever it is called: Launching, Updating, Aborting, LinkingFrom, LinkingTo.
        _ => return Verdict::Waiting,
    }
    let said = |message: &str| facts.events.iter().any(|event| event.message == message);
    let runs = environment.version_label.as_deref().unwrap_or("nothing");
    if gave_up(facts.events) {
        let why = last_error(facts.events).map(|it| format!(": {it}")).unwrap_or_default();
        return Verdict::Failed(format!(
            "Elastic Beanstalk gave the deployment up{why}; it says that {runs} is deployed"
        ));
    }
    let changed = facts.before.is_none_or(|before| environment.date_updated != before);
    let ended = said(END) || (changed && runs == facts.label);
    if !ended {
        return match facts.since_told < facts.may_begin_within {
            true => Verdict::Waiting,
            false => Verdict::Failed(format!("{runs} runs: the deployment never began")),
        };
    }
    if runs != facts.label {
        return Verdict::Failed(format!("the update ended, and {runs} runs"));
    }
    match unwell(facts, environment) {
        None => Verdict::Succeeded,
        Some(_) if facts.since_ready < facts.settle => Verdict::Waiting,
        Some(problem) => Verdict::Failed(problem),
    }
}

pub(crate) fn gave_up(events: &[Event]) -> bool {
    events.iter().any(|event| FAILURES.contains(&event.message.as_str()))
}

/// What keeps a deployed environment from being a success.
fn unwell(facts: &Facts<'_>, environment: &Environment) -> Option<String> {
    for instance in facts.instances {
        let runs = instance.deployment.as_ref().and_then(|it| it.version_label.as_deref());
        if let Some(other) = runs.filter(|runs| *runs != facts.label) {
            return Some(format!("the instance {} still runs {other}", instance.instance_id));
        }
    }
    let status = environment.health_status.as_deref();
    match (environment.health.as_str(), status) {
        ("Green", _) | (_, Some("Ok" | "Info")) => None,
        (color, None) => Some(format!("it is deployed, and its health is {color}")),
        (_, Some(status)) => Some(format!("it is deployed, and its health is {status}")),
    }
}

fn last_error(events: &[Event]) -> Option<&str> {
    let told = |event: &&Event| {
        ["ERROR", "FATAL"].contains(&event.severity.as_str())
            && !FAILURES.contains(&event.message.as_str())
    };
    events.iter().rev().find(told).map(|event| event.message.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::aws::Deployed;

    const LABEL: &str = "1.1.0-abc";

    fn environment(status: &str, label: &str, health: &str) -> Environment {
        Environment {
            version_label: Some(label.into()),
            status: status.into(),
            health: health.into(),
            date_updated: "2".into(),
            ..Environment::default()
        }
    }

    fn event(severity: &str, message: &str) -> Event {
        let (severity, message) = (severity.into(), message.into());
        Event { event_date: "2".into(), severity, message }
    }

    /// The verdict when everything had enough time.
    fn late(environment: Option<&Environment>, events: &[Event], running: &[&str]) -> Verdict {
        judged(environment, events, running, Duration::from_secs(1000))
    }

    fn judged(
        environment: Option<&Environment>,
        events: &[Event],
        running: &[&str],
        time: Duration,
    ) -> Verdict {
        let instance = |(number, label): (usize, &&str)| Instance {
            instance_id: format!("i-{number}"),
            deployment: Some(Deployed { version_label: Some((*label).to_owned()) }),
        };
        judge(&Facts {
            label: LABEL,
            environment,
            before: Some("1"),
            events,
            instances: &running.iter().enumerate().map(instance).collect::<Vec<_>>(),
            since_told: time,
            since_ready: time,
            settle: Duration::from_secs(60),
            may_begin_within: Duration::from_secs(60),
        })
    }

    #[test]
    fn success_is_the_label_ready_green_and_on_every_instance() {
        let well = environment("Ready", LABEL, "Green");
        assert_eq!(late(Some(&well), &[], &[LABEL, LABEL]), Verdict::Succeeded);
        assert_eq!(late(Some(&well), &[], &[]), Verdict::Succeeded);
        let in_words = Environment { health_status: Some("Info".into()), ..well.clone() };
        assert_eq!(late(Some(&in_words), &[], &[LABEL]), Verdict::Succeeded);
        for (found, running) in [
            (environment("Ready", "1.0.0-xyz", "Green"), LABEL),
            (environment("Ready", LABEL, "Red"), LABEL),
            (environment("Ready", LABEL, "Grey"), LABEL),
            (environment("Ready", LABEL, "Yellow"), LABEL),
            (environment("Terminating", LABEL, "Green"), LABEL),
            (well, "1.0.0-xyz"),
        ] {
            let verdict = late(Some(&found), &[], &[LABEL, running]);
            assert!(matches!(verdict, Verdict::Failed(_)), "{found:?}: {verdict:?}");
        }
        assert!(matches!(late(None, &[], &[]), Verdict::Failed(_)));
    }

    #[test]
    fn what_may_still_come_is_waited_for() {
        let soon = Duration::from_secs(5);
        for found in [
            environment("Updating", "1.0.0-xyz", "Green"),
            environment("Updating", LABEL, "Grey"),
            environment("Aborting", LABEL, "Green"),
            // Told, and not begun.
            environment("Ready", "1.0.0-xyz", "Green"),
            // Health comes behind.
            environment("Ready", LABEL, "Red"),
        ] {
            assert_eq!(judged(Some(&found), &[], &[], soon), Verdict::Waiting, "{found:?}");
        }
        let well = environment("Ready", LABEL, "Green");
        assert_eq!(judged(Some(&well), &[], &["1.0.0-xyz"], soon), Verdict::Waiting);
        // The same version with other settings: what is seen may be from before.
        let before = Environment { date_updated: "1".into(), ..well };
        assert_eq!(judged(Some(&before), &[], &[LABEL], soon), Verdict::Waiting);
        let end = event("INFO", END);
        assert_eq!(judged(Some(&before), &[end], &[LABEL], soon), Verdict::Succeeded);
    }

    #[test]
    fn the_services_own_no_is_a_no_whatever_it_looks_like() {
        let well = environment("Ready", LABEL, "Green");
        for failure in FAILURES {
            let events = [event("ERROR", "no space left"), event("ERROR", failure)];
            let verdict = late(Some(&well), &events, &[LABEL]);
            assert_eq!(
                verdict,
                Verdict::Failed(format!(
                    "Elastic Beanstalk gave the deployment up: no space left; it says that {LABEL} \
                     is deployed"
                ))
            );
        }
    }
}
