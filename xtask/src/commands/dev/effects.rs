//! What a changed file calls for, by the very facts that images, assets and services are made from.
//! Pure: changes in, effects out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::project::assets;
use crate::project::image::Recipe;
use crate::project::stack::Stack;
use crate::watch::{Changes, How};

/// In the order in which they are brought about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// Outputs are made of asset sources, and pages are told.
    Assets,
    /// The processes of the host engine are other ones.
    Processes,
    /// What compose runs may be another thing: settings, or the stack itself.
    Stack,
    /// Images are built, and the services that run them recreated.
    Image(String),
    /// The service that migrates runs again.
    Migrate(String),
    /// A service compiles its sources and starts again.
    Restart(String),
}

/// Effect -> the files that call for it.
pub(super) type Effects = BTreeMap<Effect, BTreeSet<PathBuf>>;

/// What decides.
pub(super) struct Rules<'r> {
    pub(super) environment: &'r str,
    /// Nothing on the host engine, whose processes see all sources.
    pub(super) stack: Option<(&'r Stack, &'r [Recipe])>,
    /// The processes of the host engine.
    pub(super) processes: &'r [String],
}

impl Rules<'_> {
    pub(super) fn effects(&self, changes: &Changes) -> Effects {
        let mut effects = Effects::new();
        for path in changes.keys() {
            for effect in self.of(path) {
                effects.entry(effect).or_default().insert(path.clone());
            }
        }
        effects
    }

    fn of(&self, path: &Path) -> Vec<Effect> {
        if path.starts_with(assets::SOURCE) {
            return vec![Effect::Assets];
        }
        if let Ok(rest) = path.strip_prefix("environments") {
            return self.of_environment(rest);
        }
        match self.stack {
            Some((stack, recipes)) => of_stack(path, stack, recipes),
            // The tool's own sources, and what only images need, are no sources of the app.
            None if ["docker", "xtask"].iter().any(|other| path.starts_with(other)) => Vec::new(),
            None if path.parent() == Some(Path::new("")) => Vec::new(),
            None => self.processes.iter().cloned().map(Effect::Restart).collect(),
        }
    }

    /// `path` is from `environments`.
    fn of_environment(&self, path: &Path) -> Vec<Effect> {
        let Ok(name) = path.strip_prefix(self.environment) else { return Vec::new() };
        match (name.to_str().unwrap_or_default(), self.stack) {
            ("Procfile" | ".env" | ".env.example" | "environment.toml", None) => {
                vec![Effect::Processes]
            }
            ("compose.yml" | ".env" | ".env.example" | "environment.toml", Some(_)) => {
                vec![Effect::Stack]
            }
            _ => Vec::new(),
        }
    }
}

fn of_stack(path: &Path, stack: &Stack, recipes: &[Recipe]) -> Vec<Effect> {
    if path == Path::new("docker/compose.yml") || path == Path::new("docker/stack.lock") {
        return vec![Effect::Stack];
    }
    let mut effects: Vec<Effect> = recipes
        .iter()
        .filter(|recipe| is_read_by(path, recipe))
        .map(|recipe| Effect::Image(recipe.image.clone()))
        .collect();
    for (name, service) in &stack.services {
        let is_migration = service.facts.migrations.as_ref().is_some_and(|it| path.starts_with(it));
        let is_seen = service.mounts.iter().any(|mount| mount == "." || path.starts_with(mount));
        match service.facts.once {
            true if is_migration && is_seen => effects.push(Effect::Migrate(name.clone())),
            false if is_seen => effects.push(Effect::Restart(name.clone())),
            _ => {}
        }
    }
    // A service that is recreated starts again anyway.
    let is_rebuilt = |effect: &Effect| matches!(effect, Effect::Image(_));
    if effects.iter().any(is_rebuilt) {
        effects.retain(is_rebuilt);
    }
    effects
}

