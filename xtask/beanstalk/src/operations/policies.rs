//! Deployment policies: in which order instances get the new version, and what stays when one
//! fails.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Job, Wanted, instance};
use crate::settings::{self, COMMAND, SPLITTING, Settings};
use crate::state::{Deploys, Severity};

/// Returns what went wrong; the instances are then as the service would leave them.
pub(super) fn deploy(job: &Job<'_>, wanted: &Wanted, files: &Settings) -> Result<Vec<String>> {
    let settings = settings::effective(files, &wanted.settings);
    let policy = settings::get(&settings, COMMAND, "DeploymentPolicy");
    let ids = job.environment()?.instance_ids();
    match policy {
        // A change of settings reaches the instances in place.
        _ if wanted.deploys == Deploys::Settings => all_at_once(job, &ids, wanted),
        "Rolling" => rolling(job, &ids, wanted, &settings),
        "RollingWithAdditionalBatch" => additional(job, &ids, wanted, &settings),
        "Immutable" => immutable(job, &ids, wanted),
        "TrafficSplitting" => splitting(job, &ids, wanted, &settings),
        _ => all_at_once(job, &ids, wanted),
    }
}

fn all_at_once(job: &Job<'_>, ids: &[String], wanted: &Wanted) -> Result<Vec<String>> {
    let problems = instance::deploy_all(job, ids, wanted)?;
    if problems.is_empty() {
        job.put_in_service(ids)?;
        job.tell(Severity::Info, "Instance deployment completed successfully.")?;
    } else {
        job.service.point(&job.environment()?);
    }
    Ok(problems)
}

/// How many instances a batch has.
fn batch_size(settings: &Settings, count: usize) -> usize {
    let size = usize::try_from(settings::number(settings, COMMAND, "BatchSize")).unwrap_or(1);
    let size = match settings::get(settings, COMMAND, "BatchSizeType") {
        "Fixed" => size,
        _ => (count * size.min(100)).div_ceil(100),
    };
    size.clamp(1, count.max(1))
}

fn rolling(
    job: &Job<'_>,
    ids: &[String],
    wanted: &Wanted,
    settings: &Settings,
) -> Result<Vec<String>> {
    let size = batch_size(settings, ids.len());
    let batches = ids.len().div_ceil(size);
    for (number, batch) in ids.chunks(size).enumerate() {
        if job.aborted() {
            return Ok(vec!["The deployment was aborted.".to_owned()]);
        }
        let number = number + 1;
        job.tell(
            Severity::Info,
            format!(
                "Batch {number}: Starting application deployment on instance(s) [{}].",
                batch.join(", ")
            ),
        )?;
        // A single instance stays: there is nobody else to answer.
        if ids.len() > batch.len() {
            job.take_out_of_service(batch)?;
        }
        let problems = instance::deploy_all(job, batch, wanted)?;
        if !problems.is_empty() {
            job.put_in_service(batch)?;
            return Ok(problems);
        }
        job.put_in_service(batch)?;
        job.tell(Severity::Info, format!("Batch {number}: Completed application deployment."))?;
        job.tell(
            Severity::Info,
            format!("Command execution completed on {number} of {batches} batches."),
        )?;
    }
    job.tell(Severity::Info, "Instance deployment completed successfully.")?;
    Ok(Vec::new())
}

fn additional(
    job: &Job<'_>,
    ids: &[String],
    wanted: &Wanted,
    settings: &Settings,
) -> Result<Vec<String>> {
    // What a killed server had launched already has the new deployment's number.
    let fresh = launched_before(job, wanted)?;
    let old: Vec<String> = ids.iter().filter(|id| !fresh.contains(id)).cloned().collect();
    let size = batch_size(settings, old.len());
    let mut extra = job.launch(size.saturating_sub(fresh.len()), wanted)?;
    extra.extend(fresh);
    let problems = instance::deploy_all(job, &extra, wanted)?;
    if !problems.is_empty() {
        job.take_away(&extra)?;
        return Ok(problems);
    }
    job.put_in_service(&extra)?;
    let problems = rolling(job, &old, wanted, settings)?;
    if problems.is_empty() {
        job.take_away(&extra)?;
    }
    Ok(problems)
}

