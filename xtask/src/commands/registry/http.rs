//! One question over HTTP is one curl with a deadline; what may pass by itself is tried again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tempfile::NamedTempFile;

use crate::ctx::Ctx;
use crate::exit;
use crate::secret::Secret;
use crate::tools::curl::{self, End, Head, Request};
use crate::tools::registry as protocol;

/// Longest wait that a server may ask for before the next try.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What a server answered, with any status.
pub(super) struct Answer {
    pub(super) head: Head,
    /// What is wrong with the body, beside its bytes.
    pub(super) damage: Option<&'static str>,
    body: NamedTempFile,
    most: u64,
}

impl Answer {
    pub(super) fn file(&self) -> Result<File> {
        let mut file = self.body.reopen().context("can't read an answer")?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file()?.take(self.most).read_to_end(&mut bytes).context("can't read an answer")?;
        Ok(bytes)
    }

    /// The status, and what the server says of it, where it does.
    pub(super) fn said(&self) -> String {
        let words = self.bytes().ok().and_then(|body| protocol::parse_errors(&body));
        match words {
            Some(words) => format!("{}: {words}", self.head.status),
            None => self.head.status.to_string(),
        }
    }
}

pub(super) enum Outcome {
    Answer(Answer),
    /// curl's own words for what kept it from an answer.
    Trouble {
        end: End,
        words: String,
    },
}

/// Asks once. `secrets` are options of curl that nobody may see.
pub(super) fn once(
    ctx: &Ctx,
    request: &Request<'_>,
    secrets: &[(&str, Secret)],
) -> Result<Outcome> {
    // Readable by their owner only: a token may be among what comes.
    let headers = NamedTempFile::new().context("can't create a temporary file")?;
    let body = NamedTempFile::new().context("can't create a temporary file")?;
    let with_config = !secrets.is_empty();
    let cmd = curl::request(&ctx.sh, request, with_config);
    let cmd = curl::into_files(cmd, headers.path(), body.path());
    // curl's own deadlines come first.
    let deadline = Duration::from_secs(u64::from(request.limits.answer_seconds) + 10);
    let said = match with_config {
        true => ctx.ask_with_input(cmd, &curl::config(secrets)?, deadline)?,
        false => ctx.ask(cmd, deadline)?,
    };
    let end = curl::end(said.status.code());
    let damage = match end {
        End::Answered => None,
        End::Damaged(words) => Some(words),
        end => return Ok(Outcome::Trouble { end, words: curl::words(&said.stderr) }),
    };
    let text = std::fs::read(headers.path()).context("can't read an answer's headers")?;
    let head = curl::parse_head(&String::from_utf8_lossy(&text));
    let head = head.context("curl noted no status of an answer")?;
    Ok(Outcome::Answer(Answer { head, damage, body, most: request.limits.bytes }))
}

/// Asks, and again where the server is busy or broken or the connection broke; `server` says who
/// it is.
pub(super) fn answer(
    ctx: &Ctx,
    server: &str,
    pauses: &[Duration],
    request: &Request<'_>,
    secrets: &[(&str, Secret)],
) -> Result<Answer> {
    let mut left = pauses.iter();
    loop {
        let (trouble, wanted) = match once(ctx, request, secrets)? {
            Outcome::Answer(answer) if answer.head.status == 429 || answer.head.status >= 500 => {
                (format!("answered {}", answer.said()), answer.head.get("retry-after").map(wait))
            }
            Outcome::Answer(answer) => return Ok(answer),
            Outcome::Trouble { end: End::Broken, words } => {
                (format!("broke the connection ({words})"), None)
            }
            Outcome::Trouble { end, words } => {
                return Err(unreachable(server, request.url, end, &words));
            }
        };
        let Some(&pause) = left.next() else {
            let times = if pauses.is_empty() { "" } else { ", three times" };
            bail!("{server} {trouble}{times}; wait until it is well, then run this again");
        };
        let pause = wanted.unwrap_or(pause);
        ctx.say(format_args!("{server} {trouble}; asking again in {} ms", pause.as_millis()));
        ctx.pause(pause)?;
    }
}

/// How long a header `Retry-After` asks to wait, at most [`LONGEST_PAUSE`]. It may also be a date
/// (RFC 9110, section 10.2.3): a registry that names one is busy for longer.
pub(super) fn wait(header: &str) -> Duration {
    header.trim().parse().map_or(LONGEST_PAUSE, Duration::from_secs).min(LONGEST_PAUSE)
}

/// The error for a server of which nothing came.
pub(super) fn unreachable(server: &str, url: &str, end: End, words: &str) -> anyhow::Error {
    let host = url.split('/').nth(2).unwrap_or(url);
    match end {
        End::Untrusted => exit::missing(format!(
            "{server} is not to be trusted: {words}; name its authority's certificate in \
             SSL_CERT_FILE, or put it where docker looks: /etc/docker/certs.d/{host}/ca.crt"
        )),
        End::Silent | End::Unreachable => exit::missing(format!(
            "{server} does not answer: {words}; check the name, the network and HTTPS_PROXY, then \
             try: curl {url}"
        )),
        _ => anyhow!("can't ask {server}: {words}; try: curl {url}"),
    }
}
