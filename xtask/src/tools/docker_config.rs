//! The docker client's `config.json`: where a login to a registry is kept, and what it is.
//!
//! `docker login` writes it, and a team that can push has done so already; there is no second way
//! to give us a password. No error here repeats a part of the file.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use xshell::{Cmd, Shell};

use crate::secret::Secret;

/// Who we are to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Password {
        user: String,
        password: Secret,
    },
    /// Can be exchanged for tokens only.
    Identity(Secret),
}

/// Where the login to a registry is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A program tells it.
    Helper(String),
    File(Login),
    Nowhere,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
}

/// The name under which the docker client keeps the login to a host; the Hub has one of its own.
pub(crate) fn server(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => "https://index.docker.io/v1/",
        host => host,
    }
}

/// Where a host's login is, from the text of `config.json`.
pub(crate) fn place(text: &str, host: &str) -> Result<Place> {
    // The error of serde would quote the value at which it stumbled.
    let config: Config = serde_json::from_str(text)
        .map_err(|error| anyhow!("it is no JSON that docker writes, at line {}", error.line()))?;
    let server = server(host);
    let helper = config.cred_helpers.get(server).or(config.creds_store.as_ref());
    if let Some(helper) = helper.filter(|helper| !helper.is_empty()) {
        return Ok(Place::Helper(helper.clone()));
    }
    let same_host = |key: &&String| host_of(key) == host_of(server);
    let entry = match config.auths.get(server) {
        Some(entry) => entry,
        None => match config.auths.keys().find(same_host) {
            Some(key) => &config.auths[key],
            None => return Ok(Place::Nowhere),
        },
    };
    let login = login(entry).with_context(|| format!("its entry for {host} can't be read"))?;
    Ok(login.map_or(Place::Nowhere, Place::File))
}

fn host_of(key: &str) -> &str {
    let key = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}

fn login(entry: &Entry) -> Result<Option<Login>> {
    let given = |secret: &Option<Secret>| secret.clone().filter(|it| !it.reveal().is_empty());
    if let Some(token) = given(&entry.identitytoken) {
        return Ok(Some(Login::Identity(token)));
    }
    if let Some(auth) = given(&entry.auth) {
        let bytes = STANDARD.decode(auth.reveal()).map_err(|_| anyhow!("auth is no base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| anyhow!("auth is no text"))?;
        let (user, password) = text.split_once(':').context("auth is no USER:PASSWORD")?;
        let password = Secret::new(password.trim_matches('\0'));
        return Ok(Some(Login::Password { user: user.to_owned(), password }));
    }
    let pair = entry.username.clone().zip(given(&entry.password));
    Ok(pair.map(|(user, password)| Login::Password { user, password }))
}

/// Asks a helper for the login to the server whose name it reads on stdin.
pub(crate) fn helper<'s>(sh: &'s Shell, name: &str) -> Cmd<'s> {
    sh.cmd(format!("docker-credential-{name}")).arg("get")
}

/// Whether a helper that failed has just no such login.
pub(crate) fn lacks_login(stdout: &str) -> bool {
    stdout.trim() == "credentials not found in native keychain"
}

/// What a helper printed.
pub(crate) fn parse_helper(stdout: &str) -> Result<Login> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Printed {
        username: String,
        secret: Secret,
    }
    let printed: Printed =
        serde_json::from_str(stdout).map_err(|_| anyhow!("it printed no login"))?;
    Ok(match printed.username.as_str() {
        "<token>" => Login::Identity(printed.secret),
        _ => Login::Password { user: printed.username, password: printed.secret },
    })
}
