//! Which Docker engine there is, whether it can be used, and for what. Every command that needs one
//! asks here before it builds or starts anything.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::tools::docker_engine::{self, PLUGINS, Plugin, Version};
use crate::tools::engine_packages::DOCUMENTATION;

/// What can be said of the Docker engine that the client talks to.
#[derive(Debug)]
pub(crate) enum Engine {
    /// It answers, and its plugins are there; platform such as `linux/amd64`.
    Ready {
        version: String,
        platform: String,
        address: Address,
    },
    NoClient,
    /// The client's own words.
    NoAnswer(String, Address),
    Denied,
    NoPlugin(&'static str),
    OldPlugin {
        plugin: &'static Plugin,
        found: String,
    },
    /// Its version. It has no builder for `docker buildx bake`.
    Podman(String, Address),
}

/// Where the client looks for the engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Address {
    /// Such as `ssh://root@build.example`; nothing for the client's default, a socket.
    url: Option<String>,
    /// What leads back to the engine of this machine.
    back: &'static str,
}

impl Address {
    fn of(ctx: &Ctx) -> Address {
        if let Some(host) = ctx.docker_host() {
            return Address { url: Some(host), back: "unset DOCKER_HOST" };
        }
        let context = ctx.docker_context();
        if context == "default" {
            return Address::default();
        }
        let back = match ctx.context_variable() {
            Some(_) => "unset DOCKER_CONTEXT",
            None => "run `docker context use default`",
        };
        let known = format!("address of context {context}");
        if let Some(url) = ctx.learned(&known) {
            return Address { url: Some(url), back };
        }
        let answer = ctx.ask(docker_engine::context_address(&ctx.sh, &context), QUESTION);
        let answer = answer.ok().filter(|answer| answer.status.success());
        let url = answer.map_or_else(
            || format!("the context {context}"),
            |answer| answer.stdout.trim().to_owned(),
        );
        ctx.learn(&known, url.clone());
        Address { url: Some(url), back }
    }

    fn is_another_machine(&self) -> bool {
        self.url.as_deref().is_some_and(docker_engine::is_another_machine)
    }

    /// Such as ` at ssh://root@build.example`.
    fn at(&self) -> String {
        self.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default()
    }
}

/// The address of the engine where that is another machine's; the engine is not asked.
pub(crate) fn another_machine(ctx: &Ctx) -> Option<String> {
    Some(Address::of(ctx)).filter(Address::is_another_machine).and_then(|it| it.url)
}

/// Looks for an engine. Asks nothing but local programs, and the engine itself.
pub(crate) fn engine(ctx: &Ctx) -> Engine {
    look(ctx, false)
}

/// Like [`engine`], for a command that uses the engine at once: plugins that were there are not
/// looked for again, since each takes longer to start than the engine takes to answer.
pub(crate) fn engine_in_use(ctx: &Ctx) -> Engine {
    look(ctx, remembered(ctx).is_some_and(|it| it.plugins_suffice))
}

fn look(ctx: &Ctx, plugins_suffice: bool) -> Engine {
    let engine = answering(ctx);
    if plugins_suffice || !matches!(engine, Engine::Ready { .. }) {
        return engine;
    }
    PLUGINS.iter().find_map(|it| plugin(ctx, it).err()).unwrap_or(engine)
}

/// The engine without a look at the plugins.
pub(super) fn answering(ctx: &Ctx) -> Engine {
    let address = Address::of(ctx);
    let answer = match ctx.ask(docker_engine::version(&ctx.sh), QUESTION) {
        Ok(answer) => answer,
        Err(error) if exit::code(&error) == exit::MISSING => return Engine::NoClient,
        Err(error) => return Engine::NoAnswer(format!("{error:#}"), address),
    };
    match docker_engine::parse_version(&answer.stdout).unwrap_or(Version::Silent) {
        Version::Docker(server) => {
            Engine::Ready { platform: server.platform(), version: server.version, address }
        }
        Version::Podman(version) => Engine::Podman(version, address),
        Version::Silent => {
            let words = answer.stderr.trim().to_owned();
            let denied = words.contains("permission denied");
            if denied { Engine::Denied } else { Engine::NoAnswer(words, address) }
        }
    }
}

