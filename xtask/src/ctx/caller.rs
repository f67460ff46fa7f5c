//! Where the caller stands, and what its environment says: which engine docker talks to, where its
//! logins are, and which certificates count.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Ctx;

impl Ctx {
    /// What decides which engine the docker client talks to.
    pub(crate) fn docker_endpoint(&self) -> String {
        format!("{}\n{}", self.docker_host().unwrap_or_default(), self.docker_context())
    }

    /// Where the caller says that the engine is.
    pub(crate) fn docker_host(&self) -> Option<String> {
        let host = env_os("DOCKER_HOST").filter(|host| !host.is_empty())?;
        Some(host.to_string_lossy().into_owned())
    }

    /// The docker client's context; the builder of its engine has the same name.
    pub(crate) fn docker_context(&self) -> String {
        let given = |name| env_os(name).filter(|value| !value.is_empty());
        if given("DOCKER_HOST").is_some() {
            return "default".into();
        }
        if let Some(context) = given("DOCKER_CONTEXT") {
            return context.to_string_lossy().into_owned();
        }
        let config = fs::read_to_string(self.docker_config_path()).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
        let context = config["currentContext"].as_str().filter(|context| !context.is_empty());
        context.unwrap_or("default").to_owned()
    }

    /// The docker client's settings, its logins among them.
    pub(crate) fn docker_config_path(&self) -> PathBuf {
        let directory = match self.sh.var_os("DOCKER_CONFIG") {
            Some(directory) => PathBuf::from(directory),
            None => PathBuf::from(self.sh.var_os("HOME").unwrap_or_default()).join(".docker"),
        };
        directory.join("config.json")
    }

    /// The caller's variables whose names begin so.
    pub(crate) fn variables_like(&self, start: &str) -> Vec<String> {
        let names = env_names().filter_map(|name| name.into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(start)).collect();
        names.sort();
        names
    }

    /// Where this user's programs keep what they can get again, by the XDG rules; nothing where
    /// the caller names no home.
    pub(crate) fn user_cache(&self) -> Option<PathBuf> {
        let absolute = |name| env_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Some(cache?.join("stevedore"))
    }

    /// This machine's own bundle of certificates, where the caller names one.
    pub(crate) fn certificates(&self) -> Option<PathBuf> {
        env_os("SSL_CERT_FILE").map(PathBuf::from).filter(|path| path.is_file())
    }
}

#[allow(clippy::disallowed_methods)] // as below
fn env_names() -> impl Iterator<Item = std::ffi::OsString> {
    std::env::vars_os().map(|(name, _)| name)
}

#[allow(clippy::disallowed_methods)] // the one place
pub(super) fn env_os(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// The nearest directory from `start` upwards that holds a project.
pub(super) fn find_root(start: &Path) -> Result<PathBuf> {
    let found = start
        .ancestors()
        .find(|path| path.join("environments").is_dir() && path.join("docker").is_dir());
    let root = found.with_context(|| {
        format!(
            "no project here: {} and the directories above it hold no docker/ and environments/\n  \
             go to the project, or name it: cargo xtask -C DIR …",
            start.display()
        )
    })?;
    Ok(root.to_path_buf())
}