/// Instances that were launched for this deployment and never ran another one.
fn launched_before(job: &Job<'_>, wanted: &Wanted) -> Result<Vec<String>> {
    let environment = job.environment()?;
    let started = environment.operation.as_ref().map(|it| it.started).unwrap_or_default();
    let own = environment.instances.iter();
    let own = own.filter(|it| it.deployment == wanted.deployment && it.launched >= started);
    Ok(own.map(|it| it.id.clone()).collect())
}

fn immutable(job: &Job<'_>, ids: &[String], wanted: &Wanted) -> Result<Vec<String>> {
    job.tell(
        Severity::Info,
        "Immutable deployment policy enabled. Launching one instance with the new settings to \
         verify health.",
    )?;
    let (old, new) = match beside(job, ids, wanted)? {
        Ok(both) => both,
        Err(problems) => return Ok(problems),
    };
    exchange(job, &old, &new)
}

/// New instances beside the old ones, one first; they are gone again when one of them fails.
#[allow(clippy::type_complexity)]
fn beside(
    job: &Job<'_>,
    ids: &[String],
    wanted: &Wanted,
) -> Result<Result<(Vec<String>, Vec<String>), Vec<String>>> {
    let fresh = launched_before(job, wanted)?;
    let old: Vec<String> = ids.iter().filter(|id| !fresh.contains(id)).cloned().collect();
    // The old ones may be gone already: the server was killed after the exchange.
    let count = old.len().max(fresh.len()).max(1);
    let mut new = fresh;
    for step in [1, count] {
        let more = job.launch(step.saturating_sub(new.len()), wanted)?;
        new.extend(more);
        let environment = job.environment()?;
        let done = |id: &&String| {
            let mut instances = environment.instances.iter();
            instances.any(|it| it.id == **id && it.result == "Deployed")
        };
        let waiting: Vec<String> = new.iter().filter(|id| !done(id)).cloned().collect();
        let mut problems = instance::deploy_all(job, &waiting, wanted)?;
        if problems.is_empty() && job.aborted() {
            problems.push("The deployment was aborted.".to_owned());
        }
        if !problems.is_empty() {
            for problem in &problems {
                job.tell(Severity::Error, problem.clone())?;
            }
            job.tell(
                Severity::Warn,
                "Immutable deployment failed. Terminating the new instances.",
            )?;
            job.take_away(&new)?;
            return Ok(Err(problems));
        }
        if step == 1 {
            job.tell(Severity::Info, "Test instance passed health checks.")?;
        }
    }
    Ok(Ok((old, new)))
}

fn exchange(job: &Job<'_>, old: &[String], new: &[String]) -> Result<Vec<String>> {
    job.put_in_service(new)?;
    job.tell(
        Severity::Info,
        "Deployment succeeded. Terminating old instances and temporary Auto Scaling group.",
    )?;
    job.take_away(old)?;
    Ok(Vec::new())
}

fn splitting(
    job: &Job<'_>,
    ids: &[String],
    wanted: &Wanted,
    settings: &Settings,
) -> Result<Vec<String>> {
    let percent = settings::number(settings, SPLITTING, "NewVersionPercent");
    let minutes = settings::number(settings, SPLITTING, "EvaluationTime");
    let (old, new) = match beside(job, ids, wanted)? {
        Ok(both) => both,
        Err(problems) => return Ok(problems),
    };
    let environment = job.environment()?;
    let port = environment.address.port;
    let doors = &job.service.doors;
    let ports: Vec<u16> = new.iter().filter_map(|id| doors.instance(id)).collect();
    doors.share(port, &ports, percent);
    job.tell(
        Severity::Info,
        format!(
            "Traffic splitting: {percent} percent of the traffic goes to the new version for \
             {minutes} minutes."
        ),
    )?;
    let check = crate::health::Check::of(settings);
    let until = Instant::now() + job.service.options.minute * u32::try_from(minutes).unwrap_or(5);
    while Instant::now() < until {
        job.pause(Duration::from_millis(500));
        let problem = ports.iter().find_map(|port| check.ask(*port).err());
        let aborted = || job.aborted().then(|| "The deployment was aborted.".to_owned());
        if let Some(problem) = problem.or_else(aborted) {
            job.service.point(&environment);
            job.take_away(&new)?;
            return Ok(vec![problem]);
        }
    }
    exchange(job, &old, &new)
}
