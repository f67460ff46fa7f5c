//! Whoever kills a release or a publication, at whatever instant: the same command finishes it.
//!
//! An undisturbed run says which calls change something and how long each takes. Then every point is
//! a version of its own, so that something is really built and pushed: killed there, and run again.
//! Bounded samples run with all the other tests; `STEVEDORE_FULL=1` kills at every point.

// A campaign says what it did; its figures are in RELIABILITY.md.
#![allow(clippy::print_stderr)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use crate::campaign::chance::size;
use crate::dsl::{Answer, Project, campaign, docker, engine};
use crate::killer::{ALL, Call, Killer, When};
use crate::registry::Registry;
use crate::shop::Shop;
use crate::whole::{Desk, IMAGES, assert_promise, assert_whole, shelf};

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Release,
    Publish,
}

struct Yard<'r> {
    shop: Shop,
    registry: &'r Registry,
    killer: Killer,
    round: usize,
}

/// A version that is about to be released.
struct Round {
    version: String,
    commit: String,
    fingerprints: Vec<String>,
    desk: Desk,
}

impl Yard<'_> {
    fn new(registry: &Registry) -> Yard<'_> {
        let mut shop = Shop::new(&registry.address);
        let tested = "FROM base AS test\nCOPY . /app\nRUN test -s /app/source.txt\n";
        let shipped = "FROM base\nCOPY . /app\nWORKDIR /app\n";
        shop.project.file("docker/app/Dockerfile", format!("{tested}{shipped}"));
        // An image of its own, so that nobody else has a container of it.
        let base = format!("FROM debian:trixie-slim\nRUN echo {} > /base\n", shop.project.name);
        shop.project.file("docker/base/Dockerfile", base);
        let killer = Killer::beside(&mut shop.project);
        Yard { shop, registry, killer, round: 0 }
    }

    /// A new commit, of something that was never built. Somebody has begun the next thing already.
    fn begin(&mut self) -> Round {
        self.round += 1;
        self.shop.project.file("app/source.txt", format!("{}\n", self.round));
        let commit = self.shop.commit(&format!("round {}", self.round));
        let fingerprints = IMAGES.map(|image| self.shop.project.inputs(image)).into();
        self.shop.project.file("notes.txt", format!("{}\n", self.round));
        self.shop.git(&["add", "notes.txt"]);
        self.shop.project.file("notes.txt", "later\n");
        let version = format!("1.{}.0", self.round);
        Round { version, commit, fingerprints, desk: Desk::of(&self.shop) }
    }

    fn run(&self, verb: Verb, version: &str) -> Answer {
        match verb {
            Verb::Release => self.shop.release(version),
            Verb::Publish => self.shop.publish(version),
        }
    }

    /// The calls of an undisturbed release and of its publication.
    fn measure(&mut self) -> [Vec<Call>; 2] {
        let round = self.begin();
        [Verb::Release, Verb::Publish]
            .map(|verb| self.killer.measure(|| drop(self.run(verb, &round.version).succeeds())))
    }

    /// What holds after a kill, and then what holds when the same commands are run again.
    fn finish(&mut self, round: &Round, moved: bool, verified: bool) {
        let Round { version, commit, .. } = round;
        assert_promise(&self.shop, self.registry, version);
        let journal = self.shop.project.path(&format!(".git/stevedore/{version}.journal"));
        let tagged = !self.shop.git(&["tag", "--list", &format!("v{version}")]).is_empty();
        let decided = tagged || journal.exists();
        let mut commit = commit.clone();
        if moved {
            self.shop.project.file("app/other.txt", format!("moved {version}\n"));
            let head = self.shop.commit("somebody went on");
            commit = if decided { commit } else { head };
        }
        let desk = Desk::of(&self.shop);
        if journal.exists() || !tagged || !moved {
            self.shop.release(version).succeeds();
        }
        self.shop.publish(version).succeeds();
        let fingerprints = (commit == round.commit).then_some(round.fingerprints.as_slice());
        assert_whole(&self.shop, self.registry, version, &commit, fingerprints);
        assert_eq!(Desk::of(&self.shop), desk, "nobody's work is touched");
        if verified {
            self.shop.project.xtask(&["release", "verify", version]).succeeds();
        }
        self.killer.rest();
        let look =
            |yard: &Yard<'_>| (yard.shop.references(), shelf(&yard.shop, yard.registry, version));
        let before = look(self);
        if !moved {
            self.shop.release(version).succeeds();
        }
        self.shop.publish(version).succeeds().prints("is published already");
        assert_eq!(look(self), before);
        assert_eq!(self.killer.rest(), Vec::<String>::new(), "all is done");
    }
}

