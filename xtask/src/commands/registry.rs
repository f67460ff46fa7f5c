//! What a registry really holds, read back over its HTTP interface.
//!
//! `docker push` says that it pushed; what counts is what others will pull. So it is asked for
//! here, past the engine and its caches, and every byte is compared with the hash that names it.
//! All of this only asks, so it runs in a dry run too.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::ctx::Ctx;
use crate::exit;
use crate::release::record::Layer;
use crate::secret::Secret;
use crate::tools::curl::{End, Limits, Method, Request, Trust};
use crate::tools::docker_config::Login;
use crate::tools::registry::{self as protocol, Challenge, Descriptor, unpack};

mod authorize;
mod http;
mod manifest;
#[cfg(test)]
mod tests;
mod trust;

use http::{Answer, Outcome};

/// Most bytes of a manifest, as registries have it, and of what else is read into memory.
const SMALL: u64 = 4 << 20;
/// Longest wait for a whole layer, in seconds; one that stalls is given up much earlier.
const LAYER_SECONDS: u32 = 60 * 60;

/// A registry that answers.
pub(crate) struct Registry<'c> {
    ctx: &'c Ctx,
    /// `HOST[:PORT]`, as docker knows it.
    host: String,
    /// Before the name of every image: nothing, or `PATH/`.
    prefix: String,
    /// `https://HOST[:PORT]`
    base: String,
    trust: Trust,
    patience: Patience,
    login: OnceCell<Option<Login>>,
    /// What it demands of all who ask, found when it was opened; without a scope.
    demand: RefCell<Option<Challenge>>,
    /// The header `Authorization` for each image.
    authorizations: RefCell<BTreeMap<String, Secret>>,
}

/// How long to wait, and between tries.
#[derive(Clone, Copy)]
struct Patience {
    connect_seconds: u32,
    answer_seconds: u32,
    stall_seconds: u32,
    /// Before each further try.
    pauses: &'static [Duration],
}

const PATIENCE: Patience = Patience {
    connect_seconds: 10,
    answer_seconds: 20,
    stall_seconds: 30,
    pauses: &[Duration::from_millis(500), Duration::from_secs(2)],
};
/// For what can do without an answer.
const AT_ONCE: Patience =
    Patience { connect_seconds: 3, answer_seconds: 5, stall_seconds: 5, pauses: &[] };

/// Finds the registry of `HOST[:PORT][/PATH]`; fails where none answers or lets us in.
///
/// As with docker, a host that the engine takes for insecure may have any certificate, or none.
pub(crate) fn open<'c>(ctx: &'c Ctx, repository: &str) -> Result<Registry<'c>> {
    open_within(ctx, repository, PATIENCE)
}

/// The same for a caller that can do without: one try, and a short wait.
pub(crate) fn open_at_once<'c>(ctx: &'c Ctx, repository: &str) -> Result<Registry<'c>> {
    open_within(ctx, repository, AT_ONCE)
}

fn open_within<'c>(ctx: &'c Ctx, repository: &str, patience: Patience) -> Result<Registry<'c>> {
    if which::which("curl").is_err() {
        return Err(exit::missing(
            "curl is not installed, and it asks the registry; install the package curl with \
             `cargo xtask setup`",
        ));
    }
    let (host, path) = repository.split_once('/').unwrap_or((repository, ""));
    let address = if host == "docker.io" { "registry-1.docker.io" } else { host };
    let mut registry = Registry {
        ctx,
        host: host.to_owned(),
        prefix: if path.is_empty() { String::new() } else { format!("{path}/") },
        base: format!("https://{address}"),
        trust: trust::trust(ctx, host)?,
        patience,
        login: OnceCell::new(),
        demand: RefCell::default(),
        authorizations: RefCell::default(),
    };
    if registry.trust.insecure && !registry.speaks_tls()? {
        registry.base = format!("http://{address}");
    }
    registry.ping()?;
    Ok(registry)
}

/// One question.
struct Question<'q> {
    method: Method,
    /// Below the registry's repository; empty where the question is about none.
    image: &'q str,
    path: String,
    accept: &'q [&'q str],
    limits: Limits,
}

