//! The dev loop: what a saved file calls for is done at once, and pages are told. What fails is
//! said once, and the last good version goes on serving.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::containers::Containers;
use super::effects::{Effect, Effects, because, join_processes};
use super::live::Live;
use super::pages::{self, Down, News};
use super::processes::Processes;
use super::status_line::StatusLine;
use crate::ctx::{Answer, Ctx, QUESTION};
use crate::tools::git;
use crate::watch::{Changes, Watch};

/// How often it is looked whether to end.
const TICK: Duration = Duration::from_millis(200);
/// Most lines of what a compiler says.
const LINES: usize = 60;

/// For whoever shows the log: why nothing may run at the moment.
#[derive(Default)]
pub(super) struct Outage {
    busy: AtomicBool,
    /// A saved file has broken it, and the next one may mend it.
    broken: AtomicBool,
}

impl Outage {
    pub(super) fn goes_on(&self) -> bool {
        self.busy.load(Ordering::Relaxed) || self.broken.load(Ordering::Relaxed)
    }
}

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

    /// Which effects of a group did not come about, and why.
    fn bring_about(&mut self, ctx: &Ctx, group: &[Effect]) -> (News, Vec<(Effect, anyhow::Error)>) {
        let whole = |done: Result<News>| match done {
            Ok(news) => (news, Vec::new()),
            Err(error) => (News::None, vec![(group[0].clone(), error)]),
        };
        if group[0] == Effect::Assets {
            return whole(pages::assets(ctx));
        }
        match self {
            Place::Containers(containers) => {
                let failed = containers.bring_about(group);
                // A page that shows the last good version is left alone.
                let news = if failed.is_empty() { News::Reload } else { News::None };
                (news, failed)
            }
            Place::Processes(processes) => {
                whole(processes.bring_about(group).map(|()| News::Reload))
            }
        }
    }
}

pub(super) struct Follower<'f> {
    ctx: &'f Ctx,
    place: Place<'f>,
    live: &'f Live,
    line: &'f StatusLine,
    owed: BTreeMap<Effect, Owed>,
    late: Option<LateAssets>,
}

/// Assets that are made once the page is there.
#[derive(Clone, Copy)]
pub(super) struct LateAssets {
    /// Where the page answers, if there is one.
    port: Option<u16>,
}

impl LateAssets {
    pub(super) fn of(assets_follow: bool, port: Option<u16>) -> Option<LateAssets> {
        assets_follow.then_some(LateAssets { port })
    }

    fn are_due(self) -> bool {
        self.port.is_none_or(pages::answers)
    }
}

/// What does not work now.
struct Owed {
    problem: String,
    /// Nothing serves.
    is_down: bool,
    /// What is still to be obeyed.
    files: BTreeSet<PathBuf>,
}

