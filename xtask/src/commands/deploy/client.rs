//! Asks AWS, or the local service. curl asks, and signs each question with the credentials of the
//! AWS CLI. Where curl cannot, the AWS CLI asks: each of its starts takes a second or so.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use xshell::Cmd;

use crate::ctx::{Answer, Ctx, LONG, QUESTION};
use crate::exit;
use crate::secret::Secret;
use crate::tools::aws::credentials::{self, Credentials};
use crate::tools::aws::query::{self, Question, Refusal};
use crate::tools::aws::{self, Access, Place};
use crate::tools::curl::{self, End, Trust};

/// Longest wait for one answer of the service, throttling and repetitions included.
pub(super) const ANSWER: Duration = Duration::from_secs(90);
/// Longest wait for an answer that is not repeated.
const ONE_ANSWER: Duration = Duration::from_secs(30);
/// Before a question is asked again: as often as the AWS CLI does.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_millis(1200),
    Duration::from_millis(2400),
];

pub(super) struct Client {
    pub(super) access: Access,
    /// Nothing where the AWS CLI asks.
    curl: RefCell<Option<Curl>>,
}

struct Curl {
    credentials: Option<Credentials>,
    /// They are the variables', and there are no others.
    are_fixed: bool,
    trust: Trust,
    /// Some answer came this way.
    is_proven: bool,
}

/// What came of a question.
enum Reply {
    Answer(Value),
    Refused(Refusal),
    /// The words for it.
    NoAnswer(End, String),
}

impl Client {
    pub(super) fn open(ctx: &Ctx, access: Access) -> Result<Client> {
        let curl = RefCell::new(Curl::open(ctx, &access)?);
        Ok(Client { access, curl })
    }

    pub(super) fn ask(&self, ctx: &Ctx, question: &Question) -> Result<Value> {
        let cmd = question.by_cli(&ctx.sh, &self.access);
        let shown = cmd.to_string();
        let mut curl = self.curl.borrow_mut();
        let Some(by_curl) = &mut *curl else { return self.ask_cli(ctx, cmd, ANSWER) };
        match by_curl.ask(ctx, &self.access, question)? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Refused(refusal) if by_curl.is_proven || !refusal.is_about_signature() => {
                let words = refusal.words(question.action);
                Err(explain(anyhow!("`{shown}` failed:\n  {words}"), &words))
            }
            Reply::NoAnswer(_, words) if by_curl.is_proven => {
                Err(exit::missing(format!("the service does not answer\n  {words}")))
            }
            // What keeps curl from an answer may not keep the AWS CLI: a certificate, a proxy.
            Reply::Refused(_) | Reply::NoAnswer(..) => {
                *curl = None;
                self.ask_cli(ctx, cmd, ANSWER)
            }
        }
    }

    fn ask_cli(&self, ctx: &Ctx, cmd: Cmd<'_>, deadline: Duration) -> Result<Value> {
        let shown = cmd.to_string();
        let answer = ctx.ask(cmd, deadline)?;
        let said = answer.stderr.trim().to_owned();
        let stdout = answer.success(&shown).map_err(|error| explain(error, &said))?;
        // What is wrong is said without the text, which may hold secrets.
        serde_json::from_str(&stdout).map_err(|_| anyhow!("aws printed something unexpected"))
    }

    /// Gets a bundle into a file.
    pub(super) fn fetch(&self, ctx: &Ctx, place: &Place, file: &Path) -> Result<()> {
        if let Some(curl) = &mut *self.curl.borrow_mut()
            && let Some(cmd) = query::fetch(&ctx.sh, &self.access, &curl.trust, place, file)
            && let answer = curl.run(ctx, &self.access, cmd, LONG)?
            && answer.status.success()
            && query::status(&answer.stderr) == 200
        {
            return Ok(());
        }
        self.ask_cli(ctx, aws::fetch(&ctx.sh, &self.access, place, file), LONG).map(drop)
    }
}

impl Curl {
    /// Nothing where this curl cannot sign, the AWS CLI has settings that lead elsewhere, or its
    /// credentials cannot be had.
    fn open(ctx: &Ctx, access: &Access) -> Result<Option<Curl>> {
        let version = or_nothing(ctx.ask(query::curl_version(&ctx.sh), QUESTION))?;
        let variable = |name: &str| access.variable(&ctx.sh, name);
        let home = || variable("HOME").map(|home| PathBuf::from(home).join(".aws/config"));
        let settings = variable("AWS_CONFIG_FILE").map(PathBuf::from).or_else(home);
        let settings = settings.and_then(|path| std::fs::read_to_string(path).ok());
        if !version.is_some_and(|it| query::signs_headers(&it.stdout))
            || !query::is_plain(&ctx.sh, access, &settings.unwrap_or_default())
        {
            return Ok(None);
        }
        let authority = variable("AWS_CA_BUNDLE").or_else(|| variable("REQUESTS_CA_BUNDLE"));
        let past_proxies = !access.fence.is_empty();
        let trust =
            Trust { insecure: false, authority: authority.map(PathBuf::from), past_proxies };
        let credentials = Credentials::of_variables(&ctx.sh, access);
        let are_fixed = credentials.is_some();
        let credentials = match credentials {
            None => or_nothing(export(ctx, access))?,
            fixed => fixed,
        };
        let is_there = credentials.is_some();
        Ok(is_there.then_some(Curl { credentials, are_fixed, trust, is_proven: false }))
    }

