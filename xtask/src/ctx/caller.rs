//! Where the caller stands, and what its environment says: which engine docker talks to, where its
//! logins are, and which certificates count.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Ctx;

/// Variables by which the caller's shell could change what docker and its plugins build or run, or
/// what they print: the project's files decide that, and nothing else. No child gets one. What says
/// where the engine and the logins are stays: `DOCKER_HOST`, `DOCKER_CONTEXT`, `DOCKER_CONFIG`,
/// `DOCKER_AUTH_CONFIG`, `DOCKER_CERT_PATH`, `DOCKER_TLS`, `DOCKER_TLS_VERIFY` and
/// `DOCKER_CUSTOM_HEADERS`; so do `SSH_…` and the proxies.
const STEERING: [&str; 9] = [
    "DOCKER_API_VERSION",
    "DOCKER_BUILDKIT",
    "DOCKER_CLI_EXPERIMENTAL",
    "DOCKER_CLI_HINTS",
    "DOCKER_CONTENT_TRUST",
    "DOCKER_CONTENT_TRUST_SERVER",
    "DOCKER_DEFAULT_PLATFORM",
    "DOCKER_HIDE_LEGACY_COMMANDS",
    "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY",
];
/// Families of such variables: each version of the plugins reads more of them.
const STEERING_FAMILIES: [&str; 3] = ["BUILDKIT_", "BUILDX_", "COMPOSE_"];

/// The caller's variables that no child gets, unless its command sets them.
pub(super) fn steering() -> impl Iterator<Item = OsString> {
    env_names().filter(|name| name.to_str().is_some_and(is_steering))
}

fn is_steering(name: &str) -> bool {
    STEERING.contains(&name) || STEERING_FAMILIES.iter().any(|family| name.starts_with(family))
}

impl Ctx {
    /// The address that the caller gives the docker client; it wins over every context.
    pub(crate) fn docker_host(&self) -> Option<String> {
        let host = env_os("DOCKER_HOST").filter(|host| !host.is_empty());
        host.map(|host| host.to_string_lossy().into_owned())
    }

    /// The context that the caller chooses by a variable.
    pub(crate) fn context_variable(&self) -> Option<String> {
        let context = env_os("DOCKER_CONTEXT").filter(|context| !context.is_empty());
        context.map(|context| context.to_string_lossy().into_owned())
    }

    /// The docker client's context; the builder of its engine has the same name.
    pub(crate) fn docker_context(&self) -> String {
        if self.docker_host().is_some() {
            return "default".into();
        }
        if let Some(context) = self.context_variable() {
            return context;
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
fn env_names() -> impl Iterator<Item = OsString> {
    std::env::vars_os().map(|(name, _)| name)
}

#[allow(clippy::disallowed_methods)] // the one place
pub(super) fn env_os(name: &str) -> Option<OsString> {
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
