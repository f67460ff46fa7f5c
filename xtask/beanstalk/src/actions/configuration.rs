//! Settings as they are, saved configurations, and their YAML.

use serde_json::Value;

use super::{Answer, Call, MOST_TEMPLATES, applications, check_length, environments};
use crate::platforms;
use crate::server::answer::{Fields, Refusal};
use crate::server::query::Query;
use crate::settings::{self, Settings};
use crate::state::{Change, Environment, Moment, Object, Place, State, Template, names};
use crate::storage;

/// What a call takes over from elsewhere.
#[derive(Default)]
pub(super) struct Source {
    pub(super) settings: Settings,
    pub(super) platform: Option<String>,
    pub(super) version: Option<String>,
}

/// A saved configuration, another environment, or the text of a saved configuration.
pub(super) fn source(call: &Call<'_>, state: &State, application: &str) -> Result<Source, Refusal> {
    let query = call.query;
    let specification = query.inner("TemplateSpecification").inner("TemplateSource");
    if let Some(name) = specification.text("EnvironmentName") {
        let found = state.environment(name);
        let environment = found.ok_or_else(|| {
            Refusal::invalid(format!("No Environment found for EnvironmentName = '{name}'."))
        })?;
        return Ok(Source {
            settings: environment.settings.clone(),
            platform: Some(environment.platform.clone()),
            version: environment.version.clone(),
        });
    }
    if let Some(text) = specification.text("SourceContents") {
        let (settings, platform) = read(text)?;
        return Ok(Source { settings, platform, version: None });
    }
    let platform = platforms::named(&specification)?.map(|it| it.arn(call.region));
    let Some(name) = query.text("TemplateName") else {
        return Ok(Source { platform, ..Source::default() });
    };
    let template = template(call, state, application, name)?;
    let platform = (!template.platform.is_empty()).then_some(template.platform);
    Ok(Source { settings: template.settings, platform, version: None })
}

/// A saved configuration: on record, or as `eb config put` leaves one in the bucket.
fn template(
    call: &Call<'_>,
    state: &State,
    application: &str,
    name: &str,
) -> Result<Template, Refusal> {
    let known = state.applications.get(application);
    let known = known.ok_or_else(|| applications::missing(application))?;
    let place = place(call, application, name);
    let stored = state.objects.get(&place).and_then(|object| storage::read(call.service, object));
    if let Some(text) = stored {
        let (settings, platform) = read(&String::from_utf8_lossy(&text))?;
        let platform = platform.unwrap_or_default();
        return Ok(Template { settings, platform, ..Template::default() });
    }
    known.templates.get(name).cloned().ok_or_else(|| {
        Refusal::invalid(format!("No Configuration Template named '{application}/{name}' found."))
    })
}

fn place(call: &Call<'_>, application: &str, name: &str) -> Place {
    let bucket = names::bucket(call.region);
    Place { bucket, key: format!("resources/templates/{application}/{name}") }
}

/// The YAML of a saved configuration.
fn read(text: &str) -> Result<(Settings, Option<String>), Refusal> {
    let invalid = |what: &str| Refusal::invalid(format!("Invalid configuration file: {what}"));
    let value: Value = serde_saphyr::from_str(text).map_err(|error| invalid(&error.to_string()))?;
    let mut settings = Settings::new();
    let options = value.get("OptionSettings").and_then(Value::as_object);
    for (namespace, options) in options.into_iter().flatten() {
        // A name of a resource may stand before the namespace.
        let namespace = namespace.rsplit_once('.').map_or(&**namespace, |(_, it)| it);
        let options = options.as_object().ok_or_else(|| invalid("OptionSettings"))?;
        for (option, value) in options {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            settings::set(&mut settings, namespace, option, &text);
        }
    }
    settings::check(&settings)?;
    let platform = value.get("Platform").and_then(|it| it.get("PlatformArn"));
    Ok((settings, platform.and_then(Value::as_str).map(str::to_owned)))
}

fn yaml(template: &Template, application: &str) -> Result<String, Refusal> {
    // JSON is YAML: what reads the one reads the other.
    let document = serde_json::json!({
        "EnvironmentConfigurationMetadata": {
            "Description": template.description,
            "DateCreated": template.created.0.to_string(),
            "DateModified": template.updated.0.to_string(),
        },
        "Platform": {"PlatformArn": template.platform},
        "OptionSettings": template.settings,
        "EnvironmentTier": {"Type": "Standard", "Name": "WebServer"},
        "AWSConfigurationTemplateVersion": "1.1.0.0",
        "ApplicationName": application,
    });
    serde_json::to_string_pretty(&document).map_err(|error| Refusal::invalid(error.to_string()))
}