    /// Asks, and again where that may help.
    fn ask(&mut self, ctx: &Ctx, access: &Access, question: &Question) -> Result<Reply> {
        let (started, mut pauses, mut is_renewed) = (Instant::now(), PAUSES.into_iter(), false);
        loop {
            let left = ANSWER.saturating_sub(started.elapsed());
            let reply = self.once(ctx, access, question, left.min(ONE_ANSWER))?;
            let may_pass = match &reply {
                Reply::Answer(_) => return Ok(reply),
                Reply::Refused(it) if it.is_expired() && !self.are_fixed && !is_renewed => {
                    (self.credentials, is_renewed) = (None, true);
                    continue;
                }
                Reply::Refused(refusal) => refusal.is_throttled(),
                Reply::NoAnswer(end, _) => {
                    self.is_proven && !matches!(end, End::Untrusted | End::Failed)
                }
            };
            match pauses.next() {
                Some(pause) if may_pass && pause + ONE_ANSWER < left => ctx.pause(pause)?,
                _ => return Ok(reply),
            }
        }
    }

    fn once(
        &mut self,
        ctx: &Ctx,
        access: &Access,
        question: &Question,
        deadline: Duration,
    ) -> Result<Reply> {
        let seconds = u32::try_from(deadline.as_secs()).unwrap_or(1).max(1);
        let cmd = question.by_curl(&ctx.sh, access, &self.trust, seconds);
        let cmd = cmd.context("the service is nowhere")?;
        let answer = self.run(ctx, access, cmd, deadline + QUESTION)?;
        let (end, status) = (curl::end(answer.status.code()), query::status(&answer.stderr));
        Ok(match (end, status) {
            (End::Answered, 200) => {
                self.is_proven = true;
                Reply::Answer(question.parse(&answer.stdout)?)
            }
            (End::Answered, status) => match Refusal::parse(&answer.stdout) {
                Some(refusal) if status < 500 && status != 429 => Reply::Refused(refusal),
                refusal => {
                    let words = refusal.map(|it| it.words(question.action)).unwrap_or_default();
                    Reply::NoAnswer(End::Broken, format!("status {status} {words}"))
                }
            },
            (end, _) => Reply::NoAnswer(end, curl::words(&answer.stderr)),
        })
    }

    /// Runs curl with the credentials, which are asked for again before they end.
    fn run(
        &mut self,
        ctx: &Ctx,
        access: &Access,
        cmd: Cmd<'_>,
        deadline: Duration,
    ) -> Result<Answer> {
        let held = self.credentials.take().filter(|it| !it.are_ending(SystemTime::now()));
        let credentials = match held {
            Some(held) => held,
            None => export(ctx, access)?,
        };
        let config = curl::config(&credentials.options())?;
        self.credentials = Some(credentials);
        ctx.ask_with_input(cmd, &config, deadline)
    }
}

/// Asks for the credentials of the AWS CLI.
fn export(ctx: &Ctx, access: &Access) -> Result<Credentials> {
    let (cmd, input) = credentials::export(&ctx.sh, access);
    let shown = cmd.to_string();
    let answer = ctx.ask_with_input(cmd, &Secret::new(input), ANSWER)?;
    let said = answer.stderr.trim().to_owned();
    credentials::parse(&answer.success(&shown).map_err(|error| explain(error, &said))?)
}

/// Any error but an interrupt is nothing: there is another way.
fn or_nothing<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if exit::code(&error) == exit::INTERRUPTED => Err(error),
        Err(_) => Ok(None),
    }
}

/// What has to be done about an answer that is none.
fn explain(error: anyhow::Error, said: &str) -> anyhow::Error {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["ExpiredToken", "Unable to locate credentials", "InvalidClientTokenId", "SSO"]) {
        return exit::missing(format!(
            "the credentials are missing, wrong or have expired; log in to AWS (`aws sts \
             get-caller-identity` must work), and run the same command again\n  {said}"
        ));
    }
    if has(&["Could not connect to the endpoint", "ProxyConnectionError", "ConnectTimeout"]) {
        return exit::missing(format!("the service does not answer\n  {said}"));
    }
    error
}
