//! Whether the data lets an older version run: migrations that it does not know, and the major
//! versions of the stores.

use std::collections::BTreeMap;

use anyhow::Result;
use semver::Version;

use crate::commands::release::schema;
use crate::commands::releases;
use crate::ctx::Ctx;
use crate::release::deployment::Log;
use crate::release::record::{Migration, Record};

/// What speaks against a version, given what may have run in the environment before.
pub(crate) fn problems(ctx: &Ctx, log: &Log, target: &Record) -> Result<Vec<String>> {
    let mut before: BTreeMap<&Version, Record> = BTreeMap::new();
    for deployment in log.0.iter().filter(|it| it.may_have_run()) {
        let version = &deployment.version;
        if *version != target.version && !before.contains_key(version) {
            before.insert(version, releases::load(ctx, version)?);
        }
    }
    let mut problems = Vec::new();
    for record in before.values() {
        for migration in target.lacks(&record.migrations) {
            problems.extend(objection(ctx, record, migration, target)?);
        }
        for (service, theirs, ours) in later_stores(record, target) {
            problems.push(format!(
                "{} brought {service} {theirs}, and {} has {ours}: it can't read that data; \
                 restore a backup beside it, or go on with a new release",
                record.version, target.version
            ));
        }
    }
    problems.sort();
    problems.dedup();
    Ok(problems)
}

/// Why a migration is in the way, unless its author marked it and a gate showed it.
fn objection(
    ctx: &Ctx,
    record: &Record,
    migration: &Migration,
    target: &Record,
) -> Result<Option<String>> {
    let name = &migration.name;
    if migration.compatible.is_none() {
        return Ok(Some(format!(
            "the migration {name} came with {}, and {} does not know it; it is not marked \
             compatible, so {} may not run on the data as they are: go on with a new release, or \
             restore a backup beside it",
            record.version, target.version, target.version
        )));
    }
    let first = introduced(ctx, record.clone(), migration)?;
    // What the gate has shown of one release, it has shown of those with the same images.
    let shown = match &first.previous {
        Some(previous) if first.gates.iter().any(|it| it.name == schema::name(previous)) => {
            *previous == target.version || has_same_images(&releases::load(ctx, previous)?, target)
        }
        _ => false,
    };
    Ok((!shown).then(|| {
        format!(
            "the migration {name} is marked compatible, and no gate of {} has shown that {} runs \
             on it: go back to a later one, or restore a backup beside it",
            first.version, target.version
        )
    }))
}

/// The release that brought a migration, from a later one back.
fn introduced(ctx: &Ctx, mut record: Record, migration: &Migration) -> Result<Record> {
    while let Some(previous) = &record.previous {
        let before = releases::load(ctx, previous)?;
        if before.lacks(&record.migrations).contains(&migration) {
            break;
        }
        record = before;
    }
    Ok(record)
}

fn has_same_images(one: &Record, other: &Record) -> bool {
    let configs = |of: &Record| -> BTreeMap<String, String> {
        of.images.iter().map(|(name, image)| (name.clone(), image.config.clone())).collect()
    };
    configs(one) == configs(other)
}

/// Stores whose data are of a later major version than ours: service, theirs, ours. Data of an
/// earlier one are moved up by who runs the store; it is attached, and no deployment touches it.
fn later_stores<'r>(record: &'r Record, target: &Record) -> Vec<(&'r str, u64, u64)> {
    let major =
        |record: &Record, service: &str| Some(record.services.get(service)?.store.as_ref()?.major);
    let services = record.services.keys().map(String::as_str);
    let both = services.filter_map(|it| Some((it, major(record, it)?, major(target, it)?)));
    both.filter(|(_, theirs, ours)| theirs > ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::sample;

    #[test]
    fn data_of_a_later_major_version_are_in_the_way_and_those_of_an_earlier_one_are_not() {
        let with_major = |major: u64| {
            let mut record = sample::record();
            record.services.get_mut("db").unwrap().store.as_mut().unwrap().major = major;
            record
        };
        assert_eq!(later_stores(&with_major(17), &with_major(16)), [("db", 17, 16)]);
        assert_eq!(later_stores(&with_major(16), &with_major(17)), []);
        assert_eq!(later_stores(&with_major(17), &with_major(17)), []);
    }
}