pub(super) fn describe(call: &Call<'_>) -> Answer {
    let query = call.query;
    let application = query.required("ApplicationName")?;
    call.service.read(|state| {
        if !state.applications.contains_key(application) {
            return Err(applications::missing(application));
        }
        let description = match query.text("TemplateName") {
            Some(name) => {
                let template = template(call, state, application, name)?;
                // Only here do the models have a tier.
                template_node(application, name, &template).with("Tier", environments::tier())
            }
            None => {
                let environment = environments::find(state, query, "")?;
                environment_node(&environment)
            }
        };
        let list = std::iter::once(description.into());
        Ok(Some(Fields::new().list("ConfigurationSettings", list).into()))
    })
}

fn environment_node(environment: &Environment) -> Fields {
    let settings = settings::effective(&environment.files, &environment.settings);
    let stack = platforms::of_arn(&environment.platform).map(platforms::Platform::stack);
    let status = if environment.operation.is_some() { "pending" } else { "deployed" };
    Fields::new()
        .maybe("SolutionStackName", stack)
        .with("PlatformArn", environment.platform.as_str())
        .with("ApplicationName", environment.application.as_str())
        .with("Description", environment.description.as_str())
        .with("Tier", environments::tier())
        .with("EnvironmentName", environment.name.as_str())
        .with("DeploymentStatus", status)
        .with("DateCreated", environment.created)
        .with("DateUpdated", environment.updated)
        .with("OptionSettings", settings::node(&settings))
}

fn template_node(application: &str, name: &str, template: &Template) -> Fields {
    let stack = platforms::of_arn(&template.platform).map(platforms::Platform::stack);
    Fields::new()
        .maybe("SolutionStackName", stack)
        .with("PlatformArn", template.platform.as_str())
        .with("ApplicationName", application)
        .with("TemplateName", name)
        .with("Description", template.description.as_str())
        .with("DateCreated", template.created)
        .with("DateUpdated", template.updated)
        .with("OptionSettings", settings::node(&template.settings))
}

pub(super) fn options(call: &Call<'_>) -> Answer {
    let arn = match platforms::named(call.query)? {
        Some(platform) => platform.arn(call.region),
        None => match call.query.text("EnvironmentName") {
            Some(_) => {
                call.service.read(|state| environments::find(state, call.query, ""))?.platform
            }
            None => platforms::PLATFORMS[0].arn(call.region),
        },
    };
    let stack = platforms::of_arn(&arn).map(platforms::Platform::stack);
    let option = |(namespace, name, default): (&str, &str, &str)| {
        Fields::new()
            .with("Namespace", namespace)
            .with("Name", name)
            .with("DefaultValue", default)
            .with("ChangeSeverity", "NoInterruption")
            .with("UserDefined", false)
            .with("ValueType", "Scalar")
            .list("ValueOptions", std::iter::empty())
            .into()
    };
    let answer = Fields::new().maybe("SolutionStackName", stack).with("PlatformArn", arn);
    let answer = answer.with("Tier", environments::tier());
    Ok(Some(answer.list("Options", settings::known().map(option)).into()))
}

pub(super) fn validate(call: &Call<'_>) -> Answer {
    let application = call.query.required("ApplicationName")?;
    let source = call.service.read(|state| source(call, state, application))?;
    let mut all = source.settings;
    for option in call.query.list("OptionSettings") {
        let text = |name: &str| option.text(name).unwrap_or_default();
        settings::set(&mut all, text("Namespace"), text("OptionName"), text("Value"));
    }
    let problems = settings::problems(&all);
    let message = |it: &settings::Problem| {
        Fields::new()
            .with("Message", it.message.as_str())
            .with("Severity", "error")
            .with("Namespace", it.namespace.as_str())
            .with("OptionName", it.option.as_str())
            .into()
    };
    Ok(Some(Fields::new().list("Messages", problems.iter().map(message)).into()))
}

