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
    pub(super) fn authorize(&self, question: &Question<'_>, answer: &Answer) -> Result<()> {
        let authorization = match challenge(answer) {
            Some(Challenge::Bearer { realm, service, scope }) => {
                let token = self.token(question, &realm, service, scope)?;
                Secret::new(format!("Authorization: Bearer {}", token.reveal()))
            }
            Some(Challenge::Basic) => match self.login()? {
                Some(Login::Password { user, password }) => basic(user, password),
                Some(Login::Identity(_)) | None => return Err(self.refused(question)),
            },
            None => bail!(
                "{} wants a login of a kind that docker does not have; ask who runs it",
                self.server()
            ),
        };
        self.authorizations.borrow_mut().insert(question.image.to_owned(), authorization);
        Ok(())
    }

    /// Asks the server that a registry names for a token.
    fn token(
        &self,
        question: &Question<'_>,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<Secret> {
        let secure = realm.starts_with("https://");
        ensure!(
            secure || self.base.starts_with("http://") && realm.starts_with("http://"),
            "{} wants our login sent to {realm:?}, where it would not be secret; ask who runs it",
            self.server()
        );
        let mut form: Vec<String> = service.iter().map(|it| format!("service={it}")).collect();
        form.extend(scope.iter().map(|it| format!("scope={it}")));
        let (method, secrets) = match self.login()? {
            None => (Method::Get, Vec::new()),
            Some(Login::Password { user, password }) => {
                (Method::Get, vec![("header", basic(user, password))])
            }
            Some(Login::Identity(token)) => {
                form.extend(["grant_type=refresh_token".into(), "client_id=stevedore".into()]);
                let token = Secret::new(format!("refresh_token={}", token.reveal()));
                (Method::Post, vec![("data-urlencode", token)])
            }
        };
        let request = Request {
            method,
            url: realm,
            accept: &[],
            form: &form,
            trust: &self.trust,
            limits: self.limits(),
        };
        let host = realm.split('/').nth(2).unwrap_or_default();
        let server = format!("{host}, which gives the tokens for {},", self.host);
        let answer = http::answer(self.ctx, &server, self.patience.pauses, &request, &secrets)?;
        match answer.head.status {
            200 if answer.damage.is_none() => protocol::parse_token(&answer.bytes()?)
                .with_context(|| format!("can't use the answer of {server} ask who runs it")),
            401 | 403 => Err(self.refused(question)),
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
