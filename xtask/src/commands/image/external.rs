//! External bases: pulled where a registry answers, else made here from the machine's own mirror
//! and toolchain.
//!
//! Either way the engine keeps them under a private name that no registry serves, and builds get
//! them as named contexts: Dockerfiles stay ordinary, and a tag that moves outside moves nothing
//! here.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use fingerprint::sha256;

use super::plan::inspect;
use crate::commands::setup::mirrors;
use crate::ctx::{Ctx, REGISTRY};
use crate::exit;
use crate::project::lock::{External, Lock, epoch_seconds};
use crate::tools::mmdebstrap::{self, Base};
use crate::tools::registry::index::may_be_platform;
use crate::tools::{bake, cargo, docker};

/// Every private name of an external base begins like this.
const PREFIX: &str = "stevedore.invalid/external:";
/// Where it is kept what they were, below the tool's state: a file for each epoch and platform.
const DIRECTORY: &str = "externals";

/// Which external bases are wanted: at the lock's epoch, and for a platform, the engine's own where
/// the environment names none.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'l> {
    pub(crate) lock: &'l Lock,
    pub(crate) platform: Option<&'l str>,
}

impl Wanted<'_> {
    /// The private name of a base in this engine. RFC 2606 keeps `.invalid` from ever being a host,
    /// so no typing error can pull it from anywhere.
    pub(crate) fn reference(&self, name: &str) -> String {
        reference(name, &self.key())
    }

    /// The same of the engine's own platform.
    fn plain(&self, name: &str) -> String {
        Wanted { platform: None, ..*self }.reference(name)
    }

    /// What tells apart bases with one name: it can be a part of a file's name.
    fn key(&self) -> String {
        let epoch = &self.lock.epoch;
        let platform = self.platform.map(|platform| format!(" {}", platform.replace('/', "-")));
        format!("{epoch}{}", platform.unwrap_or_default())
    }
}

fn reference(name: &str, key: &str) -> String {
    let readable: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
    let readable = readable.to_ascii_lowercase();
    let unique = sha256(format!("{name} {key}").as_bytes());
    format!("{PREFIX}{readable}-{}", &unique[..12])
}

/// What the external bases were when last looked at; the lock's word where that is not known.
pub(crate) fn remembered(ctx: &Ctx, wanted: Wanted<'_>) -> BTreeMap<String, String> {
    let locked = wanted.lock.external.iter().map(|(name, external)| (name, &external.content));
    let mut contents: BTreeMap<String, String> =
        locked.map(|(name, content)| (name.clone(), content.clone())).collect();
    let seen = std::fs::read(path(ctx, wanted)).ok();
    let seen = seen.and_then(|bytes| serde_json::from_slice::<BTreeMap<_, _>>(&bytes).ok());
    contents.extend(seen.unwrap_or_default());
    contents
}

pub(crate) fn remember(ctx: &Ctx, wanted: Wanted<'_>, contents: &BTreeMap<String, String>) {
    // Of a map of texts it cannot fail.
    let text = serde_json::to_vec_pretty(contents).unwrap_or_default();
    ctx.remember(&path(ctx, wanted), &text);
}

fn path(ctx: &Ctx, wanted: Wanted<'_>) -> std::path::PathBuf {
    ctx.common().join(DIRECTORY).join(wanted.key())
}

/// The private names of all bases that this checkout ever had.
pub(crate) fn got_here(ctx: &Ctx) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let files = std::fs::read_dir(ctx.common().join(DIRECTORY)).into_iter().flatten().flatten();
    for file in files {
        let key = file.file_name().to_string_lossy().into_owned();
        let Ok(text) = std::fs::read(file.path()) else { continue };
        let seen: BTreeMap<String, String> = serde_json::from_slice(&text).unwrap_or_default();
        names.extend(seen.keys().map(|name| reference(name, &key)));
    }
    names
}

