//! The credentials that the AWS CLI uses: those that the variables hold, or what the AWS CLI's own
//! library finds (profiles, SSO, roles, instances). Version 2 prints them by a command; for
//! version 1, a script of Python, its interpreter runs `credentials.py`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Deserialize;
use xshell::{Cmd, Shell};

use super::Access;
use crate::secret::Secret;

/// Credentials that end earlier are asked for again: a question may take minutes.
const LEAST_LEFT: Duration = Duration::from_secs(5 * 60);

/// What signs a question. It stays in memory.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    key: Secret,
    secret: Secret,
    token: Option<Secret>,
    expires: Option<SystemTime>,
}

impl Credentials {
    /// Those that variables hold: nothing where a profile is named, which wins over them.
    pub(crate) fn of_variables(sh: &Shell, access: &Access) -> Option<Credentials> {
        let value = |name: &str| access.variable(sh, name).map(Secret::new);
        if access.profile.is_some() {
            return None;
        }
        Some(Credentials {
            key: value("AWS_ACCESS_KEY_ID")?,
            secret: value("AWS_SECRET_ACCESS_KEY")?,
            // In the order of botocore.
            token: value("AWS_SECURITY_TOKEN").or_else(|| value("AWS_SESSION_TOKEN")),
            expires: None,
        })
    }

    /// Whether they end soon.
    pub(crate) fn are_ending(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires < now + LEAST_LEFT)
    }

    /// As options of curl, which nobody may see.
    pub(crate) fn options(&self) -> Vec<(&'static str, Secret)> {
        let user = format!("{}:{}", self.key.reveal(), self.secret.reveal());
        let token = self.token.as_ref();
        let header = token.map(|it| format!("X-Amz-Security-Token: {}", it.reveal()));
        let header = header.map(|header| ("header", Secret::new(header)));
        [("user", Secret::new(user))].into_iter().chain(header).collect()
    }
}

/// What prints them, and what it reads on its stdin.
pub(crate) fn export<'s>(sh: &'s Shell, access: &Access) -> (Cmd<'s>, &'static str) {
    let profile = access.profile.as_ref();
    match interpreter(&access.aws) {
        Some(interpreter) => {
            let cmd = access.surround(sh.cmd(interpreter)).arg("-").args(profile);
            (cmd, include_str!("credentials.py"))
        }
        None => {
            let cmd = access.surround(sh.cmd(&access.aws));
            let cmd = profile.into_iter().fold(cmd, |cmd, it| cmd.args(["--profile", it]));
            (cmd.args(["configure", "export-credentials", "--format", "process"]), "")
        }
    }
}

/// Reads the answer to [`export`].
pub(crate) fn parse(stdout: &str) -> Result<Credentials> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Raw {
        access_key_id: Secret,
        secret_access_key: Secret,
        session_token: Option<Secret>,
        expiration: Option<String>,
    }
    // The text is secret, so the error does not repeat it.
    let raw = serde_json::from_str(stdout);
    let raw: Raw = raw.map_err(|_| anyhow::anyhow!("these are no credentials"))?;
    let time = |text: String| {
        let text = text.trim_end_matches("+00:00").trim_end_matches('Z');
        humantime::parse_rfc3339_weak(text).context("credentials that end at no time")
    };
    Ok(Credentials {
        key: raw.access_key_id,
        secret: raw.secret_access_key,
        token: raw.session_token.filter(|it| !it.reveal().is_empty()),
        expires: raw.expiration.map(time).transpose()?,
    })
}

/// The interpreter of an `aws` that is a script of Python, as version 1 is.
fn interpreter(aws: &Path) -> Option<PathBuf> {
    let mut start = [0; 256];
    let count = File::open(aws).and_then(|mut file| file.read(&mut start)).ok()?;
    let line = start[..count].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let path = Path::new(std::str::from_utf8(line).ok()?.trim());
    let name = path.file_name()?.to_str()?;
    (path.is_absolute() && name.starts_with("python")).then(|| path.to_owned())
}