impl<'f> Follower<'f> {
    pub(super) fn new(
        ctx: &'f Ctx,
        place: Place<'f>,
        (live, line): (&'f Live, &'f StatusLine),
    ) -> Follower<'f> {
        Follower { ctx, place, live, line, owed: BTreeMap::new(), late: None }
    }

    pub(super) fn with_late_assets(self, late: Option<LateAssets>) -> Follower<'f> {
        Follower { late, ..self }
    }

    /// Follows what is saved until it is over. Where a source was something else for a moment while
    /// work was done, that work is done once more.
    pub(super) fn run(mut self, mut watch: Watch, outage: &Outage) -> Result<()> {
        self.ctx.say(format_args!("watching {} files", watch.files()));
        let mut last = Effects::new();
        while !self.ctx.interrupted() {
            // What has stirred while work was done is known at once.
            let patience = if last.is_empty() { TICK } else { Duration::ZERO };
            let changes = watch.wait(patience)?;
            let is_restless = watch.was_restless()?;
            let effects = match changes.is_empty() {
                true if is_restless && !last.is_empty() => std::mem::take(&mut last),
                true => {
                    last.clear();
                    if self.late.is_some_and(LateAssets::are_due) {
                        self.late = None;
                        self.make_late_assets()?;
                    }
                    continue;
                }
                false => {
                    last = self.effects(&changes);
                    last.clone()
                }
            };
            outage.busy.store(true, Ordering::Relaxed);
            let applied = self.apply(effects, &changes);
            let is_down = self.owed.values().any(|owed| owed.is_down);
            outage.broken.store(is_down, Ordering::Relaxed);
            outage.busy.store(false, Ordering::Relaxed);
            applied?;
        }
        Ok(())
    }

    /// Where they cannot be made, that is said, and the page goes on without style.
    fn make_late_assets(&self) -> Result<()> {
        self.line.works("making the assets".into());
        let news = pages::assets_if_possible(self.ctx)?;
        self.line.works("ready".into());
        news.tell(self.live);
        Ok(())
    }

    fn effects(&self, changes: &Changes) -> Effects {
        let mut effects = self.place.effects(changes);
        // What failed before may go well now, unless nothing of it can have changed.
        if effects.keys().any(|effect| *effect != Effect::Assets) {
            for effect in self.owed.keys() {
                effects.entry(effect.clone()).or_default();
            }
        }
        join_processes(&mut effects);
        effects
    }

    fn apply(&mut self, effects: Effects, changes: &Changes) -> Result<()> {
        let mut news = News::default();
        for (group, files) in groups(effects) {
            let (of_group, what) = (self.because(&group, &files, changes), names(&group));
            self.line.works(format!("{what}… {of_group}"));
            let started = Instant::now();
            let (told, failed) = self.place.bring_about(self.ctx, &group);
            if self.ctx.interrupted() {
                return Ok(());
            }
            let work = Work { what, why: of_group, took: started.elapsed() };
            self.line.works(work.in_words(failed.is_empty()));
            say(self.ctx, &work, &failed)?;
            self.remember(&group, &files, &failed);
            news = news.and(told);
        }
        let mut problems: Vec<&str> =
            self.owed.values().map(|owed| owed.problem.as_str()).collect();
        problems.dedup();
        self.live.problem(&problems.join("\n\n"));
        news.tell(self.live);
        Ok(())
    }

    /// The files that call for a group; where none of these changes does, those of before.
    fn because(&self, group: &[Effect], files: &BTreeSet<PathBuf>, changes: &Changes) -> String {
        let owed = group.iter().filter_map(|effect| self.owed.get(effect));
        let before: BTreeSet<PathBuf> = owed.flat_map(|owed| owed.files.iter().cloned()).collect();
        because(if files.is_empty() { &before } else { files }, changes)
    }

    /// What failed stays owed, with all of its group where that failed as a whole.
    fn remember(
        &mut self,
        group: &[Effect],
        files: &BTreeSet<PathBuf>,
        failed: &[(Effect, anyhow::Error)],
    ) {
        let is_whole = matches!(group[0], Effect::Stack | Effect::Image(_));
        if failed.is_empty() && group[0] == Effect::Processes {
            self.owed.retain(|effect, _| !matches!(effect, Effect::Restart(_)));
        }
        for effect in group {
            let error = match is_whole {
                true => failed.first(),
                false => failed.iter().find(|(failed, _)| failed == effect),
            };
            let before = self.owed.remove(effect);
            if let Some((_, error)) = error {
                let mut files = files.clone();
                files.extend(before.into_iter().flat_map(|owed| owed.files));
                let (problem, is_down) = (format!("{error:#}"), error.is::<Down>());
                self.owed.insert(effect.clone(), Owed { problem, is_down, files });
            }
        }
    }
}

/// The files of the project that are anybody's source, as they are now.
pub(super) fn watch(ctx: &Ctx) -> Result<Watch> {
    let asks = ctx.for_a_thread()?;
    let lock = ctx.ask(git::own_file(&ctx.sh, "index.lock"), QUESTION)?;
    let (has_git, index_lock) = (lock.status.success(), ctx.root.join(lock.stdout.trim()));
    let rules = Box::new(move |paths: &[PathBuf]| ignored(&asks, has_git, paths));
    let watch = Watch::new(&ctx.root, index_lock, rules)?;
    if let Some(reason) = watch.polls() {
        ctx.warn(format_args!("files are looked at once a second: {reason}"));
    }
    Ok(watch)
}