/// Makes sure that a base exists in this engine: what it is.
pub(crate) fn ensure(ctx: &Ctx, name: &str, wanted: Wanted<'_>) -> Result<External> {
    let Wanted { lock, platform } = wanted;
    let pending = format!("<content of {name}>");
    if let Some(planned) = lock.external.get(name).filter(|it| it.content == pending) {
        // A dry run of `image update` has printed how it would be made.
        return Ok(planned.clone());
    }
    let reference = wanted.reference(name);
    if ctx.pretends(&reference) {
        let digest = lock.external.get(name).and_then(|external| external.digest.clone());
        return Ok(External { content: pending, digest });
    }
    let mut digest = lock.external.get(name).and_then(|external| external.digest.clone());
    let present = is_here(ctx, name, wanted)?;
    if !present {
        let answer = ctx.ask(bake::registry_manifest(&ctx.sh, name), REGISTRY);
        match answer.ok().filter(|answer| answer.status.success()) {
            Some(answer) => {
                let offered = bake::parse_offered(&answer.stdout)?;
                let exact = digest.unwrap_or_else(|| offered.digest.clone());
                pull(ctx, name, &exact, &reference, platform)?;
                digest = Some(exact);
            }
            None => {
                check_machine(name, platform)?;
                make(ctx, name, lock, &reference)?;
                digest = None;
            }
        }
    }
    if ctx.dry_run && !present {
        ctx.pretend(&reference);
        return Ok(External { content: pending, digest });
    }
    let plain = wanted.plain(name);
    let found = inspect(ctx, &[reference.clone(), plain.clone()])?;
    // A dry run gives no names.
    let named = found.get(&reference).or_else(|| found.get(&plain).filter(|_| ctx.dry_run));
    let image = named.with_context(|| format!("{name} is gone again"))?;
    let content = image.content();
    let locked = lock.external.get(name);
    if !present && locked.is_some_and(|locked| locked.content != content) {
        ctx.warn(format_args!(
            "{name} differs here from docker/stack.lock (another state of the mirror, or another \
             toolchain); `cargo xtask image update` records today's"
        ));
    }
    Ok(External { content, digest })
}

/// Whether a base is here. One of the engine's own platform may be here without a platform in its
/// name, and gets the other name too.
fn is_here(ctx: &Ctx, name: &str, wanted: Wanted<'_>) -> Result<bool> {
    let reference = wanted.reference(name);
    let plain = wanted.plain(name);
    let found = inspect(ctx, &[reference.clone(), plain.clone()])?;
    if found.contains_key(&reference) {
        return Ok(true);
    }
    let fits = |image: &docker::Image| {
        wanted.platform.is_some_and(|it| may_be_platform(&image.platform(), it))
    };
    match found.get(&plain).is_some_and(fits) {
        true => ctx.run(docker::tag(&ctx.sh, &plain, &reference)).map(|()| true),
        false => Ok(false),
    }
}

/// Refuses bases of another platform than is built for: the builder would look for the right one
/// under a name that no registry has.
pub(crate) fn check_platform(
    ctx: &Ctx,
    names: &BTreeSet<&String>,
    wanted: Wanted<'_>,
    platform: &str,
) -> Result<()> {
    let references = names.iter().map(|name| (wanted.reference(name), *name));
    let references: BTreeMap<String, &String> = references.collect();
    let found = inspect(ctx, &references.keys().cloned().collect::<Vec<_>>())?;
    for (reference, image) in found {
        let here = image.platform();
        if !may_be_platform(&here, platform) {
            return Err(exit::missing(format!(
                "the base {} in this engine is for {here}, and the build needs {platform}; take an \
                 engine of that platform, or leave [images] platform of environment.toml out",
                references[&reference]
            )));
        }
    }
    Ok(())
}

fn pull(
    ctx: &Ctx,
    name: &str,
    digest: &str,
    reference: &str,
    platform: Option<&str>,
) -> Result<()> {
    ctx.say(format_args!("pulling {name}"));
    let repository = name.split('@').next().unwrap_or(name);
    let tag_at = repository.rfind(':').filter(|&at| !repository[at..].contains('/'));
    let repository = &repository[..tag_at.unwrap_or(repository.len())];
    let mut exact = format!("{repository}@{digest}");
    if let Some(platform) = platform {
        // Of an index, containerd's store would show the image for the engine's own platform.
        let answer = ctx.ask(bake::registry_manifest(&ctx.sh, &exact), REGISTRY)?;
        let answer = answer.success("docker buildx imagetools inspect")?;
        let offered = bake::parse_offered(&answer)?;
        exact = format!("{repository}@{}", offered.digest_for(platform)?);
    }
    ctx.run(docker::pull(&ctx.sh, &exact))?;
    ctx.run(docker::tag(&ctx.sh, &exact, reference))
}

