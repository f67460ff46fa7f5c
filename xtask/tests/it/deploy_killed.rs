//! Whoever kills a deployment or a rollback, at whatever instant: the same command finishes it, the
//! log has one line of it, and the service was told once.
//!
//! One registry and one Elastic Beanstalk serve all points: two released versions take turns. A
//! few points run with all the other tests; `STEVEDORE_FULL=1` kills at every one, or at the first
//! `STEVEDORE_POINTS` of them, which are a sample of all.

// A campaign says what it did; its figures are in RELIABILITY.md.
#![allow(clippy::print_stderr)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::campaign::chance::size;
use crate::dsl::{Answer, campaign};
use crate::killer::{Call, Killer, When};
use crate::ward::Ward;

const VERSIONS: [(&str, &str); 2] = [("1.0.0", "one"), ("1.1.0", "two")];

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// A deployment that makes the environment.
    First,
    /// One with another secret.
    Settings,
    /// One with the secret of the last.
    Plain,
    Back,
}

const SCENES: [Scene; 4] = [Scene::First, Scene::Settings, Scene::Plain, Scene::Back];

/// A version and its secret.
type Runs = (&'static str, String);

struct Yard {
    ward: Ward,
    killer: Killer,
    round: usize,
    /// What succeeded, the oldest first.
    history: Vec<Runs>,
}

impl Yard {
    /// Something runs, and something ran before it.
    fn new() -> Yard {
        let mut ward = Ward::new("");
        for (version, text) in VERSIONS {
            ward.ship(version, text);
        }
        let killer = Killer::at_ward(&mut ward);
        let mut yard = Yard { ward, killer, round: 0, history: Vec::new() };
        for scene in [Scene::Plain, Scene::Settings] {
            let goal = yard.begin(scene);
            yard.run(scene, goal.0).succeeds();
            yard.history.push(goal);
        }
        yard
    }

    /// Prepares a scene: what is to run afterwards.
    fn begin(&mut self, scene: Scene) -> Runs {
        self.round += 1;
        let last = self.history.last().cloned();
        let (now, token) = last.clone().unwrap_or((VERSIONS[1].0, "first".into()));
        let goal = match scene {
            Scene::Back => {
                let earlier = self.history.iter().rev().find(|it| Some(*it) != last.as_ref());
                earlier.unwrap().clone()
            }
            _ => {
                let other = VERSIONS.iter().find(|(version, _)| *version != now).unwrap().0;
                let token = if scene == Scene::Plain { token } else { format!("t{}", self.round) };
                self.ward.secrets("prod", &token);
                (other, token)
            }
        };
        if scene == Scene::First {
            self.ward.end_environment("prod");
        }
        if last.is_some_and(|last| last.0 != goal.0) {
            // So that it is uploaded once more.
            let log = self.ward.log("prod");
            let known = log.iter().find(|it| it["version"] == goal.0);
            if let Some(known) = known {
                self.ward.forget_bundle(known["label"].as_str().unwrap());
            }
        }
        goal
    }

    fn run(&self, scene: Scene, version: &str) -> Answer {
        match scene {
            Scene::Back => self.ward.rollback(),
            _ => self.ward.deploy(version),
        }
    }

    fn measure(&mut self, scene: Scene) -> Vec<Call> {
        let goal = self.begin(scene);
        let calls = self.killer.measure(|| drop(self.run(scene, goal.0).succeeds()));
        self.history.push(goal);
        calls
    }

    /// Kills there, and finishes. Whether something was killed, and in the very call.
    fn kill_once(&mut self, point: &Point) -> (bool, bool) {
        let goal = self.begin(point.scene);
        let (before, updates) = (self.ward.log("prod"), self.ward.updates("prod"));
        match point.number {
            Some(number) => self.killer.aim(number, &point.call, point.when),
            None => self.killer.aim_at_kind(&point.call, point.when),
        }
        let answer = self.run(point.scene, goal.0);
        let calls = self.killer.rest();
        let killed = answer.code == -1;
        let mut said = String::new();
        let number = point.number.or(calls.iter().position(|kind| *kind == point.call.kind));
        if killed {
            let hit = number.and_then(|number| calls.get(number));
            assert_eq!(hit, Some(&point.call.kind), "{calls:?}");
            said = self.run(point.scene, goal.0).succeeds().stderr;
        } else {
            answer.succeeds();
        }
        let ward = &self.ward;
        let story = ward.story("prod");
        let verb = if point.scene == Scene::Back { "rollback" } else { "deploy" };
        let line = format!("{verb} {} succeeded", goal.0);
        assert_eq!(story[before.len()..], [line], "{said}");
        let (_, text) = VERSIONS.iter().find(|(version, _)| *version == goal.0).unwrap();
        assert_eq!(ward.page("prod"), format!("200 {} {} {text}", goal.0, goal.1));
        assert_eq!(ward.updates("prod"), updates + 1, "told once: {said}");
        ward.xtask(&["status", "prod", "--drift"]).succeeds();
        let again = match point.scene {
            Scene::Back => ward.xtask(&["rollback", "--to", goal.0, "--yes"]),
            _ => self.run(point.scene, goal.0),
        };
        again.succeeds().prints(&format!("prod runs {} already", goal.0));
        assert_eq!(ward.story("prod"), story);
        self.history.push(goal);
        (killed, number.is_some_and(|number| calls.len() == number + 1))
    }
}

/// One instant of one call.
struct Point {
    scene: Scene,
    /// Nothing for the first call of its kind.
    number: Option<usize>,
    call: Call,
    when: When,
}

/// What tells somebody else is killed at four instants; of the rest, one scene has one each.
fn points(scene: Scene, calls: &[Call]) -> Vec<Point> {
    let all = [When::Before, When::Inside(50), When::Both, When::After];
    let mut points = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        let here_only = call.kind.starts_with("git") && call.kind != "git push";
        let moments: &[When] = match (here_only, scene) {
            (false, _) => &all,
            (true, Scene::Plain) => &all[1..2],
            (true, _) => &[],
        };
        let point = |&when| Point { scene, number: Some(number), call: call.clone(), when };
        points.extend(moments.iter().map(point));
    }
    points
}

