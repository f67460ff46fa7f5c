//! Which compose files describe a stack: `docker/compose.yml`, then that of the environment.
//!
//! Both of compose's names for a file are read. Every other name that compose itself would read is
//! a problem: a file that is not read must not look as if it were.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::exit;

/// The names that are read.
pub(crate) const NAMES: [&str; 2] = ["compose.yml", "compose.yaml"];
/// The names that compose reads besides, and we do not.
const OTHERS: [&str; 6] = [
    "docker-compose.yml",
    "docker-compose.yaml",
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];
/// Names that were meant to be environment.toml.
const MISSPELT: [&str; 5] = [
    "environment.yml",
    "environment.yaml",
    "environment.json",
    "environments.toml",
    "environnement.toml",
];

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ComposeFiles {
    /// From the project's root; the base first, then the overlay where there is one.
    pub(crate) files: Vec<PathBuf>,
    /// Files that can't be what they seem to be.
    pub(crate) problems: Vec<String>,
}

impl ComposeFiles {
    pub(crate) fn base(&self) -> &Path {
        &self.files[0]
    }

    /// Refuses files that are not what they seem to be.
    pub(crate) fn check(&self) -> Result<()> {
        match self.problems.is_empty() {
            true => Ok(()),
            false => Err(exit::problems("can't use the compose files", &self.problems)),
        }
    }

    pub(crate) fn overlay(&self) -> Option<&Path> {
        self.files.get(1).map(PathBuf::as_path)
    }
}

/// The compose files of an environment. Without a base its usual name stands for it.
pub(crate) fn find(root: &Path, environment: &str) -> ComposeFiles {
    let exists = |path: &Path| root.join(path).symlink_metadata().is_ok();
    choose(&exists, environment)
}

fn choose(exists: &dyn Fn(&Path) -> bool, environment: &str) -> ComposeFiles {
    let mut found = ComposeFiles::default();
    for folder in [PathBuf::from("docker"), Path::new("environments").join(environment)] {
        let paths = NAMES.map(|name| folder.join(name));
        let there: Vec<&PathBuf> = paths.iter().filter(|path| exists(path)).collect();
        if let [one, other] = &there[..] {
            let (one, other) = (one.display(), other.display());
            found.problems.push(format!("both {one} and {other} are there; remove one of them"));
        }
        let is_base = found.files.is_empty();
        found.files.extend(there.first().copied().or(is_base.then_some(&paths[0])).cloned());
        for path in OTHERS.map(|name| folder.join(name)) {
            if exists(&path) {
                let (path, name) = (path.display(), paths[0].display());
                found.problems.push(format!("{path} is not read; move what it says to {name}"));
            }
        }
    }
    let folder = Path::new("environments").join(environment);
    for path in MISSPELT.map(|name| folder.join(name)).iter().filter(|path| exists(path)) {
        let (path, name) = (path.display(), folder.join("environment.toml"));
        found.problems.push(format!("{path} is not read; the file is {}", name.display()));
    }
    found
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(there: &[&str], expected: &Expect) {
        let exists = |path: &Path| there.iter().any(|it| Path::new(it) == path);
        let found = choose(&exists, "dev");
        let files: Vec<String> = found.files.iter().map(|it| it.display().to_string()).collect();
        expected.assert_eq(&format!("{:#?}", [files, found.problems].concat()));
    }

    #[test]
    fn either_name_is_read() {
        check(
            &[],
            &expect![[r#"
            [
                "docker/compose.yml",
            ]"#]],
        );
        check(
            &["docker/compose.yaml", "environments/dev/compose.yml"],
            &expect![[r#"
                [
                    "docker/compose.yaml",
                    "environments/dev/compose.yml",
                ]"#]],
        );
        check(
            &["docker/compose.yml", "environments/dev/compose.yaml"],
            &expect![[r#"
                [
                    "docker/compose.yml",
                    "environments/dev/compose.yaml",
                ]"#]],
        );
    }

    #[test]
    fn two_in_one_folder_and_names_that_are_not_read_are_problems() {
        check(
            &[
                "docker/compose.yml",
                "docker/compose.yaml",
                "docker/docker-compose.yml",
                "environments/dev/compose.override.yml",
                "environments/dev/environments.toml",
                "environments/prod/docker-compose.yml",
            ],
            &expect![[r#"
                [
                    "docker/compose.yml",
                    "both docker/compose.yml and docker/compose.yaml are there; remove one of them",
                    "docker/docker-compose.yml is not read; move what it says to docker/compose.yml",
                    "environments/dev/compose.override.yml is not read; move what it says to environments/dev/compose.yml",
                    "environments/dev/environments.toml is not read; the file is environments/dev/environment.toml",
                ]"#]],
        );
    }
}