/// A base that is made here is for the processor of this machine.
fn check_machine(name: &str, platform: Option<&str>) -> Result<()> {
    let own = match std::env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "aarch64" => "linux/arm64",
        _ => return Ok(()),
    };
    match platform.filter(|platform| !may_be_platform(own, platform)) {
        None => Ok(()),
        Some(platform) => Err(exit::missing(format!(
            "no registry answers for {name}, and it can be made here for {own} only, not for \
             {platform}; connect to a registry"
        ))),
    }
}

/// Makes an image with the contents that the official one of this name has for a build.
fn make(ctx: &Ctx, name: &str, lock: &Lock, reference: &str) -> Result<()> {
    let (repository, tag) = name.split_once(':').unwrap_or((name, ""));
    let suite = tag.trim_end_matches("-slim").rsplit('-').next().unwrap_or_default();
    let known = ["bookworm", "trixie"].contains(&suite);
    let (packages, mut hooks, changes): (&[&str], Vec<String>, Vec<&str>) = match repository {
        "debian" if known => (&[], Vec::new(), vec!["CMD [\"bash\"]"]),
        "rust" if known => (
            &["ca-certificates", "gcc", "libc6-dev"],
            toolchain_hooks(ctx.read(cargo::sysroot(&ctx.sh))?.trim()),
            vec![
                "ENV RUSTUP_HOME=/usr/local/rustup",
                "ENV CARGO_HOME=/usr/local/cargo",
                "ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "CMD [\"bash\"]",
            ],
        ),
        _ => {
            return Err(exit::missing(format!(
                "no registry answers for {name}, and only debian:SUITE and rust:VERSION-SUITE \
                 images (bookworm, trixie) can be made here; connect to a registry, or pull it \
                 and run it again"
            )));
        }
    };
    // Copies of this machine's own settings, which would make the image differ from machine to
    // machine; containers get theirs from the engine.
    hooks.push("rm -f \"$1/etc/resolv.conf\" \"$1/etc/hostname\"".into());
    ctx.say(format_args!("no registry answers; making {name} from this machine's own sources"));
    let directory = tempfile::tempdir().context("can't create a temporary directory")?;
    let archive = directory.path().join("image.tar");
    let epoch_seconds = epoch_seconds(&lock.epoch)?;
    let slim = tag.split('-').any(|part| part == "slim");
    let base = Base { suite, slim, packages, hooks, epoch_seconds };
    let bar = ctx.spinner(format!("mmdebstrap {suite}"));
    ctx.run(mmdebstrap::build(&ctx.sh, &base, &mirrors()?, &archive))
        .context("can't make a Debian image; `cargo xtask setup` installs what it needs")?;
    let imported = ctx.run(docker::import(&ctx.sh, &archive, reference, &changes));
    bar.finish_and_clear();
    // A different checkout may have made it meanwhile: containerd's store refuses a second image
    // of one name.
    if imported.is_err() && inspect(ctx, &[reference.to_owned()])?.contains_key(reference) {
        return Ok(());
    }
    imported
}

/// Puts the installed toolchain where the official image has it.
fn toolchain_hooks(sysroot: &str) -> Vec<String> {
    let home = "/usr/local/rustup/toolchains/installed";
    let bin = shell_words::quote(sysroot);
    vec![
        format!("mkdir -p \"$1{home}\" \"$1/usr/local/cargo/bin\""),
        format!("copy-in {bin}/bin {bin}/lib {home}"),
        format!(
            "for tool in \"$1{home}\"/bin/*; do ln -s \"{home}/bin/${{tool##*/}}\" \"$1/usr/local/cargo/bin/\"; done"
        ),
    ]
}