/// Every so-manieth first: whoever looks at the first few has seen some of each.
fn mixed(points: Vec<Point>) -> Vec<Point> {
    const STEP: usize = 7;
    let mut columns: Vec<Vec<Point>> = (0..STEP).map(|_| Vec::new()).collect();
    for (index, point) in points.into_iter().enumerate() {
        columns[index % STEP].push(point);
    }
    columns.into_iter().flatten().collect()
}

#[test]
fn a_deployment_or_a_rollback_killed_anywhere_is_finished_by_the_same_command() {
    campaign!();
    let full = size(0, 1) == 1;
    let mut yard = Yard::new();
    let points = if full {
        let measured = SCENES.map(|scene| (scene, yard.measure(scene)));
        mixed(measured.iter().flat_map(|(scene, calls)| points(*scene, calls)).collect())
    } else {
        // The instants after which most is there that nobody knows of.
        let last = |calls: &[Call]| calls.iter().cloned().enumerate().next_back().unwrap();
        let (number, call) = last(&yard.measure(Scene::Back));
        let (number, when) = (Some(number), When::After);
        let create = Call::of_kind("eb create");
        vec![
            Point { scene: Scene::Back, number, call, when },
            Point { scene: Scene::First, number: None, call: create, when },
        ]
    };
    let most = std::env::var("STEVEDORE_POINTS").map_or(usize::MAX, |most| most.parse().unwrap());
    campaign(&mut yard, &points[..points.len().min(most)]);
}

/// Kills at these points, and goes on after a failure: all are named at the end.
fn campaign(yard: &mut Yard, points: &[Point]) {
    let started = Instant::now();
    let (mut dead, mut exact, mut failures) = (0, 0, Vec::new());
    for (index, point) in (1..).zip(points) {
        let Point { scene, number, call, when } = point;
        let number = number.map_or("the first".into(), |number| format!("call {number},"));
        let what = format!("{scene:?} at {number} {}, {when:?}", call.kind);
        let began = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| yard.kill_once(point))) {
            Ok((killed, in_time)) => {
                dead += usize::from(killed);
                exact += usize::from(killed && in_time);
            }
            Err(_) => {
                failures.push(what.clone());
                *yard = Yard::new();
            }
        }
        let (seconds, count) = (began.elapsed().as_secs_f64(), failures.len());
        eprintln!("{index} of {}: {what}: {seconds:.1} s, {count} failures", points.len());
    }
    let (count, seconds) = (points.len(), started.elapsed().as_secs());
    assert!(dead > 0, "nothing was killed");
    eprintln!("{count} points, {dead} killed, {exact} within the call itself, {seconds} s");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
