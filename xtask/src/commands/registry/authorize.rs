//! Who we are to a registry: docker's own logins, and the tokens that they buy.

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::http::{self, Answer};
use super::{Question, Registry};
use crate::ctx::{Ctx, QUESTION};
use crate::secret::Secret;
use crate::tools::curl::{Method, Request};
use crate::tools::docker_config::{self, Login, Place};
use crate::tools::registry::{self as protocol, Challenge};

/// What an answer 401 demands, as far as we can meet it.
pub(super) fn challenge(answer: &Answer) -> Option<Challenge> {
    protocol::parse_challenge(answer.head.all("www-authenticate"))
}

impl Registry<'_> {
    /// Makes the header that an answer 401 demands, for the next question about the same image.
    ///
    /// A registry may demand a login only of the question whether there is one, and answer the rest
    /// with a bare 401: docker remembers that demand, so it counts here too.
    pub(super) fn authorize(&self, question: &Question<'_>, answer: &Answer) -> Result<()> {
        let authorization = match challenge(answer).or_else(|| self.demand.borrow().clone()) {
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scopes = self.scopes(question, scope.as_deref());
                let token = self.token(question, &realm, service, &scopes)?;
                Secret::new(format!("Authorization: Bearer {}", token.reveal()))
            }
            Some(Challenge::Basic) => match self.login()? {
                Some(Login::Password { user, password }) => basic(user, password),
                Some(Login::Identity(_)) | None => return Err(self.refused(question, answer)),
            },
            None => bail!(
                "{} wants a login of a kind that docker does not have; ask who runs it",
                self.server()
            ),
        };
        self.authorizations.borrow_mut().insert(question.image.to_owned(), authorization);
        Ok(())
    }

    /// What a token has to be good for. The question whether there is a registry needs none, as for
    /// `docker login`: ghcr.io demands one for a repository `user/image` there, which is nobody's.
    /// Some registries name none for an image either; docker always asks for the right to pull it.
    fn scopes(&self, question: &Question<'_>, demanded: Option<&str>) -> Vec<String> {
        if question.image.is_empty() {
            return Vec::new();
        }
        match demanded.map(str::trim).filter(|scope| !scope.is_empty()) {
            Some(demanded) => demanded.split_whitespace().map(str::to_owned).collect(),
            None => vec![format!("repository:{}{}:pull", self.prefix, question.image)],
        }
    }

    /// Asks the server that a registry names for a token.
    fn token(
        &self,
        question: &Question<'_>,
        realm: &str,
        service: Option<String>,
        scopes: &[String],
    ) -> Result<Secret> {
        let secure = realm.starts_with("https://");
        ensure!(
            secure || self.base.starts_with("http://") && realm.starts_with("http://"),
            "{} wants our login sent to {realm:?}, where it would not be secret; ask who runs it",
            self.server()
        );
        let host = realm.split('/').nth(2).unwrap_or_default();
        let server = format!("{host}, which gives the tokens for {},", self.host);
        let ask = |method: Method, form: &[String], secrets: &[(&str, Secret)]| {
            let (trust, limits) = (&self.trust, self.limits());
            let request = Request { method, url: realm, accept: &[], form, trust, limits };
            http::answer(self.ctx, &server, self.patience.pauses, &request, secrets)
        };
        let service: Vec<String> = service.iter().map(|it| format!("service={it}")).collect();
        let get = || [service.clone(), scopes.iter().map(|it| format!("scope={it}")).collect()];
        // In a form, several scopes are one field (RFC 6749, section 3.3).
        let post = |grant: &str| {
            let scope = (!scopes.is_empty()).then(|| format!("scope={}", scopes.join(" ")));
            let ours = [format!("grant_type={grant}"), "client_id=stevedore".to_owned()];
            [service.clone(), scope.into_iter().collect(), ours.to_vec()].concat()
        };
        let field =
            |name: &str, value: &str| ("data-urlencode", Secret::new(format!("{name}={value}")));
        let answer = match self.login()? {
            None => ask(Method::Get, &get().concat(), &[])?,
            Some(Login::Identity(token)) => {
                let secrets = [field("refresh_token", token.reveal())];
                ask(Method::Post, &post("refresh_token"), &secrets)?
            }
            Some(Login::Password { user, password }) => {
                let header = ("header", basic(user, password));
                let answer = ask(Method::Get, &get().concat(), &[header])?;
                match answer.head.status {
                    // It knows only the newer way:
                    // <https://distribution.github.io/distribution/spec/auth/oauth>
                    404 | 405 => {
                        let secrets =
                            [field("username", user), field("password", password.reveal())];
                        ask(Method::Post, &post("password"), &secrets)?
                    }
                    _ => answer,
                }
            }
        };
        match answer.head.status {
            200 if answer.damage.is_none() => protocol::parse_token(&answer.bytes()?)
                .with_context(|| format!("can't use the answer of {server} ask who runs it")),
            // 400: a login that is too old (RFC 6749, section 5.2). 406: Artifactory, without a
            // login (https://github.com/swarmpit/swarmpit/issues/266).
            400 | 401 | 403 | 406 => Err(self.refused(question, &answer)),
            _ => bail!("{server} answered {}; ask who runs it", answer.said()),
        }
    }

    /// The docker client's login to this registry; asked for once.
    pub(super) fn login(&self) -> Result<Option<&Login>> {
        if self.login.get().is_none() {
            let login = find_login(self.ctx, &self.host)?;
            let _ = self.login.set(login);
        }
        Ok(self.login.get().and_then(Option::as_ref))
    }
}

fn basic(user: &str, password: &Secret) -> Secret {
    let pair = STANDARD.encode(format!("{user}:{}", password.reveal()));
    Secret::new(format!("Authorization: Basic {pair}"))
}

fn find_login(ctx: &Ctx, host: &str) -> Result<Option<Login>> {
    let path = ctx.docker_config_path();
    let shown = path.display();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("can't read {shown}")),
    };
    let place = docker_config::place(&text, host);
    match place
        .with_context(|| format!("can't use {shown}; write it with `docker login {host}`"))?
    {
        Place::Nowhere => Ok(None),
        Place::File(login) => Ok(Some(login)),
        Place::Helper(name) => ask_helper(ctx, &name, host),
    }
}

/// Asks a program that keeps docker's logins. What it prints is secret, errors too.
fn ask_helper(ctx: &Ctx, name: &str, host: &str) -> Result<Option<Login>> {
    let server = Secret::new(docker_config::server(host));
    let answer = ctx.ask_with_input(docker_config::helper(&ctx.sh, name), &server, QUESTION)?;
    if answer.status.success() {
        let login = docker_config::parse_helper(&answer.stdout);
        return login.with_context(|| format!("can't use docker-credential-{name}")).map(Some);
    }
    if docker_config::lacks_login(&answer.stdout) {
        return Ok(None);
    }
    Err(anyhow!(
        "docker-credential-{name}, which keeps docker's logins, failed ({}); see what it says: \
         docker login {host}",
        answer.status
    ))
}