pub(super) fn create_template(call: &Call<'_>) -> Answer {
    let name = call.query.required("TemplateName")?;
    check_length("templateName", name, 1, 100)?;
    let application = call.query.required("ApplicationName")?;
    let new = call.service.read(|state| {
        let known = state.applications.get(application);
        let known = known.ok_or_else(|| applications::missing(application))?;
        if known.templates.contains_key(name) {
            let text = format!("Configuration Template {name} already exists.");
            return Err(Refusal::invalid(text));
        }
        let count: usize = state.applications.values().map(|it| it.templates.len()).sum();
        if count >= MOST_TEMPLATES {
            return Err(Refusal {
                status: 400,
                code: "TooManyConfigurationTemplatesException",
                message: format!("You cannot have more than {MOST_TEMPLATES} templates."),
            });
        }
        from_call(call, state, application)
    })?;
    store(call, application, name, new)
}

/// What the call describes: from an environment, another template, or settings alone.
fn from_call(call: &Call<'_>, state: &State, application: &str) -> Result<Template, Refusal> {
    let query = call.query;
    let now = Moment::now();
    let mut new = Template { created: now, updated: now, ..Template::default() };
    let other: Query = query.inner("SourceConfiguration");
    let of_environment = match query.text("EnvironmentId") {
        Some(_) => Some(environments::find(state, query, "")?),
        None => None,
    };
    if let Some(environment) = of_environment {
        (new.settings, new.platform) = (environment.settings, environment.platform);
    } else if let Some(name) = other.text("TemplateName") {
        let owner = other.text("ApplicationName").unwrap_or(application);
        let template = template(call, state, owner, name)?;
        (new.settings, new.platform) = (template.settings, template.platform);
    } else if !query.inner("TemplateSpecification").is_empty() {
        let source = source_without_name(call, state, application)?;
        (new.settings, new.platform) = (source.settings, source.platform.unwrap_or_default());
    }
    if let Some(platform) = platforms::named(query)? {
        new.platform = platform.arn(call.region);
    }
    settings::change(&mut new.settings, query)?;
    new.description = query.text("Description").unwrap_or_default().to_owned();
    if new.platform.is_empty() {
        return Err(Refusal::invalid(
            "Unable to determine base for template pack (no solution stack)",
        ));
    }
    Ok(new)
}

/// `TemplateName` is the name of what is made, not of a source.
fn source_without_name(
    call: &Call<'_>,
    state: &State,
    application: &str,
) -> Result<Source, Refusal> {
    let mut query = Query::default();
    let specification = call.query.inner("TemplateSpecification");
    query.adopt("TemplateSpecification", specification);
    source(&Call { query: &query, ..*call }, state, application)
}

/// On record, and as an object that `eb config get` loads.
fn store(call: &Call<'_>, application: &str, name: &str, template: Template) -> Answer {
    let place = place(call, application, name);
    let text = yaml(&template, application)?;
    let object: Object = storage::write(call.service, place, text.as_bytes())?;
    let answer = template_node(application, name, &template);
    call.service.change(|draft| {
        let known = draft.state().applications.get(application).cloned();
        let mut known = known.ok_or_else(|| applications::missing(application))?;
        known.templates.insert(name.to_owned(), template);
        draft.put(Change::Application(known));
        draft.put(Change::Object(object));
        Ok(())
    })?;
    Ok(Some(answer.into()))
}

pub(super) fn update_template(call: &Call<'_>) -> Answer {
    let name = call.query.required("TemplateName")?;
    let application = call.query.required("ApplicationName")?;
    let mut template = call.service.read(|state| template(call, state, application, name))?;
    settings::change(&mut template.settings, call.query)?;
    if let Some(description) = call.query.text("Description") {
        template.description = description.to_owned();
    }
    template.updated = Moment::now();
    store(call, application, name, template)
}

pub(super) fn delete_template(call: &Call<'_>) -> Answer {
    let name = call.query.required("TemplateName")?;
    let application = call.query.required("ApplicationName")?;
    let place = place(call, application, name);
    let object = call.service.change(|draft| {
        let known = draft.state().applications.get(application).cloned();
        let mut known = known.ok_or_else(|| applications::missing(application))?;
        known.templates.remove(name);
        let object = draft.state().objects.get(&place).cloned();
        draft.put(Change::Application(known));
        if object.is_some() {
            draft.put(Change::NoObject(place.clone()));
        }
        Ok(object)
    })?;
    if let Some(object) = object {
        storage::remove(call.service, &object);
    }
    Ok(None)
}