impl Registry<'_> {
    /// A small blob, such as an image's config.
    pub(crate) fn blob(&self, image: &str, digest: &str) -> Result<Vec<u8>> {
        let question = self.blob_question(Method::Get, image, digest)?;
        self.received(&question, digest)?.bytes()
    }

    /// Whether a blob is there, with its size. Where the registry does not say it without the blob,
    /// the blob is fetched.
    pub(crate) fn has_blob(&self, image: &str, blob: &Descriptor) -> Result<bool> {
        let mut question = self.blob_question(Method::Head, image, &blob.digest)?;
        question.limits.bytes = i64::MAX as u64;
        let answer = self.ask(&question)?;
        match (answer.head.status, answer.head.get("content-length")) {
            (404, _) => Ok(false),
            (200, Some(length)) => Ok(length == blob.size.to_string()),
            (200 | 405 | 501, _) => {
                let question = self.layer_question(image, blob)?;
                let name = format!("{}@{}", self.name(image), blob.digest);
                let answer = self.whole(&question, &name, Some(&blob.digest))?;
                answer.map_or(Ok(false), |answer| Ok(answer.file()?.metadata()?.len() == blob.size))
            }
            _ => Err(self.surprise(&question, &answer)),
        }
    }

    /// Gets a layer and unpacks it, to say what it holds; nothing of it is kept.
    pub(crate) fn layer(&self, image: &str, blob: &Descriptor) -> Result<Layer> {
        let name = || format!("can't use {}@{}", self.name(image), blob.digest);
        let packing = unpack::packing(&blob.media_type).with_context(name)?;
        let question = self.layer_question(image, blob)?;
        let file = self.received(&question, &blob.digest)?.file()?;
        measure(self.ctx, unpack::unpack(packing, file)).with_context(name)
    }

    /// The name by which docker would pull an image.
    fn name(&self, image: &str) -> String {
        format!("{}/{}{image}", self.host, self.prefix)
    }

    fn question<'q>(&self, method: Method, image: &'q str, rest: &str) -> Result<Question<'q>> {
        protocol::check_image(image)?;
        let path = format!("/v2/{}{image}/{rest}", self.prefix);
        Ok(Question { method, image, path, accept: &[], limits: self.limits() })
    }

    fn blob_question<'q>(
        &self,
        method: Method,
        image: &'q str,
        digest: &str,
    ) -> Result<Question<'q>> {
        ensure!(protocol::is_digest(digest), "{digest:?} is no sha256 digest");
        self.question(method, image, &format!("blobs/{digest}"))
    }

    /// For all of a blob, however long that takes.
    fn layer_question<'q>(&self, image: &'q str, blob: &Descriptor) -> Result<Question<'q>> {
        let mut question = self.blob_question(Method::Get, image, &blob.digest)?;
        question.limits.answer_seconds = LAYER_SECONDS.max(question.limits.answer_seconds);
        question.limits.bytes = blob.size.max(1);
        Ok(question)
    }

    fn limits(&self) -> Limits {
        let Patience { connect_seconds, answer_seconds, stall_seconds, .. } = self.patience;
        Limits { connect_seconds, answer_seconds, stall_seconds, bytes: SMALL }
    }

    /// The blob that a manifest names: there, or an error.
    fn received(&self, question: &Question<'_>, digest: &str) -> Result<Answer> {
        let name = format!("{}@{digest}", self.name(question.image));
        self.whole(question, &name, Some(digest))?.with_context(|| {
            format!("the registry lacks {name}, which a manifest of its names; push it again")
        })
    }

    /// An answer whose bytes have the digest that was asked for, or that the registry names.
    /// Damaged ones are asked for once more: a proxy between may be the culprit.
    fn whole(
        &self,
        question: &Question<'_>,
        name: &str,
        wanted: Option<&str>,
    ) -> Result<Option<Answer>> {
        let mut tried = false;
        loop {
            let answer = self.ask(question)?;
            match answer.head.status {
                200 => {}
                404 => return Ok(None),
                _ => return Err(self.surprise(question, &answer)),
            }
            let digest = measure(self.ctx, answer.file()?)?.diff_id;
            let named = answer.head.get("docker-content-digest");
            let named = named.filter(|named| protocol::is_digest(named));
            let mut expected = wanted.into_iter().chain(named);
            let other = expected.find(|expected| *expected != digest).map(str::to_owned);
            let damage = match (answer.damage, other) {
                (None, None) => return Ok(Some(answer)),
                (Some(words), other) => format!(
                    "{words}; wanted {}, found {digest}",
                    other.as_deref().unwrap_or("all of it")
                ),
                (None, Some(other)) => format!("wanted {other}, found {digest}"),
            };
            if tried {
                bail!(
                    "the registry's bytes of {name} are damaged, twice: {damage}; delete them \
                     there and push again"
                );
            }
            tried = true;
        }
    }

    /// Asks, and proves who we are where that is wanted.
    ///
    /// A token that is too old is answered with 401, and a new one is fetched. Some registries
    /// answer it as ghcr.io (403, <https://github.com/renovatebot/renovate/issues/11446>) or
    /// public.ecr.aws (400, <https://github.com/aws/containers-roadmap/issues/2835>): then it is
    /// asked once more without the token.
    fn ask(&self, question: &Question<'_>) -> Result<Answer> {
        let known = self.authorizations.borrow().contains_key(question.image);
        let mut answer = self.answer(question)?;
        if known && [400, 403].contains(&answer.head.status) {
            self.authorizations.borrow_mut().remove(question.image);
            answer = self.answer(question)?;
        }
        self.admitted(question, answer)
    }

    /// The answer once we said who we are; a second time would not help.
    fn admitted(&self, question: &Question<'_>, answer: Answer) -> Result<Answer> {
        let answer = match answer.head.status {
            401 => {
                self.authorize(question, &answer)?;
                self.answer(question)?
            }
            _ => answer,
        };
        match answer.head.status {
            401 => Err(self.refused(question, &answer)),
            403 => bail!(
                "{} denies access to {} ({}); ask its owner for the right to it, or log in again: \
                 docker login {}",
                self.host,
                self.name(question.image).trim_end_matches('/'),
                answer.said(),
                self.host
            ),
            _ => Ok(answer),
        }
    }

    /// Asks with what is known of who we are.
    fn answer(&self, question: &Question<'_>) -> Result<Answer> {
        let authorization = self.authorizations.borrow().get(question.image).cloned();
        let secrets: Vec<_> = authorization.into_iter().map(|it| ("header", it)).collect();
        let url = format!("{}{}", self.base, question.path);
        http::answer(
            self.ctx,
            &self.server(),
            self.patience.pauses,
            &self.request(question, &url),
            &secrets,
        )
    }

    fn request<'r>(&'r self, question: &Question<'r>, url: &'r str) -> Request<'r> {
        let Question { method, accept, limits, .. } = *question;
        Request { method, url, accept, form: &[], trust: &self.trust, limits }
    }

    /// Asks whether there is a registry, and whether it takes the login where there is one.
    fn ping(&self) -> Result<()> {
        let ping = self.ping_question();
        let answer = self.answer(&ping)?;
        let demand = authorize::challenge(&answer).map(Challenge::of_all);
        // Without a login, tokens are for one image each, and there is none yet.
        let tokens = matches!(demand, Some(Challenge::Bearer { .. }));
        self.demand.replace(demand);
        if answer.head.status == 401 && tokens && self.login()?.is_none() {
            return Ok(());
        }
        let answer = self.admitted(&ping, answer)?;
        match answer.head.status {
            200 => Ok(()),
            404 => Err(exit::missing(format!(
                "{} answers, but is no registry ({}/v2/ is not there); correct [registry] \
                 repository in environment.toml",
                self.host, self.base
            ))),
            _ => Err(self.surprise(&ping, &answer)),
        }
    }

    /// Whether an insecure host speaks TLS all the same: docker tries that first too.
    fn speaks_tls(&self) -> Result<bool> {
        let url = format!("{}/v2/", self.base);
        let request = self.request(&self.ping_question(), &url);
        match http::once(self.ctx, &request, &[])? {
            Outcome::Answer(_) => Ok(true),
            Outcome::Trouble { end: End::Silent, words } => {
                Err(http::unreachable(&self.server(), &url, End::Silent, &words))
            }
            Outcome::Trouble { .. } => Ok(false),
        }
    }

    fn ping_question(&self) -> Question<'static> {
        let path = "/v2/".to_owned();
        Question { method: Method::Get, image: "", path, accept: &[], limits: self.limits() }
    }

    fn server(&self) -> String {
        format!("the registry {}", self.host)
    }

    /// Still 401 after we said who we are, or no token for it.
    fn refused(&self, question: &Question<'_>, answer: &Answer) -> anyhow::Error {
        anyhow!(
            "the registry {} does not let us read {} ({}); log in with `docker login {}`",
            self.host,
            self.name(question.image).trim_end_matches('/'),
            answer.said(),
            self.host
        )
    }

    fn surprise(&self, question: &Question<'_>, answer: &Answer) -> anyhow::Error {
        let (server, path, said) = (self.server(), &question.path, answer.said());
        anyhow!("{server} answered {said} to {path}; try again, or ask who runs it")
    }
}

/// Reads to the end: the digest and the size of what came.
fn measure(ctx: &Ctx, from: impl Read) -> Result<Layer> {
    unpack::measure(from, || if ctx.interrupted() { Err(exit::interrupted()) } else { Ok(()) })
}
