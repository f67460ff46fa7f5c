//! The images of an environment: one per folder of `docker/` that its services need, and what each
//! is built from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};

use super::Project;
use super::dockerfile;
use super::environment::Environment;
use super::stack::{Build, Service, Stack};
use super::substitute::substitute;
use crate::exit;

pub(crate) mod claims;

/// How one image is built in one environment. Paths from the project's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) image: String,
    pub(crate) context: String,
    pub(crate) dockerfile: String,
    pub(crate) target: Option<String>,
    pub(crate) args: BTreeMap<String, String>,
    /// Images of this project that it is built from.
    pub(crate) bases: BTreeSet<String>,
    /// Image references from outside that it is built from.
    pub(crate) externals: BTreeSet<String>,
    /// The paths of the context that its build reads, each with all below it.
    pub(crate) reads: BTreeSet<String>,
}

impl Recipe {
    /// Whether the image may change when this file changes.
    pub(crate) fn is_made_of(&self, path: &Path) -> bool {
        let Recipe { dockerfile, context, reads, .. } = self;
        let ignore = format!("{dockerfile}.dockerignore");
        if [dockerfile, &ignore].iter().any(|it| path == Path::new(it)) {
            return true;
        }
        let inside = match context.as_str() {
            "." => Ok(path),
            context => path.strip_prefix(context),
        };
        inside.is_ok_and(|path| {
            path == Path::new(".dockerignore")
                || reads.iter().any(|read| read == "." || path.starts_with(read))
        })
    }
}

/// The build argument that carries the lock's epoch to Dockerfiles that declare it.
pub(crate) const EPOCH_ARGUMENT: &str = "STACK_EPOCH";

/// All images that an environment needs, bases before what is built from them.
pub(crate) fn recipes(
    project: &Project,
    stack: &Stack,
    environment: &Environment,
    epoch: &str,
) -> Result<Vec<Recipe>> {
    let all = order(project, stack, environment, epoch)?;
    let named = stack.services.values().filter_map(|service| of_service(project, stack, service));
    let mut wanted: BTreeSet<String> = all.builds.keys().cloned().collect();
    wanted.extend(named);
    all.of(&wanted)
}

/// The named images, whether a service needs them or not, and what they are built from; a name that
/// is not a folder of `docker/` is a usage error.
pub(crate) fn recipes_of(
    project: &Project,
    stack: &Stack,
    environment: &Environment,
    epoch: &str,
    names: &[String],
) -> Result<Vec<Recipe>> {
    check_names(project, names)?;
    order(project, stack, environment, epoch)?.of(&names.iter().cloned().collect())
}

/// Refuses names that are not images of this project.
pub(crate) fn check_names(project: &Project, names: &[String]) -> Result<()> {
    names.iter().try_for_each(|name| super::known("image", name, &project.images))
}

fn order<'p>(
    project: &'p Project,
    stack: &Stack,
    environment: &'p Environment,
    epoch: &'p str,
) -> Result<Order<'p>> {
    let mut problems = problems(project, stack);
    let builds = builds(stack, &mut problems);
    if !problems.is_empty() {
        return Err(exit::problems("can't use the compose files", &problems));
    }
    Ok(Order { project, environment, epoch, builds, done: Vec::new(), open: Vec::new() })
}

/// What no value of a variable can mend: services and names that are not there, and one name for
/// two images.
pub(crate) fn problems(project: &Project, stack: &Stack) -> Vec<String> {
    [stack.problems.clone(), claims::problems(&project.images, stack)].concat()
}