/// Whether the build of an image would do something else.
fn is_read_by(path: &Path, recipe: &Recipe) -> bool {
    let Recipe { dockerfile, context, reads, .. } = recipe;
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

/// The files that call for something, for people: few by name, many by number.
pub(super) fn because(files: &BTreeSet<PathBuf>, changes: &Changes) -> String {
    const NAMED: usize = 3;
    let word = |path: &PathBuf| match changes.get(path) {
        Some(How::Added) => format!("{} is new", path.display()),
        Some(How::Removed) => format!("{} is gone", path.display()),
        _ => path.display().to_string(),
    };
    let named: Vec<String> = files.iter().take(NAMED).map(word).collect();
    match files.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::stack;

    const STACK: &str = r#"{"name": "shop", "services": {
        "app": {"image": "shop/app", "build": {"context": "app", "dockerfile": "../docker/app/Dockerfile"},
            "volumes": [{"type": "bind", "source": "./app", "target": "/app"},
                        {"type": "volume", "source": "target", "target": "/target"}]},
        "migrate": {"image": "shop/app", "volumes": [{"type": "bind", "source": "./app", "target": "/app"}],
            "x-stevedore": {"once": true, "migrations": "app/migrations"}},
        "edge": {"image": "shop/edge", "build": {"context": ".", "dockerfile": "docker/edge/Dockerfile"}},
        "store": {"image": "shop/store", "x-stevedore": {"attached": true}}}}"#;

    fn recipe(image: &str, context: &str, reads: &[&str]) -> Recipe {
        Recipe {
            image: image.to_owned(),
            context: context.to_owned(),
            dockerfile: format!("docker/{image}/Dockerfile"),
            target: None,
            args: BTreeMap::new(),
            bases: BTreeSet::new(),
            externals: BTreeSet::new(),
            reads: reads.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[track_caller]
    fn check(rules: &Rules<'_>, table: &[(&str, &[Effect])]) {
        for (path, wanted) in table {
            let changes = Changes::from([(PathBuf::from(path), How::Changed)]);
            let found: Vec<Effect> = rules.effects(&changes).into_keys().collect();
            assert_eq!(found, *wanted, "{path}");
        }
    }

    #[test]
    fn in_containers_each_file_calls_for_the_least_that_is_right() {
        let stack = stack::parse(STACK).unwrap();
        let recipes = [
            recipe("app", "app", &["Cargo.toml", "Cargo.lock"]),
            recipe("edge", ".", &["docker/edge/edge.conf", "app/dist"]),
            recipe("store", "docker/store", &["."]),
        ];
        let rules = Rules { environment: "dev", stack: Some((&stack, &recipes)), processes: &[] };
        let image = |name: &str| Effect::Image(name.into());
        let restart = || Effect::Restart("app".into());
        check(
            &rules,
            &[
                ("app/assets/app.scss", &[Effect::Assets]),
                ("app/src/main.rs", &[restart()]),
                ("app/templates/page.html", &[restart()]),
                ("app/migrations/2_more.sql", &[Effect::Migrate("migrate".into()), restart()]),
                ("app/Cargo.lock", &[image("app")]),
                ("app/.dockerignore", &[image("app")]),
                ("docker/app/Dockerfile", &[image("app")]),
                ("docker/app/Dockerfile.dockerignore", &[image("app")]),
                ("docker/edge/edge.conf", &[image("edge")]),
                ("docker/store/hba.conf", &[image("store")]),
                ("docker/compose.yml", &[Effect::Stack]),
                ("docker/stack.lock", &[Effect::Stack]),
                ("environments/dev/compose.yml", &[Effect::Stack]),
                ("environments/dev/.env", &[Effect::Stack]),
                ("environments/dev/Procfile", &[]),
                ("environments/prod/.env", &[]),
                ("README.md", &[]),
                ("xtask/src/main.rs", &[]),
            ],
        );
    }

    #[test]
    fn on_the_host_engine_all_sources_are_those_of_its_processes() {
        let processes = ["web".to_owned(), "worker".to_owned()];
        let rules = Rules { environment: "dev", stack: None, processes: &processes };
        let both = [Effect::Restart("web".into()), Effect::Restart("worker".into())];
        check(
            &rules,
            &[
                ("app/assets/app.js", &[Effect::Assets]),
                ("app/src/main.rs", &both),
                ("lib/shared.rb", &both),
                ("environments/dev/Procfile", &[Effect::Processes]),
                ("environments/dev/.env", &[Effect::Processes]),
                ("environments/dev/compose.yml", &[]),
                ("docker/app/Dockerfile", &[]),
                ("README.md", &[]),
            ],
        );
    }

    #[test]
    fn many_files_are_a_number() {
        let names = ["a", "b", "c", "d", "e"].map(PathBuf::from);
        let changes: Changes = names.iter().cloned().map(|name| (name, How::Removed)).collect();
        let files: BTreeSet<PathBuf> = names.into();
        assert_eq!(because(&files, &changes), "a is gone, b is gone, c is gone and 2 more");
    }
}
