//! `setup --yes` on fresh machines: containers without an init system, one for each distribution,
//! made from its archive. They take minutes and a network, so only `STEVEDORE_FULL=1` runs them.

use std::path::Path;
use std::process::Command;

use crate::dsl::{Project, campaign, docker};

const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What reaches an archive or a package index on this machine, if it is set.
const NETWORK: [&str; 5] =
    ["http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_FIND_LINKS"];

const DEBIAN: &str = "http://deb.debian.org/debian";
/// Trusted: a machine with Debian has no key of Ubuntu's archive.
const UBUNTU: &str = "[trusted=yes] http://archive.ubuntu.com/ubuntu";

/// A container, its image and the volume of its engine; all end with the test.
struct Machine {
    name: String,
}

impl Machine {
    /// With git and without all that `setup` installs.
    fn start(suite: &str, sources: &[String]) -> Machine {
        let machine = Machine { name: format!("stevedore-setup-{suite}-{}", std::process::id()) };
        let name = &machine.name;
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("root.tar");
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap
            .args(["--variant=minbase", "--quiet", "--include=apt,ca-certificates,git,gpgv"])
            // The image keeps these: an archive may be older than it says it should be.
            .args(["--aptopt=Acquire::Check-Valid-Until \"false\""])
            .args(["--aptopt=Acquire::Languages \"none\"", "--dpkgopt=force-unsafe-io"])
            .arg(suite)
            .arg(&archive)
            .args(sources);
        assert!(mmdebstrap.status().unwrap().success(), "mmdebstrap {suite}");
        docker(&["image", "import", archive.to_str().unwrap(), name]);
        let data = format!("{name}:/var/lib/docker");
        let certificates = format!("{CERTIFICATES}:/certificates.crt:ro");
        let mut run = vec!["container", "run", "--detach", "--privileged", "--name", name];
        run.extend(["--volume", &data]);
        if Path::new(CERTIFICATES).exists() {
            run.extend(["--volume", &certificates, "--env", "PIP_CERT=/certificates.crt"]);
        }
        run.extend(NETWORK.into_iter().flat_map(|variable| ["--env", variable]));
        run.extend([name, "sleep", "infinity"]);
        assert!(!docker(&run).is_empty(), "no container of {suite}");
        let project = Project::with_stack();
        docker(&["container", "cp", project.root().to_str().unwrap(), &format!("{name}:/project")]);
        let program = format!("{name}:/usr/local/bin/xtask");
        docker(&["container", "cp", env!("CARGO_BIN_EXE_xtask"), &program]);
        machine
    }

    /// What a command prints on both streams. It has to succeed.
    fn run(&self, line: &[&str]) -> String {
        let mut exec = Command::new("docker");
        exec.args(["container", "exec", "--workdir", "/project", &self.name]).args(line);
        let output = exec.output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        assert!(output.status.success(), "{line:?} in {}:\n{printed}", self.name);
        printed
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        docker(&["container", "rm", "--force", "--volumes", &self.name]);
        docker(&["volume", "rm", "--force", &self.name]);
        docker(&["image", "rm", "--force", &self.name]);
    }
}

/// Sets up a fresh machine twice.
fn check(suite: &str, sources: &[String], adds_debian_13: bool) {
    if std::env::var_os("STEVEDORE_FULL").is_none() {
        return;
    }
    let machine = Machine::start(suite, sources);
    machine.run(&["xtask", "setup", "--yes"]);
    for question in ["docker version", "docker buildx version", "docker compose version"] {
        machine.run(&question.split(' ').collect::<Vec<_>>());
    }
    let doctor = machine.run(&["xtask", "doctor"]);
    assert!(doctor.contains("eb and aws: /"), "{suite}:\n{doctor}");
    let lists = machine.run(&["ls", "/etc/apt/sources.list.d"]);
    assert_eq!(lists.contains("stevedore-engine.sources"), adds_debian_13, "{suite}: {lists}");
    let packages = || machine.run(&["dpkg-query", "--show"]);
    let before = packages();
    let again = machine.run(&["xtask", "setup", "--yes"]);
    assert_eq!(again, "everything is installed and the engine runs; nothing was changed\n");
    assert_eq!(packages(), before, "{suite}");
}

fn sources(archive: &str, suites: &[&str], components: &str) -> Vec<String> {
    suites.iter().map(|suite| format!("deb {archive} {suite} {components}")).collect()
}

#[test]
fn setup_works_on_debian_12() {
    campaign!();
    check("bookworm", &sources(DEBIAN, &["bookworm"], "main"), true);
}

#[test]
fn setup_works_on_debian_13() {
    campaign!();
    check("trixie", &sources(DEBIAN, &["trixie"], "main"), false);
}

#[test]
fn setup_works_on_debian_testing() {
    campaign!();
    check("testing", &sources(DEBIAN, &["testing"], "main"), false);
}

#[test]
fn setup_works_on_ubuntu_24_04() {
    campaign!();
    let suites = ["noble", "noble-updates", "noble-security"];
    check("noble", &sources(UBUNTU, &suites, "main universe"), false);
}