/// What git ignores, but for the settings of an environment; where there is no git, the folders in
/// which tools put what they make.
fn ignored(ctx: &Ctx, has_git: bool, paths: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    const MADE: [&str; 4] = ["target", "node_modules", "dist", "__pycache__"];
    let mut ignored = match has_git {
        true => ignored_by_git(ctx, paths)?,
        false => {
            let made = |path: &&PathBuf| MADE.iter().any(|made| path.ends_with(made));
            paths.iter().filter(made).cloned().collect()
        }
    };
    ignored.retain(|path| !path.starts_with("environments") || !path.ends_with(".env"));
    Ok(ignored)
}

/// Git answers for none of several paths where it has no answer for one, such as one in a
/// submodule: that one and those beside it are not ignored.
fn ignored_by_git(ctx: &Ctx, paths: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    // Nothing else than a path, whatever it begins with.
    let ask = |paths: &[&PathBuf]| {
        let names = paths.iter().filter_map(|path| path.to_str()).map(|path| format!("./{path}"));
        let input = crate::secret::Secret::new(names.collect::<Vec<_>>().join("\0"));
        ctx.ask_with_input(git::ignored(&ctx.sh), &input, QUESTION)
    };
    let has_answer = |answer: &Answer| matches!(answer.status.code(), Some(0 | 1));
    let mut asked: Vec<&PathBuf> = paths.iter().collect();
    loop {
        let answer = ask(&asked)?;
        if has_answer(&answer) {
            let found = answer.stdout.split('\0').filter_map(|path| path.strip_prefix("./"));
            return Ok(found.map(PathBuf::from).collect());
        }
        let mut without = &asked[..];
        while without.len() > 1 {
            let (half, other) = without.split_at(without.len() / 2);
            without = if has_answer(&ask(half)?) { other } else { half };
        }
        let Some(beside) = without.first().and_then(|path| path.parent()) else {
            return Ok(BTreeSet::new());
        };
        let (beside, before) = (beside.to_path_buf(), asked.len());
        asked.retain(|path| path.parent() != Some(&beside));
        anyhow::ensure!(asked.len() < before, "git does not say what it ignores");
    }
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

/// A piece of work.
struct Work {
    what: String,
    why: String,
    took: Duration,
}

impl Work {
    fn in_words(&self, is_done: bool) -> String {
        let Work { what, why, took } = self;
        match is_done {
            true => format!("{what} in {:.2} s: {why}", took.as_secs_f64()),
            false => format!("{what} failed: {why}"),
        }
    }
}

/// One line for each piece of work, and what went wrong below it.
fn say(ctx: &Ctx, work: &Work, failed: &[(Effect, anyhow::Error)]) -> Result<()> {
    let mut problems: Vec<String> = failed.iter().map(|(_, error)| format!("{error:#}")).collect();
    problems.dedup();
    let problem = (!problems.is_empty()).then(|| problems.join("\n"));
    if ctx.json {
        let Work { what, why, took } = work;
        return ctx.event(&json!({
            "event": "change", "what": what, "because": why, "seconds": took.as_secs_f64(),
            "status": if problem.is_some() { "failed" } else { "done" }, "problem": problem,
        }));
    }
    let Some(problem) = problem else {
        ctx.say(work.in_words(true));
        return Ok(());
    };
    let serves = match failed.iter().any(|(_, error)| error.is::<Down>()) {
        true => "",
        false => "; the last good version serves",
    };
    ctx.complain(format_args!("{}{serves}", work.in_words(false)));
    ctx.say(problem);
    Ok(())
}

fn names(group: &[Effect]) -> String {
    group.iter().map(describe).collect::<Vec<_>>().join(", ")
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