/// One instant of one call.
struct Point<'c> {
    verb: Verb,
    number: usize,
    call: &'c Call,
    when: When,
    /// Whether somebody commits to main before the second run.
    moved: bool,
    is_last: bool,
}

/// Kills there, and finishes. Whether it died within the call that was meant; nothing when that one
/// was the last and too quick.
fn kill_once(yard: &mut Yard<'_>, point: &Point<'_>, verified: bool) -> Option<bool> {
    let round = yard.begin();
    if point.verb == Verb::Publish {
        yard.shop.release(&round.version).succeeds();
    }
    yard.killer.aim(point.number, point.call, point.when);
    let answer = yard.run(point.verb, &round.version);
    let calls = yard.killer.rest();
    let killed = answer.code == -1;
    if !killed {
        answer.succeeds();
    } else {
        assert_eq!(calls.get(point.number), Some(&point.call.kind), "{calls:?}");
        assert_eq!(Desk::of(&yard.shop), round.desk, "nobody's work is touched");
    }
    yard.finish(&round, point.moved, verified);
    killed.then_some(calls.len() == point.number + 1)
}

#[test]
fn killed_again_and_again_at_every_kind_of_call_a_release_is_published_at_last() {
    campaign!();
    let registry = Registry::start(&Project::with_stack());
    let mut yard = Yard::new(&registry);
    let measured = yard.measure();
    let mut moments = ALL.into_iter().cycle();
    for _ in 0..size(1, 12) {
        let round = yard.begin();
        for (verb, calls) in [Verb::Release, Verb::Publish].into_iter().zip(&measured) {
            let mut kinds: Vec<&Call> = Vec::new();
            for call in calls {
                if !kinds.iter().any(|known| known.kind == call.kind) {
                    kinds.push(call);
                }
            }
            for (call, when) in kinds.into_iter().zip(&mut moments) {
                yard.killer.aim_at_kind(call, when);
                let answer = yard.run(verb, &round.version);
                let last = call.kind == "git tag" && answer.code == 0;
                assert!(answer.code == -1 || last, "{} {when:?}: {}", call.kind, answer.stderr);
                assert_promise(&yard.shop, &registry, &round.version);
            }
            yard.killer.rest();
            yard.run(verb, &round.version).succeeds();
        }
        yard.finish(&round, false, true);
        // The next round has other moments for the same calls.
        moments.next();
    }
}

#[test]
fn a_builder_that_outlives_its_killed_caller_is_waited_for_and_leaves_no_name() {
    engine!();
    let mut project = Project::with_stack();
    let place = project.root().display().to_string();
    // As a plugin of docker that has not yet heard of the end of the client.
    project.fake(
        "docker",
        &format!(
            "case \"$*\" in *bake*) if mkdir '{place}/once' 2> /dev/null; then\n\
             setsid sh -c 'while ! [ -e \"$0/go\" ] && cd \"$0\"; do sleep 0.05; done; \"$@\"' '{place}' \
             \"$real\" \"$@\" &\nkill -KILL $PPID; exit 1; fi ;; esac\n\
             exec \"$real\" \"$@\""
        ),
    );
    assert_eq!(project.xtask(&["image", "build"]).code, -1);
    let mut again = project.spawn(&["image", "build"]);
    again.until("waiting for another build of this checkout to end");
    project.file("go", "");
    assert_eq!(again.ends(), 0, "{}", again.output());
    let pattern = format!("reference={}/*:building-*", project.name);
    assert_eq!(docker(&["image", "ls", "--quiet", "--filter", &pattern]), "");
}

