//! The engine's packages, from what `apt-cache policy` printed on each distribution in November
//! 2026. Each file in `policies/` is the answer for the packages, then the one for the sources.

use super::{EngineSource, choose, without_apt};

const DEBIAN_12: &str = include_str!("policies/debian-12.txt");
const DEBIAN_12_AFTER_SETUP: &str = include_str!("policies/debian-12-after-setup.txt");
const DEBIAN_13: &str = include_str!("policies/debian-13.txt");
const DEBIAN_13_DOCKER_CE: &str = include_str!("policies/debian-13-docker-ce.txt");
const DEBIAN_TESTING: &str = include_str!("policies/debian-testing.txt");
const UBUNTU: &str = include_str!("policies/ubuntu-24.04.txt");
const UBUNTU_MAIN_ONLY: &str = include_str!("policies/ubuntu-24.04-main-only.txt");

/// The packages, or `Debian 13 from MIRROR`, or why there are none.
fn chosen(printed: &str) -> String {
    let (policy, sources) = printed.split_once("Package files:\n").expect("both answers");
    match choose(policy, sources) {
        Ok(EngineSource::Offered(packages)) => packages.join(" "),
        Ok(EngineSource::Debian13 { mirror }) => format!("Debian 13 from {mirror}"),
        Err(problem) => problem,
    }
}

#[test]
fn each_distribution_gives_the_packages_that_it_has() {
    let of_debian = "docker.io docker-cli docker-buildx docker-compose";
    let of_ubuntu = "docker.io docker-buildx docker-compose-v2";
    for (printed, packages) in [
        (DEBIAN_12, "Debian 13 from http://deb.debian.org/debian"),
        (DEBIAN_12_AFTER_SETUP, of_debian),
        (DEBIAN_13, of_debian),
        (DEBIAN_TESTING, of_debian),
        (UBUNTU, of_ubuntu),
    ] {
        assert_eq!(chosen(printed), packages);
    }
}

#[test]
fn debian_13_is_added_to_debian_12_only() {
    let documented = "this machine's apt sources do not offer the Docker engine with buildx and \
                      compose 2; add Docker's repository (https://docs.docker.com/engine/install)";
    let derivative = DEBIAN_12.replace("o=Debian", "o=Raspbian");
    assert_eq!(chosen(&derivative), documented);
    assert_eq!(chosen(&DEBIAN_12.replace("n=bookworm,", "n=bullseye,")), documented);
    let only_security = DEBIAN_12.replace("n=bookworm,", "n=bookworm-security,");
    assert_eq!(chosen(&only_security), documented);
    let mixed = with_sources_of(UBUNTU_MAIN_ONLY, DEBIAN_12);
    for ubuntu in [UBUNTU_MAIN_ONLY, &mixed] {
        assert_eq!(
            chosen(ubuntu),
            "this machine's apt sources do not offer the Docker engine with buildx and compose 2; \
             enable Ubuntu's universe with `sudo add-apt-repository universe`"
        );
    }
}

#[test]
fn compose_1_does_not_count() {
    let without_compose_2 = UBUNTU.replace("docker-compose-v2:", "renamed:");
    assert!(without_compose_2.contains("Candidate: 1.29.2"), "compose 1 is offered");
    assert!(chosen(&without_compose_2).contains("do not offer"), "{without_compose_2}");
}

/// A machine that has the sources of two.
fn with_sources_of(printed: &str, more: &str) -> String {
    let (_, sources) = more.split_once("Package files:\n").expect("both answers");
    format!("{printed}{sources}")
}

#[test]
fn docker_ce_is_completed_and_never_replaced() {
    assert_eq!(chosen(DEBIAN_13_DOCKER_CE), "docker-buildx-plugin docker-compose-plugin");
    let plugins = DEBIAN_13_DOCKER_CE.replace("docker-buildx-plugin:", "docker-model-plugin:");
    assert_eq!(
        chosen(&plugins),
        "this machine uses Docker CE, but its apt sources do not offer docker-buildx-plugin; add \
         Docker's repository (https://docs.docker.com/engine/install)"
    );
    let none_installed = offered(DEBIAN_13_DOCKER_CE);
    let all = "docker-ce docker-ce-cli docker-buildx-plugin docker-compose-plugin";
    assert_eq!(chosen(&none_installed), all, "the user added Docker's repository");
    let uses_debians = none_installed.replacen("Installed: (none)", "Installed: 26.1.5", 1);
    assert_eq!(chosen(&uses_debians), chosen(DEBIAN_13));
}

/// The same sources on a machine that has none of the packages.
fn offered(printed: &str) -> String {
    let line = |line: &str| match line.starts_with("  Installed:") {
        true => "  Installed: (none)\n".to_owned(),
        false => format!("{line}\n"),
    };
    printed.lines().map(line).collect()
}

#[test]
fn a_machine_without_apt_is_told_what_to_type() {
    for (os_release, command) in [
        ("NAME=Fedora\nID=fedora\n", "sudo dnf install moby-engine docker-buildx docker-compose"),
        ("ID=arch\n", "sudo pacman --sync docker docker-buildx docker-compose"),
        (
            "ID=manjaro\nID_LIKE=\"arch\"\n",
            "sudo pacman --sync docker docker-buildx docker-compose",
        ),
        ("ID=alpine\n", "apk add docker docker-cli-buildx docker-cli-compose"),
    ] {
        assert_eq!(without_apt(os_release), format!("install them with `{command}`"));
    }
    let documented = "install them as https://docs.docker.com/engine/install says";
    assert_eq!(without_apt("ID=\"rocky\"\nID_LIKE=\"rhel fedora\"\n"), documented);
    assert_eq!(without_apt(""), documented);
}