/// The version of a plugin that can be used.
pub(super) fn plugin(ctx: &Ctx, plugin: &'static Plugin) -> Result<String, Engine> {
    let answer = ctx.ask((plugin.version)(&ctx.sh), QUESTION);
    let Some(answer) = answer.ok().filter(|answer| answer.status.success()) else {
        return Err(Engine::NoPlugin(plugin.name));
    };
    match docker_engine::parse_plugin(&answer.stdout) {
        Some(found) if plugin.is_too_old(found) => {
            Err(Engine::OldPlugin { plugin, found: found.to_owned() })
        }
        Some(found) => Ok(found.to_owned()),
        None => Ok("of an unknown version".to_owned()),
    }
}

impl Engine {
    /// Why it cannot be used and what to type, or nothing when it can.
    pub(crate) fn problem(&self) -> Option<String> {
        let setup = "set it up with `cargo xtask setup`";
        match self {
            Engine::Ready { .. } => None,
            Engine::NoClient => Some(format!("docker is not installed; {setup}")),
            Engine::NoAnswer(_, address) => {
                let (at, back) = (address.at(), address.back);
                Some(match address.url {
                    None => format!("no Docker engine answers; {setup}"),
                    Some(_) => format!(
                        "no Docker engine answers{at}; start it, or {back} and run `cargo xtask \
                         setup`"
                    ),
                })
            }
            Engine::Denied => Some(
                "the Docker engine refuses you; join its group with \
                 `sudo usermod --append --groups docker $USER` and log in again"
                    .into(),
            ),
            Engine::NoPlugin(plugin) => Some(format!("docker {plugin} is not installed; {setup}")),
            Engine::OldPlugin { plugin, found } => Some(format!(
                "docker {} {found} is too old; update it to {} or newer, as {} says",
                plugin.name,
                plugin.least(),
                DOCUMENTATION
            )),
            Engine::Podman(version, address) => {
                let back = match address.url {
                    None => "remove the package podman-docker",
                    Some(_) => address.back,
                };
                Some(format!(
                    "Podman {version} answers{}, and `docker buildx bake` cannot build with it; \
                     use Docker Engine: {back} and run `cargo xtask setup`",
                    address.at()
                ))
            }
        }
    }

    /// Like [`Engine::problem`], for what needs the engine's ports and files to be this machine's:
    /// a started stack is asked for its page at 127.0.0.1, and mounts files of the project.
    pub(crate) fn problem_for_a_start(&self) -> Option<String> {
        let Engine::Ready { address, .. } = self else { return self.problem() };
        let Address { url: Some(url), back } = address else { return None };
        address.is_another_machine().then(|| {
            format!(
                "the Docker engine at {url} is on another machine: images and releases can be \
                 built there, but a stack that starts there has neither the ports nor the files \
                 of this machine; to start it here, {back}"
            )
        })
    }

    /// Whether `setup` can help.
    pub(crate) fn is_to_be_set_up(&self) -> bool {
        match self {
            Engine::NoClient | Engine::NoPlugin(_) => true,
            Engine::NoAnswer(_, address) => address.url.is_none(),
            _ => false,
        }
    }
}

/// What is remembered of the engine that the docker client talks to.
#[derive(Debug, Deserialize, Serialize)]
struct Remembered {
    endpoint: String,
    platform: String,
    #[serde(default)]
    plugins_suffice: bool,
}

/// The engine that memory is about.
fn endpoint(ctx: &Ctx) -> String {
    let address = Address::of(ctx).url.unwrap_or_default();
    format!("{address}\n{}", ctx.docker_context())
}

fn remembered(ctx: &Ctx) -> Option<Remembered> {
    let text = std::fs::read(ctx.state().join("engine.json")).ok()?;
    let remembered: Remembered = serde_json::from_slice(&text).ok()?;
    (remembered.endpoint == endpoint(ctx)).then_some(remembered)
}

/// The platform that the engine had when it was last asked.
pub(crate) fn remembered_platform(ctx: &Ctx) -> Option<String> {
    remembered(ctx).map(|remembered| remembered.platform)
}

