//! Application versions.

use std::collections::BTreeMap;

use super::{Answer, Call, MOST_VERSIONS, applications, check_length, tags};
use crate::bundle::MOST_BYTES;
use crate::operations::SAMPLE_VERSION;
use crate::server::answer::{Fields, Node, Refusal};
use crate::service::{About, Draft};
use crate::state::{Application, Change, Moment, Place, Severity, State, Status, Version};

fn node(version: &Version, region: &str) -> Node {
    let Version { application, label, .. } = version;
    let account = crate::state::ACCOUNT;
    let arn = format!(
        "arn:aws:elasticbeanstalk:{region}:{account}:applicationversion/{application}/{label}"
    );
    let bundle = version.bundle.as_ref().map(|place| {
        let fields = Fields::new().with("S3Bucket", place.bucket.as_str());
        fields.with("S3Key", place.key.as_str())
    });
    Fields::new()
        .with("ApplicationVersionArn", arn)
        .with("ApplicationName", application.as_str())
        .with("Description", version.description.as_str())
        .with("VersionLabel", label.as_str())
        .maybe("SourceBundle", bundle)
        .with("DateCreated", version.created)
        .with("DateUpdated", version.updated)
        .with("Status", version.status.as_str())
        .into()
}

pub(super) fn describe(call: &Call<'_>) -> Answer {
    let application = call.query.text("ApplicationName");
    let labels = call.query.texts("VersionLabels");
    let most = call.query.number("MaxRecords", 1000)?.unwrap_or(usize::MAX);
    let skip: usize = call.query.text("NextToken").and_then(|it| it.parse().ok()).unwrap_or(0);
    call.service.read(|state| {
        let versions = state.versions.values();
        let of_it = versions.filter(|it| application.is_none_or(|name| name == it.application));
        let mut found: Vec<&Version> =
            of_it.filter(|it| labels.is_empty() || labels.contains(&it.label)).collect();
        found.sort_by_key(|it| std::cmp::Reverse(it.created));
        let next = skip.saturating_add(most);
        let page = found.iter().skip(skip).take(most).map(|it| node(it, call.region));
        let answer = Fields::new().list("ApplicationVersions", page);
        Ok(Some(answer.maybe("NextToken", (next < found.len()).then(|| next.to_string())).into()))
    })
}

pub(super) fn create(call: &Call<'_>) -> Answer {
    let query = call.query;
    let application = query.required("ApplicationName")?;
    let label = query.required("VersionLabel")?;
    check_length("versionLabel", label, 1, 100)?;
    let source = query.inner("SourceBundle");
    let place = match (source.text("S3Bucket"), source.text("S3Key")) {
        (Some(bucket), Some(key)) => Some(Place { bucket: bucket.into(), key: key.into() }),
        _ => None,
    };
    let process = query.flag("Process")?;
    let deleted = call.service.change(|draft| {
        let state = draft.state();
        let known = state.applications.get(application).cloned();
        if known.is_none() && !query.flag("AutoCreateApplication")? {
            return Err(applications::missing(application));
        }
        if state.versions.contains_key(&(application.to_owned(), label.to_owned())) {
            let text = format!("Application Version {label} already exists.");
            return Err(Refusal::invalid(text));
        }
        if state.versions.len() >= MOST_VERSIONS {
            return Err(too_many());
        }
        check_bundle(state, place.as_ref(), label)?;
        let known = match known {
            Some(known) => known,
            None => applications::new(state, application, "")?,
        };
        let (deleted, lifecycle) = expired(state, &known);
        let now = Moment::now();
        let version = Version {
            application: application.to_owned(),
            label: label.to_owned(),
            description: query.text("Description").unwrap_or_default().to_owned(),
            bundle: place,
            // Upper case, as `eb` compares it, when the service looked into the bundle.
            status: if process { "PROCESSED" } else { "UNPROCESSED" }.to_owned(),
            created: now,
            updated: now,
            tags: tags::read(query, "Tags")?,
        };
        let answer = Fields::new().with("ApplicationVersion", node(&version, call.region));
        draft.put(Change::Application(known));
        draft.put(Change::Version(version));
        lifecycle.into_iter().for_each(|change| draft.put(change));
        if process {
            processed(draft, call, application, label);
        }
        Ok((deleted, answer))
    })?;
    let (files, answer) = deleted;
    for file in files {
        std::fs::remove_file(call.service.directory.join("objects").join(file)).ok();
    }
    Ok(Some(answer.into()))
}

fn too_many() -> Refusal {
    Refusal {
        status: 400,
        code: "TooManyApplicationVersionsException",
        message: format!(
            "You cannot have more than {MOST_VERSIONS} Application Versions. Either remove some \
             Application Versions or request a limit increase."
        ),
    }
}

fn check_bundle(state: &State, place: Option<&Place>, label: &str) -> Result<(), Refusal> {
    let Some(place) = place else {
        if label == SAMPLE_VERSION {
            return Ok(());
        }
        return Err(Refusal {
            status: 400,
            code: "InvalidParameterCombination",
            message: "Either SourceBundle or SourceBuildInformation must be provided.".to_owned(),
        });
    };
    let Place { bucket, key } = place;
    let Some(object) = state.objects.get(place) else {
        return Err(Refusal {
            status: 400,
            code: "InvalidParameterCombination",
            message: format!(
                "Unable to download from S3 location (Bucket: {bucket}  Key: {key}). Reason: Not \
                 Found"
            ),
        });
    };
    if object.size > MOST_BYTES {
        let size = object.size;
        return Err(Refusal::invalid(format!(
            "Source bundle is too large: {size} bytes. The maximum is {MOST_BYTES} bytes."
        )));
    }
    Ok(())
}