#[test]
fn locks_of_a_git_that_died_and_a_journal_that_was_cut_are_no_obstacle() {
    engine!();
    let mut shop = Shop::new("127.0.0.1:1");
    let killer = Killer::beside(&mut shop.project);
    killer.aim_at_kind(&Call::of_kind("git tag"), When::Before);
    assert_eq!(shop.release("1.0.0").code, -1);
    killer.rest();
    let journal = shop.project.path(".git/stevedore/1.0.0.journal");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, &text[..text.len() - 3]).unwrap();
    // As if git had died with us, at each of its steps.
    let locks = ["refs/heads/release-v1.0.lock", "refs/tags/v1.0.0.lock"];
    shop.git(&["update-ref", "-d", "refs/heads/release-v1.0"]);
    for lock in locks.into_iter().chain(["stevedore/workshop/index.lock"]) {
        shop.project.file(&format!(".git/{lock}"), "");
    }
    // Of somebody who works at this moment: git says what is in the way.
    let young = std::fs::File::open(shop.project.path(".git/refs/tags/v1.0.0.lock")).unwrap();
    // Later than the tool's clock, which is 400 days ahead in `ci --another-day`.
    young.set_modified(SystemTime::now() + Duration::from_secs(500 * 24 * 3600)).unwrap();
    shop.release("1.0.0").exits(1).says("refs/tags/v1.0.0.lock': File exists");
    young.set_modified(SystemTime::now()).unwrap();
    shop.release("1.0.0").succeeds();
    assert!(!journal.exists() && locks.iter().all(|it| !shop.project.path(it).exists()));

    for lock in locks {
        shop.project.file(&format!(".git/{lock}"), "");
    }
    shop.project.xtask(&["release", "--abort", "1.0.0", "--yes"]).succeeds();
    assert_eq!(shop.git(&["for-each-ref", "--format=%(refname)", "refs/tags"]), "");
}

#[test]
fn a_release_or_a_publication_killed_anywhere_is_finished_by_the_same_command() {
    campaign!();
    let registry = Registry::start(&Project::with_stack());
    let mut yard = Yard::new(&registry);
    let full = size(0, 1) == 1;
    let mut calls = yard.measure();
    if full {
        // The first one of all takes longer.
        calls = yard.measure();
    }
    // The shorter list first: a campaign that is cut off has seen both.
    let mut points: Vec<Point<'_>> = points(Verb::Publish, &calls[1]);
    points.extend(self::points(Verb::Release, &calls[0]));
    if !full {
        // The last step of each: nearly everything is there, and nobody knows it.
        points.retain(|point| point.is_last);
    }
    matrix(&registry, &mut yard, &points);
}

/// All instants of the first call of each kind, and two of its repetitions. Main moves on in a fifth
/// of them.
fn points(verb: Verb, calls: &[Call]) -> Vec<Point<'_>> {
    let mut points = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        let again = calls[..number].iter().any(|earlier| earlier.kind == call.kind);
        let moments: &[When] = if again { &[When::Inside(50), When::After] } else { &ALL };
        for &when in moments {
            points.push(Point { verb, number, call, when, moved: false, is_last: false });
        }
    }
    points.iter_mut().rev().step_by(5).for_each(|point| point.moved = true);
    points.last_mut().unwrap().is_last = true;
    points
}

/// Kills at these points, and goes on after a failure: all are named at the end.
fn matrix<'r>(registry: &'r Registry, yard: &mut Yard<'r>, points: &[Point<'_>]) {
    let started = Instant::now();
    let (mut exact, mut failures) = (0, Vec::new());
    for (index, point) in (1..).zip(points) {
        let Point { verb, number, call, when, moved, .. } = point;
        let moved = if *moved { ", main moved" } else { "" };
        let what = format!("{verb:?} at call {number}, {}, {when:?}{moved}", call.kind);
        let began = Instant::now();
        let mut kill = || kill_once(yard, point, index % 10 == 1);
        let result = catch_unwind(AssertUnwindSafe(|| kill().or_else(&mut kill).or_else(kill)));
        match result {
            Ok(Some(in_time)) => exact += usize::from(in_time),
            Ok(None) => failures.push(format!("{what}: nothing was killed")),
            Err(_) => {
                failures.push(what.clone());
                *yard = Yard::new(registry);
                yard.measure();
            }
        }
        let (seconds, count) = (began.elapsed().as_secs_f64(), failures.len());
        eprintln!("{index} of {}: {what}: {seconds:.1} s, {count} failures", points.len());
    }
    let (count, seconds) = (points.len(), started.elapsed().as_secs());
    eprintln!("{count} points, {exact} died within the call itself, {seconds} s");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