/// Whether the engine still has the platform that is remembered of it: one question instead of all.
pub(crate) fn still_has(ctx: &Ctx, expected: &str) -> bool {
    matches!(engine_in_use(ctx), Engine::Ready { platform, .. } if platform == expected)
}

/// The platform of an engine that is ready, or an error that says what to type.
pub(crate) fn require_engine(ctx: &Ctx) -> Result<String> {
    require(ctx, Engine::problem)
}

/// Like [`require_engine`], for what [`Engine::problem_for_a_start`] is about.
pub(crate) fn require_engine_for_a_start(ctx: &Ctx) -> Result<String> {
    require(ctx, Engine::problem_for_a_start)
}

/// The platform of an engine that `problem` finds nothing wrong with.
pub(crate) fn require(ctx: &Ctx, problem: fn(&Engine) -> Option<String>) -> Result<String> {
    let known = remembered(ctx);
    let engine = look(ctx, known.as_ref().is_some_and(|it| it.plugins_suffice));
    match (problem(&engine), engine) {
        (None, Engine::Ready { platform, .. }) => {
            if !known.is_some_and(|it| it.plugins_suffice && it.platform == platform) {
                let (endpoint, platform) = (endpoint(ctx), platform.clone());
                let remembered = Remembered { endpoint, platform, plugins_suffice: true };
                let text = serde_json::to_vec(&remembered)?;
                ctx.remember(&ctx.state().join("engine.json"), &text);
            }
            Ok(platform)
        }
        _ if ctx.interrupted() => Err(exit::interrupted()),
        (problem, _) => Err(exit::missing(problem.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn at(url: &str) -> Address {
        Address { url: Some(url.into()), back: "unset DOCKER_HOST" }
    }

    fn check(engine: &Engine, expected: &Expect) {
        expected.assert_eq(&engine.problem_for_a_start().unwrap_or_default());
    }

    fn ready(address: Address) -> Engine {
        Engine::Ready { version: "29.1.0".into(), platform: "linux/amd64".into(), address }
    }

    #[test]
    fn each_engine_that_cannot_be_used_is_refused_with_what_to_type() {
        check(&ready(Address::default()), &expect![""]);
        check(&ready(at("ssh://root@127.0.0.1")), &expect![""]);
        let elsewhere = ready(at("ssh://root@build.example"));
        check(
            &elsewhere,
            &expect![
                "the Docker engine at ssh://root@build.example is on another machine: images and \
                 releases can be built there, but a stack that starts there has neither the ports \
                 nor the files of this machine; to start it here, unset DOCKER_HOST"
            ],
        );
        assert_eq!(elsewhere.problem(), None);
        check(
            &Engine::Podman("5.7.0".into(), at("unix:///run/podman/podman.sock")),
            &expect![
                "Podman 5.7.0 answers at unix:///run/podman/podman.sock, and `docker buildx bake` \
                 cannot build with it; use Docker Engine: unset DOCKER_HOST and run `cargo xtask \
                 setup`"
            ],
        );
        check(
            &Engine::NoAnswer(String::new(), Address::default()),
            &expect!["no Docker engine answers; set it up with `cargo xtask setup`"],
        );
        check(
            &Engine::NoAnswer(String::new(), at("tcp://127.0.0.1:1")),
            &expect![
                "no Docker engine answers at tcp://127.0.0.1:1; start it, or unset DOCKER_HOST and \
                 run `cargo xtask setup`"
            ],
        );
        check(
            &Engine::OldPlugin { plugin: &PLUGINS[1], found: "2.20.3".into() },
            &expect![[
                r#"docker compose 2.20.3 is too old; update it to 2.26 or newer, as https://docs.docker.com/engine/install says"#
            ]],
        );
    }

    #[test]
    fn setup_helps_only_with_this_machines_own_engine() {
        let silent = |address| Engine::NoAnswer(String::new(), address);
        assert!(silent(Address::default()).is_to_be_set_up());
        assert!(Engine::NoPlugin("compose").is_to_be_set_up());
        assert!(!silent(at("tcp://127.0.0.1:1")).is_to_be_set_up());
        assert!(!Engine::Podman("5.7.0".into(), Address::default()).is_to_be_set_up());
    }
}