/// Folder of `docker/` -> a service that builds it, and how.
fn builds(stack: &Stack, problems: &mut Vec<String>) -> BTreeMap<String, (String, Build)> {
    let mut builds: BTreeMap<String, (String, Build)> = BTreeMap::new();
    let own = stack.services.iter().filter_map(|(name, it)| Some((name, it.build.as_ref()?)));
    for (service, build) in own.chain(claims::builds_for_others(stack)) {
        let Some(image) = folder_of(&build.dockerfile) else {
            problems.push(format!(
                "service {service}: the Dockerfile {} is not docker/IMAGE/Dockerfile",
                build.dockerfile
            ));
            continue;
        };
        match builds.get(&image) {
            Some((other, earlier)) if earlier != build => problems.push(format!(
                "services {other} and {service} build docker/{image} in two ways; give one of \
                 them `image: {name}/{image}` and no build",
                name = stack.name
            )),
            Some(_) => {}
            None => {
                builds.insert(image, (service.clone(), build.clone()));
            }
        }
    }
    builds
}

/// The image of this project that a service runs: its build section's, that of a service which
/// builds what its `image:` names, or `image: NAME/FOLDER`.
pub(crate) fn of_service(project: &Project, stack: &Stack, service: &Service) -> Option<String> {
    claims::image_of(&project.images, stack, service)
}

/// The folder of `docker/` that a Dockerfile lies in.
pub(crate) fn folder_of(dockerfile: &str) -> Option<String> {
    let image = dockerfile.strip_prefix("docker/")?.strip_suffix("/Dockerfile")?;
    super::check_name(image).ok().map(|()| image.to_owned())
}

/// Bases before what is built from them; a circle is an error.
struct Order<'p> {
    project: &'p Project,
    environment: &'p Environment,
    epoch: &'p str,
    builds: BTreeMap<String, (String, Build)>,
    done: Vec<Recipe>,
    open: Vec<String>,
}

impl Order<'_> {
    fn of(mut self, images: &BTreeSet<String>) -> Result<Vec<Recipe>> {
        images.iter().try_for_each(|image| self.visit(image))?;
        Ok(self.done)
    }

    fn visit(&mut self, image: &str) -> Result<()> {
        if self.done.iter().any(|recipe| recipe.image == image) {
            return Ok(());
        }
        if self.open.iter().any(|open| open == image) {
            let circle = self.open.join(" → ");
            anyhow::bail!("the images are built from each other in a circle: {circle} → {image}");
        }
        self.open.push(image.to_owned());
        let recipe = self.recipe(image)?;
        for base in &recipe.bases {
            self.visit(base)?;
        }
        self.open.pop();
        self.done.push(recipe);
        Ok(())
    }

    fn recipe(&self, image: &str) -> Result<Recipe> {
        let build = self.builds.get(image).map(|(_, build)| build.clone());
        let build = build.unwrap_or_else(|| Build {
            context: format!("docker/{image}"),
            dockerfile: format!("docker/{image}/Dockerfile"),
            target: None,
            args: BTreeMap::new(),
        });
        let variables = &self.environment.variables;
        let mut args = BTreeMap::new();
        for (name, value) in &build.args {
            // Only public variables: a build works without `.env`, and no secret becomes an
            // argument of a build.
            let value = substitute(value, &mut |name| variables.get(name).cloned())
                .map_err(|message| anyhow::anyhow!("{message} in [variables] of environment.toml"))
                .with_context(|| format!("build argument {name} of docker/{image}"))?;
            args.insert(name.clone(), value);
        }
        let path = self.project.root.join(&build.dockerfile);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("can't read {}", build.dockerfile))?;
        let parse = |args: &BTreeMap<String, String>| {
            dockerfile::parse(&text, build.target.as_deref(), args)
                .map_err(|message| anyhow::anyhow!("{}:{message}", build.dockerfile))
        };
        let mut found = parse(&args)?;
        if found.arguments.contains(EPOCH_ARGUMENT) {
            args.insert(EPOCH_ARGUMENT.into(), self.epoch.to_owned());
            // The builder fills it in behind FROM too.
            found = parse(&args)?;
        }
        let reads = std::mem::take(&mut found.reads);
        let (bases, externals) =
            found.images.into_iter().partition(|name| self.project.images.contains(name));
        Ok(Recipe {
            image: image.to_owned(),
            context: build.context,
            dockerfile: build.dockerfile,
            target: build.target,
            args,
            bases,
            externals,
            reads,
        })
    }
}
