//! curl: HTTP and TLS that need not be compiled into xtask, whose first build everybody waits for.
//!
//! What is secret goes to curl on stdin, as lines of its configuration, never on the argv. curl
//! hands a header `Authorization` to no other host, port or scheme that an answer redirects it to.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use xshell::{Cmd, Shell, cmd};

use crate::secret::Secret;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    /// A form in the body. Not redirected: it may hold a secret.
    Post,
}

/// One question over HTTP.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    pub(crate) method: Method,
    pub(crate) url: &'r str,
    /// Media types.
    pub(crate) accept: &'r [&'r str],
    /// `NAME=value`, part of the address, or of the body of a [`Method::Post`].
    pub(crate) form: &'r [String],
    pub(crate) trust: &'r Trust,
    pub(crate) limits: Limits,
}

/// Whom to believe that they are who they say, and how to get there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// Anybody.
    pub(crate) insecure: bool,
    /// Those in this file.
    pub(crate) authority: Option<PathBuf>,
    /// No proxy between: docker has none on the way to this machine itself.
    pub(crate) past_proxies: bool,
}

/// How long to wait and how much to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect_seconds: u32,
    pub(crate) answer_seconds: u32,
    /// Ends an answer of which less than a kilobyte a second comes for so long.
    pub(crate) stall_seconds: u32,
    /// Of the body.
    pub(crate) bytes: u64,
}

/// The command. `with_config`: more of it comes on stdin, as [`config`] writes it.
pub(crate) fn request<'s>(sh: &'s Shell, request: &Request<'_>, with_config: bool) -> Cmd<'s> {
    let Limits { connect_seconds, answer_seconds, stall_seconds, bytes } = request.limits;
    let (connect, answer) = (connect_seconds.to_string(), answer_seconds.to_string());
    let (stall, most) = (stall_seconds.to_string(), bytes.to_string());
    // What comes without TLS could be anybody's demand for our login, a redirection's end too.
    let schemes = if request.url.starts_with("https:") { "=https" } else { "=http,https" };
    // Only as the first option does --disable keep the user's own settings out.
    let mut cmd = cmd!(sh, "curl --disable");
    if with_config {
        cmd = cmd.args(["--config", "-"]);
    }
    cmd = cmd
        .args(["--silent", "--show-error", "--globoff", "--proto", schemes])
        .args(["--connect-timeout", &connect, "--max-time", &answer])
        .args(["--speed-limit", "1000", "--speed-time", &stall, "--max-filesize", &most]);
    cmd = match request.method {
        Method::Get => cmd.args(["--get", "--location", "--max-redirs", "5"]),
        Method::Head => cmd.args(["--head", "--location", "--max-redirs", "5"]),
        Method::Post => cmd,
    };
    if request.trust.insecure {
        cmd = cmd.arg("--insecure");
    }
    if request.trust.past_proxies {
        cmd = cmd.args(["--proxy", ""]);
    }
    if let Some(authority) = &request.trust.authority {
        cmd = cmd.arg("--cacert").arg(authority);
    }
    if !request.accept.is_empty() {
        cmd = cmd.arg("--header").arg(format!("Accept: {}", request.accept.join(", ")));
    }
    for field in request.form {
        cmd = cmd.arg("--data-urlencode").arg(field);
    }
    cmd.arg("--url").arg(request.url)
}

/// The same, with the answer in files.
pub(crate) fn into_files<'s>(cmd: Cmd<'s>, headers: &Path, body: &Path) -> Cmd<'s> {
    cmd.arg("--dump-header").arg(headers).arg("--output").arg(body)
}

/// What is secret of a request, as lines of a configuration: long options and their values.
pub(crate) fn config(options: &[(&str, Secret)]) -> Result<Secret> {
    let mut text = String::new();
    for (option, value) in options {
        let value = value.reveal();
        ensure!(!value.contains(char::is_control), "a login or token holds a control character");
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        text += &format!("{option} = \"{value}\"\n");
    }
    Ok(Secret::new(text))
}

/// How a request ended, by curl's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Answered,
    /// The body is not all that was announced, or too much: trying again may help.
    Damaged(&'static str),
    /// The connection broke: trying again may help.
    Broken,
    /// Nobody answered in time.
    Silent,
    /// There is no way to the server, or it is not who it should be.
    Unreachable,
    /// The server's certificate is not to be trusted.
    Untrusted,
    /// Something else, which curl's own words explain.
    Failed,
}

pub(crate) fn end(code: Option<i32>) -> End {
    match code {
        Some(0) => End::Answered,
        Some(18) => End::Damaged("it was cut short"),
        Some(63) => End::Damaged("it is longer than it should be"),
        Some(16 | 52 | 55 | 56 | 92 | 95) => End::Broken,
        Some(28) => End::Silent,
        Some(5 | 6 | 7 | 35 | 97) => End::Unreachable,
        Some(51 | 53 | 58 | 59 | 60 | 64 | 66 | 77 | 80 | 82 | 83 | 90 | 91) => End::Untrusted,
        _ => End::Failed,
    }
}

/// curl's own words, from its stderr.
pub(crate) fn words(stderr: &str) -> String {
    let line = stderr.lines().find(|line| line.starts_with("curl: ")).unwrap_or(stderr.trim());
    let words = line.strip_prefix("curl: ").unwrap_or(line);
    let words = match words.split_once(") ") {
        Some((code, words)) if code.starts_with('(') => words,
        _ => words,
    };
    words.chars().filter(|c| !c.is_control()).collect()
}

/// Status and headers of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h str> {
        self.headers.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The last answer of those that curl noted: before it come interim ones, those of proxies, and
/// redirections.
pub(crate) fn parse_head(text: &str) -> Option<Head> {
    let mut head = None;
    for line in text.lines() {
        if line.starts_with("HTTP/") {
            let status = line.split(' ').nth(1)?.parse().ok()?;
            head = Some(Head { status, headers: Vec::new() });
        } else if let (Some(head), Some((name, value))) = (&mut head, line.split_once(':')) {
            head.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    head
}
