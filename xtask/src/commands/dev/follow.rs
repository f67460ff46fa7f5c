//! The dev loop: what a saved file calls for is done at once, and pages are told. What fails is
//! said once, and the last good version goes on serving.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::containers::Containers;
use super::effects::{Effect, Effects, because};
use super::live::Live;
use super::pages::{self, News};
use super::processes::Processes;
use super::status_line::StatusLine;
use crate::ctx::{Answer, Ctx, QUESTION};
use crate::tools::git;
use crate::watch::{Changes, Watch};

/// How often it is looked whether to end.
const TICK: Duration = Duration::from_millis(200);
/// Most lines of what a compiler says.
const LINES: usize = 60;

/// Where the app runs.
pub(super) enum Place<'p> {
    Containers(Containers<'p>),
    Processes(Box<Processes<'p>>),
}

impl Place<'_> {
    fn effects(&self, changes: &Changes) -> Effects {
        match self {
            Place::Containers(containers) => containers.rules().effects(changes),
            Place::Processes(processes) => processes.rules().effects(changes),
        }
    }

    fn bring_about(&mut self, ctx: &Ctx, group: &[Effect]) -> Result<News> {
        if group[0] == Effect::Assets {
            return pages::assets(ctx);
        }
        match self {
            Place::Containers(containers) => containers.bring_about(group)?,
            Place::Processes(processes) => processes.bring_about(group)?,
        }
        Ok(News::Reload)
    }
}

pub(super) struct Follower<'f> {
    ctx: &'f Ctx,
    place: Place<'f>,
    live: &'f Live,
    line: &'f StatusLine,
    /// What does not work now, and what it is said to be.
    problems: BTreeMap<Effect, String>,
}

impl<'f> Follower<'f> {
    pub(super) fn new(
        ctx: &'f Ctx,
        place: Place<'f>,
        (live, line): (&'f Live, &'f StatusLine),
    ) -> Follower<'f> {
        Follower { ctx, place, live, line, problems: BTreeMap::new() }
    }

    /// Follows what is saved until `over` or Ctrl-C; `busy` while something is being done.
    pub(super) fn run(mut self, over: &AtomicBool, busy: &AtomicBool) -> Result<()> {
        let mut watch = watch(self.ctx)?;
        while !over.load(Ordering::Relaxed) && !self.ctx.interrupted() {
            let changes = watch.wait(TICK)?;
            if !changes.is_empty() {
                busy.store(true, Ordering::Relaxed);
                let applied = self.apply(&changes);
                busy.store(false, Ordering::Relaxed);
                applied?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, changes: &Changes) -> Result<()> {
        let mut news = News::default();
        for (group, files) in groups(self.place.effects(changes)) {
            let (why, started) = (because(&files, changes), Instant::now());
            let what: Vec<String> = group.iter().map(describe).collect();
            let what = what.join(", ");
            self.line.works(format!("{what}… {why}"));
            let done = self.place.bring_about(self.ctx, &group);
            if self.ctx.interrupted() {
                return Ok(());
            }
            let problem = done.as_ref().err().map(|error| format!("{error:#}"));
            let took = started.elapsed();
            say(self.ctx, &what, &why, took, problem.as_deref())?;
            self.line.works(match problem {
                None => format!("{what} in {:.2} s: {why}", took.as_secs_f64()),
                Some(_) => format!("{what} failed: {why}"),
            });
            group.iter().for_each(|effect| drop(self.problems.remove(effect)));
            self.problems.extend(problem.map(|text| (group[0].clone(), text)));
            news = news.and(done.unwrap_or_default());
        }
        let problems: Vec<&str> = self.problems.values().map(String::as_str).collect();
        self.live.problem(&problems.join("\n\n"));
        news.tell(self.live);
        Ok(())
    }
}

/// The files of the project that are anybody's source.
fn watch(ctx: &Ctx) -> Result<Watch> {
    let asks = ctx.for_a_thread()?;
    let watch = Watch::new(&ctx.root, Box::new(move |paths| ignored(&asks, paths)))?;
    if let Some(reason) = watch.polls() {
        ctx.warn(format_args!("files are looked at once a second: {reason}"));
    }
    ctx.say(format_args!("watching {} files", watch.files()));
    Ok(watch)
}

/// What git ignores, but for the settings of an environment; where there is no git, the folders in
/// which tools put what they make.
fn ignored(ctx: &Ctx, paths: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    const MADE: [&str; 4] = ["target", "node_modules", "dist", "__pycache__"];
    let names: Vec<&str> = paths.iter().filter_map(|path| path.to_str()).collect();
    let input = crate::secret::Secret::new(names.join("\0"));
    let answer = ctx.ask_with_input(git::ignored(&ctx.sh), &input, QUESTION)?;
    let mut ignored: BTreeSet<PathBuf> = match answer.status.code() {
        Some(0 | 1) => answer.stdout.split('\0').map(PathBuf::from).collect(),
        _ => {
            let made = |path: &&PathBuf| MADE.iter().any(|made| path.ends_with(made));
            paths.iter().filter(made).cloned().collect()
        }
    };
    ignored.retain(|path| !path.starts_with("environments") || !path.ends_with(".env"));
    Ok(ignored)
}

/// Effects that are one piece of work, with all their files.
fn groups(effects: Effects) -> Vec<(Vec<Effect>, BTreeSet<PathBuf>)> {
    let mut groups: Vec<(Vec<Effect>, BTreeSet<PathBuf>)> = Vec::new();
    for (effect, files) in effects {
        let kind = |effect: &Effect| match effect {
            Effect::Stack | Effect::Image(_) => 1,
            Effect::Restart(_) => 2,
            _ => 0,
        };
        match groups.last_mut() {
            Some((group, all)) if kind(&effect) > 0 && kind(&effect) == kind(&group[0]) => {
                group.push(effect);
                all.extend(files);
            }
            _ => groups.push((vec![effect], files)),
        }
    }
    groups
}

/// One line for each piece of work, and what went wrong below it.
fn say(ctx: &Ctx, what: &str, why: &str, took: Duration, problem: Option<&str>) -> Result<()> {
    let seconds = took.as_secs_f64();
    if ctx.json {
        return ctx.event(&json!({
            "event": "change", "what": what, "because": why, "seconds": seconds,
            "status": if problem.is_some() { "failed" } else { "done" }, "problem": problem,
        }));
    }
    match problem {
        None => ctx.say(format_args!("{what} in {seconds:.2} s: {why}")),
        Some(problem) => {
            ctx.complain(format_args!("{what} failed: {why}; the last good version serves"));
            ctx.say(problem);
        }
    }
    Ok(())
}

fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Assets => "assets".into(),
        Effect::Processes => "processes".into(),
        Effect::Stack => "stack".into(),
        Effect::Image(image) => format!("image {image}"),
        Effect::Migrate(service) | Effect::Restart(service) => service.clone(),
    }
}

/// The last lines of what a command said.
pub(super) fn end_of(answer: &Answer) -> String {
    answer.last_lines(LINES).join("\n")
}