fn processed(draft: &mut Draft<'_>, call: &Call<'_>, application: &str, label: &str) {
    let about = About {
        application: application.to_owned(),
        version: Some(label.to_owned()),
        request: call.request.to_owned(),
        ..About::default()
    };
    let text = format!("Finished processing application version {label} with status PROCESSED.");
    draft.event(&about, Severity::Info, text);
}

/// What the rules of the application delete: never more than a hundred, never what is in use.
fn expired(state: &State, application: &Application) -> (Vec<String>, Vec<Change>) {
    let lifecycle = &application.lifecycle;
    let used = |label: &str| {
        let mut environments = state.environments.values();
        environments.any(|it| {
            it.application == application.name && it.status != Status::Terminated && uses(it, label)
        })
    };
    let own = state.versions.values().filter(|it| it.application == application.name);
    let mut own: Vec<&Version> = own.filter(|it| !used(&it.label)).collect();
    own.sort_by_key(|it| it.created);
    let mut over = Vec::new();
    if lifecycle.count.enabled {
        let keep = (lifecycle.count.limit.max(1) - 1) as usize;
        let count = own.len().saturating_sub(keep);
        over.extend(own.iter().take(count).map(|it| (*it, lifecycle.count.delete_source)));
    }
    if lifecycle.age_days.enabled {
        let days = u64::from(lifecycle.age_days.limit.max(1));
        let oldest = Moment::now().0.saturating_sub(days * 86_400_000);
        let old = own.iter().filter(|it| it.created.0 < oldest);
        over.extend(old.map(|it| (*it, lifecycle.age_days.delete_source)));
    }
    let mut files = BTreeMap::new();
    let mut changes = Vec::new();
    for (version, delete_source) in over.into_iter().take(100) {
        let key = (version.application.clone(), version.label.clone());
        changes.push(Change::NoVersion(key.0, key.1));
        let object = version.bundle.as_ref().and_then(|place| state.objects.get(place));
        if let Some(object) = object.filter(|_| delete_source) {
            files.insert(object.file.clone(), ());
            changes.push(Change::NoObject(object.place.clone()));
        }
    }
    (files.into_keys().collect(), changes)
}

pub(super) fn update(call: &Call<'_>) -> Answer {
    let (application, label) =
        (call.query.required("ApplicationName")?, call.query.required("VersionLabel")?);
    call.service.change(|draft| {
        let mut version = find(draft.state(), application, label)?;
        if let Some(description) = call.query.text("Description") {
            version.description = description.to_owned();
        }
        version.updated = Moment::now();
        let answer = Fields::new().with("ApplicationVersion", node(&version, call.region));
        draft.put(Change::Version(version));
        Ok(Some(answer.into()))
    })
}

pub(super) fn find(state: &State, application: &str, label: &str) -> Result<Version, Refusal> {
    let key = (application.to_owned(), label.to_owned());
    state
        .versions
        .get(&key)
        .cloned()
        .ok_or_else(|| Refusal::invalid(format!("No Application Version named '{label}' found.")))
}

/// Whether an environment runs a version, or is about to.
fn uses(environment: &crate::state::Environment, label: &str) -> bool {
    use crate::state::Work;
    let target = environment.operation.as_ref().and_then(|operation| match &operation.work {
        Work::Update(target) => target.version.as_deref(),
        _ => None,
    });
    let runs = environment.instances.iter().any(|it| it.version.as_deref() == Some(label));
    environment.version.as_deref() == Some(label) || target == Some(label) || runs
}

pub(super) fn delete(call: &Call<'_>) -> Answer {
    let query = call.query;
    let (application, label) =
        (query.required("ApplicationName")?, query.required("VersionLabel")?);
    let with_bundle = query.flag("DeleteSourceBundle")?;
    let file = call.service.change(|draft| {
        let state = draft.state();
        let version = find(state, application, label)?;
        let mut living = state.environments.values().filter(|it| it.status != Status::Terminated);
        if let Some(environment) =
            living.find(|it| it.application == application && uses(it, label))
        {
            return Err(Refusal {
                status: 400,
                code: "SourceBundleDeletionFailure",
                message: format!(
                    "Cannot delete the Application Version {label} as it is deployed to running \
                     environment {}.",
                    environment.name
                ),
            });
        }
        let object = version.bundle.as_ref().and_then(|place| state.objects.get(place)).cloned();
        draft.put(Change::NoVersion(application.to_owned(), label.to_owned()));
        let object = object.filter(|_| with_bundle);
        if let Some(object) = &object {
            draft.put(Change::NoObject(object.place.clone()));
        }
        Ok(object.map(|object| object.file))
    })?;
    if let Some(file) = file {
        std::fs::remove_file(call.service.directory.join("objects").join(file)).ok();
    }
    Ok(None)
}
