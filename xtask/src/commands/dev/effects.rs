//! What a changed file calls for, by the very facts that images, assets and services are made from.
//! Pure: changes in, effects out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::project::image::{Recipe, claims};
use crate::project::stack::Stack;
use crate::project::{assets, compose_files};
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
    /// The processes of the host engine, and the files that migrate what they work on: `release`
    /// does so, which runs before all of them start.
    pub(super) processes: &'r [String],
    pub(super) migrations: Option<&'r Path>,
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
            None if is_nobodys(path) => Vec::new(),
            None if self.migrations.is_some_and(|it| path.starts_with(it)) => {
                vec![Effect::Processes]
            }
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
            (".env" | ".env.example" | "environment.toml", Some(_)) => vec![Effect::Stack],
            (name, Some(_)) if compose_files::NAMES.contains(&name) => vec![Effect::Stack],
            ("Procfile", Some(_)) | (_, None) => Vec::new(),
            (_, Some((stack, recipes))) => {
                of_stack(&Path::new("environments").join(path), stack, recipes)
            }
        }
    }
}

/// Who gets other processes starts all of them.
pub(super) fn join_processes(effects: &mut Effects) {
    if let Some(mut files) = effects.remove(&Effect::Processes) {
        effects.retain(|effect, more| {
            let is_restart = matches!(effect, Effect::Restart(_));
            files.extend(is_restart.then(|| std::mem::take(more)).into_iter().flatten());
            !is_restart
        });
        effects.insert(Effect::Processes, files);
    }
}

/// On the host engine: the tool's own sources, what only images need, and what is for people, are
/// no sources of the app.
fn is_nobodys(path: &Path) -> bool {
    const FOLDERS: [&str; 4] = ["docker", "docs", "releases", "xtask"];
    const FILES: [&str; 4] = ["Cargo.lock", "Cargo.toml", "clippy.toml", "rustfmt.toml"];
    let mut parts = path.iter().map(|part| part.to_string_lossy());
    let (first, is_file) = (parts.next().unwrap_or_default(), parts.next().is_none());
    let is_for_people = first.ends_with(".md") || first.starts_with("LICENSE");
    first.starts_with('.')
        || !is_file && FOLDERS.contains(&&*first)
        || is_file && (FILES.contains(&&*first) || is_for_people)
}

fn of_stack(path: &Path, stack: &Stack, recipes: &[Recipe]) -> Vec<Effect> {
    let is_base = compose_files::NAMES.iter().any(|name| path == Path::new("docker").join(name));
    if is_base || path == Path::new("docker/stack.lock") {
        return vec![Effect::Stack];
    }
    let mut effects: Vec<Effect> = recipes
        .iter()
        .filter(|recipe| recipe.is_made_of(path))
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
    let rebuilt: Vec<String> = effects.iter().filter_map(image_of).cloned().collect();
    let images: BTreeSet<String> = recipes.iter().map(|recipe| recipe.image.clone()).collect();
    effects.retain(|effect| match effect {
        Effect::Migrate(service) | Effect::Restart(service) => {
            let image = claims::image_of(&images, stack, &stack.services[service]);
            !image.is_some_and(|image| rebuilt.contains(&image))
        }
        _ => true,
    });
    effects
}

fn image_of(effect: &Effect) -> Option<&String> {
    match effect {
        Effect::Image(image) => Some(image),
        _ => None,
    }
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
        "edge": {"image": "shop/edge", "build": {"context": ".", "dockerfile": "docker/edge/Dockerfile"},
            "volumes": [{"type": "bind", "source": "./environments/dev/edge.conf", "target": "/edge.conf"},
                        {"type": "bind", "source": "./app/Cargo.toml", "target": "/version"}]},
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
        let stack = stack::parse(STACK, &BTreeMap::new()).unwrap();
        let recipes = [
            recipe("app", "app", &["Cargo.toml", "Cargo.lock"]),
            recipe("edge", ".", &["docker/edge/edge.conf", "app/dist"]),
            recipe("store", "docker/store", &["."]),
        ];
        let rules = Rules {
            environment: "dev",
            stack: Some((&stack, &recipes)),
            processes: &[],
            migrations: None,
        };
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
                ("app/Cargo.toml", &[image("app"), Effect::Restart("edge".into())]),
                ("app/.dockerignore", &[image("app")]),
                ("docker/app/Dockerfile", &[image("app")]),
                ("docker/app/Dockerfile.dockerignore", &[image("app")]),
                ("docker/edge/edge.conf", &[image("edge")]),
                ("docker/store/hba.conf", &[image("store")]),
                ("docker/compose.yml", &[Effect::Stack]),
                ("docker/compose.yaml", &[Effect::Stack]),
                ("docker/stack.lock", &[Effect::Stack]),
                ("environments/dev/compose.yml", &[Effect::Stack]),
                ("environments/dev/compose.yaml", &[Effect::Stack]),
                ("environments/dev/.env", &[Effect::Stack]),
                ("environments/dev/Procfile", &[]),
                ("environments/dev/edge.conf", &[Effect::Restart("edge".into())]),
                ("environments/prod/.env", &[]),
                ("README.md", &[]),
                ("xtask/src/main.rs", &[]),
            ],
        );
    }

    #[test]
    fn on_the_host_engine_all_sources_are_those_of_its_processes() {
        let processes = ["web".to_owned(), "worker".to_owned()];
        let migrations = Some(Path::new("db/migrate"));
        let rules = Rules { environment: "dev", stack: None, processes: &processes, migrations };
        let both = [Effect::Restart("web".into()), Effect::Restart("worker".into())];
        check(
            &rules,
            &[
                ("app/assets/app.js", &[Effect::Assets]),
                ("app/src/main.rs", &both),
                ("lib/shared.rb", &both),
                ("manage.py", &both),
                ("db/migrate/2_more.sql", &[Effect::Processes]),
                ("environments/dev/Procfile", &[Effect::Processes]),
                ("environments/dev/.env", &[Effect::Processes]),
                ("environments/dev/compose.yml", &[]),
                ("docker/app/Dockerfile", &[]),
                ("README.md", &[]),
                ("releases/1.0.0.json", &[]),
                (".github/workflows/ci.yml", &[]),
            ],
        );
        let both = ["environments/dev/Procfile", "app/src/main.rs"].map(PathBuf::from);
        let changes: Changes = both.iter().cloned().map(|path| (path, How::Changed)).collect();
        let wanted = Effects::from([(Effect::Processes, both.into())]);
        let mut effects = rules.effects(&changes);
        join_processes(&mut effects);
        assert_eq!(effects, wanted, "all of them start anyway");
    }

    #[test]
    fn many_files_are_a_number() {
        let names = ["a", "b", "c", "d", "e"].map(PathBuf::from);
        let changes: Changes = names.iter().cloned().map(|name| (name, How::Removed)).collect();
        let files: BTreeSet<PathBuf> = names.into();
        assert_eq!(because(&files, &changes), "a is gone, b is gone, c is gone and 2 more");
    }
}
