//! Random stacks against a model: `start` and `status` say what `docker inspect` shows.
//!
//! One to six services, each with or without a health check (in the compose file or in the image),
//! a restart policy, replicas, and a program that stays or ends. 24 stacks run with all the other
//! tests, `STEVEDORE_FULL=1` runs 300; `STEVEDORE_SEED=N` repeats a failure.

// A campaign says what it did; its figures are in RELIABILITY.md.
#![allow(clippy::print_stderr)]

use std::time::{Duration, Instant};

use crate::campaign::chance::{Chance, size};
use crate::dsl::{Answer, Project, campaign, docker};

/// So many stacks start at once.
const LANES: u64 = 3;
/// Longest time until a verdict: a crash loop has its third restart within ten seconds.
const LATEST: Duration = Duration::from_secs(90);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Health {
    None,
    InTheFile,
    InTheImage,
    Never,
    Fails,
}

#[derive(Debug)]
struct Service {
    name: String,
    /// Seconds until the program ends, and its exit code; nothing for one that stays.
    ends: Option<(usize, usize)>,
    once: bool,
    restart: &'static str,
    health: Health,
    replicas: usize,
}

impl Service {
    fn random(chance: &mut Chance, number: usize) -> Service {
        let ends = (chance.below(4) == 0).then(|| (chance.below(3), chance.pick(&[0, 0, 1, 3])));
        let once = ends.is_some_and(|(_, code)| code == 0 || chance.below(2) == 0);
        let healths = match ends {
            // One that may become healthy before it ends would be ready for a moment.
            Some(_) => [Health::None, Health::None, Health::Never],
            None if chance.below(12) == 0 => [Health::Fails; 3],
            None => [Health::None, Health::InTheFile, Health::InTheImage],
        };
        Service {
            name: format!("s{number}"),
            ends,
            once,
            restart: chance.pick(&["'no'", "always", "unless-stopped", "'on-failure:2'"]),
            health: chance.pick(&healths),
            replicas: chance.pick(&[1, 1, 1, 1, 0, 2, 3]),
        }
    }

    /// What the documentation promises of it.
    fn is_fine(&self) -> bool {
        let is_restarted_for_ever = ["always", "unless-stopped"].contains(&self.restart);
        match self.ends {
            _ if self.replicas == 0 => true,
            None => self.health != Health::Fails,
            Some((_, code)) => self.once && code == 0 && !is_restarted_for_ever,
        }
    }

    fn text(&self) -> String {
        let command = match self.ends {
            None => "[sleep, infinity]".to_owned(),
            Some((seconds, code)) => format!("[sh, -c, 'sleep {seconds}; exit {code}']"),
        };
        let image = if self.health == Health::InTheImage { "checked" } else { "app" };
        let health = match self.health {
            Health::None | Health::InTheImage => "",
            Health::InTheFile => "healthcheck: {test: [CMD, 'true'], interval: 1s},",
            Health::Never => "healthcheck: {test: [CMD, 'false'], start_period: 1h},",
            Health::Fails => "healthcheck: {test: [CMD, 'false'], interval: 300ms, retries: 2},",
        };
        let Service { restart, replicas, once, .. } = self;
        format!(
            "{{build: {{context: app, dockerfile: ../docker/{image}/Dockerfile}}, init: true, \
             stop_grace_period: 1s, command: {command}, restart: {restart}, {health} \
             deploy: {{replicas: {replicas}}}, x-stevedore: {{once: {once}}}}}"
        )
    }
}

/// Whether every service is by `docker inspect` as it is to be.
fn is_as_wanted(project: &Project, services: &[Service]) -> bool {
    services.iter().all(|service| {
        let label = format!("label=com.docker.compose.project={}-dev", project.name);
        let own = format!("label=com.docker.compose.service={}", service.name);
        let list = ["container", "ls", "--all", "--quiet", "--filter", &label, "--filter", &own];
        let ids = docker(&list);
        let ids: Vec<&str> = ids.split_whitespace().collect();
        let format = "{{.State.Status}} {{.State.ExitCode}} {{if index .State \"Health\"}}\
            {{.State.Health.Status}}{{end}}";
        let states = docker(&[&["container", "inspect", "--format", format], &ids[..]].concat());
        let is_fine = |line: &str| match service.once {
            // The health of what has ended is what it was last.
            true => line.starts_with("exited 0"),
            false => ["running 0", "running 0 healthy"].contains(&line.trim()),
        };
        ids.len() == service.replicas && (ids.is_empty() || states.lines().all(is_fine))
    })
}

fn check(project: &Project, services: &[Service], again: &str) -> Duration {
    let texts: Vec<(&str, String)> =
        services.iter().map(|service| (service.name.as_str(), service.text())).collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, &text[..])).collect();
    project.compose(&texts);
    project.xtask(&["image", "build"]).succeeds();
    let started = Instant::now();
    let answer = project.xtask(&["start"]);
    let took = started.elapsed();
    let says = |answer: &Answer| format!("{again}\n{services:#?}\n{took:?}\n{answer:#?}");
    let is_fine = services.iter().all(Service::is_fine);
    assert_eq!(answer.code, i32::from(!is_fine), "{}", says(&answer));
    assert!(took < LATEST, "{}", says(&answer));
    assert_eq!(is_as_wanted(project, services), is_fine, "{}", says(&answer));
    let status = project.xtask(&["status"]).succeeds();
    assert_eq!(!status.stdout.contains("problem: "), is_fine, "{} {status:?}", says(&answer));
    for line in status.stdout.lines().filter(|line| line.contains("problem: ")) {
        let is_named = |it: &&Service| line.contains(&format!(": {}", it.name));
        let named = services.iter().find(is_named);
        assert!(named.is_some_and(|it| !it.is_fine()), "{line}: {}", says(&answer));
    }
    project.xtask(&["stop"]).succeeds();
    took
}

#[test]
fn start_and_status_agree_with_the_engine_about_random_stacks() {
    campaign!();
    let seed = std::env::var("STEVEDORE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let stacks: u64 = size(24, 300);
    let started = Instant::now();
    let lane = |lane: u64| {
        let project = Project::with_stack();
        let check_in_image = "HEALTHCHECK --interval=1s CMD true\n";
        let checked = format!("FROM base\nCOPY . /app\n{check_in_image}");
        project.file("docker/checked/Dockerfile", checked);
        let rounds = (0..stacks).filter(|round| round % LANES == lane);
        rounds
            .map(|round| {
                let mut chance = Chance::from("random stacks", seed + round);
                let number = 1 + chance.below(6);
                let services: Vec<Service> =
                    (1..=number).map(|number| Service::random(&mut chance, number)).collect();
                check(&project, &services, &format!("STEVEDORE_SEED={}", seed + round))
            })
            .max()
            .unwrap_or_default()
    };
    let slowest = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).max().unwrap_or_default()
    });
    eprintln!("{stacks} random stacks in {:?}, slowest verdict {slowest:?}", started.elapsed());
}
