//! `.ebextensions` and hooks that are wrong, or that prepare the way out for what is read after
//! them.

use super::raw::{Entry, archive, directory, file, link, program};
use super::{Target, fails, works};
use crate::app;
use crate::dsl::engine;

fn bundle(version: &str, more: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    bundle_with(version, &app::compose(), more)
}

fn bundle_with(version: &str, compose: &str, more: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let own = [file("docker-compose.yml", compose), file("version.txt", version)];
    archive(&own.into_iter().chain(more).collect::<Vec<_>>())
}

#[test]
fn configuration_files_are_read_and_their_errors_told() {
    engine!();
    let target = Target::docker();
    let config = |name: &'static str, says: &str, text: &str| {
        fails(name, says, bundle(name, [file(".ebextensions/a.config", text)]))
    };
    let invalid = "The configuration file .ebextensions/a.config contains invalid YAML or JSON";
    let property = |value: &str| {
        format!("option_settings: {{aws:elasticbeanstalk:application:environment: {{A: {value}}}}}")
    };
    let bomb: String = (1..30).fold("a0: &a0 [x, x, x, x, x, x, x, x]\n".into(), |text, level| {
        let before = format!("*a{}, ", level - 1).repeat(8);
        text + &format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", "))
    });
    let words = "commands: {a: {command: [false]}}";
    target.deploy_all(vec![
        config("no-yaml", invalid, "a: [\n"),
        config("tabs", invalid, "a:\n\t- b\n"),
        config("bomb", invalid, &bomb),
        config("deep", invalid, &"[".repeat(50_000)),
        config("list", ".ebextensions/a.config is no mapping", "- a\n"),
        config("text", ".ebextensions/a.config is no mapping", "just a text"),
        config("unknown-key", "has the key \"option_setting\"", "option_setting: {}\n"),
        config("no-name", "has no option_name", "option_settings: [{value: 1}]\n"),
        config(
            "no-settings",
            "is neither a mapping of namespaces nor a list",
            "option_settings: 7\n",
        ),
        config("no-value", "is no text", &property("[1]")),
        config("too-long", "the limit is 4096", &property(&"x".repeat(5000))),
        config("namespace", "Unknown configuration setting", "option_settings: {other: {a: b}}\n"),
        config(
            "policy",
            "Invalid value: 'Never'",
            "option_settings: {aws:elasticbeanstalk:command: \
            {DeploymentPolicy: Never}}\n",
        ),
        config("commands", "commands is not as it should be", "commands: [a]\n"),
        config("no-words", "commands is not as it should be", words),
        config("no-command", "commands is not as it should be", "commands: {a: {}}\n"),
        config("huge", "a.config has more than 1048576 bytes", &"#".repeat(2 << 20)),
        fails(
            "no-file",
            "a.config is no file",
            bundle("no-file", [directory(".ebextensions/a.config/")]),
        ),
        fails(
            "no-letters",
            "a.config is no text",
            bundle("no-letters", [file(".ebextensions/a.config", b"\xff\xfe\x00")]),
        ),
        works("a-file", bundle("a-file", [file(".ebextensions", "x")])),
        works(
            "not-modelled",
            bundle(
                "not-modelled",
                [file(
                    ".ebextensions/a.config",
                    "files: {/etc/passwd: {content: x}}\nResources: {A: {Type: b}}\n",
                )],
            ),
        ),
    ]);
}

#[test]
fn hooks_reach_nothing_and_what_they_leave_is_not_followed() {
    engine!();
    let target = Target::docker();
    let canary = target.canary();
    let at = ".platform/hooks/prebuild/a";
    let hook = |name: &'static str, says: &str, script: &str| {
        fails(name, says, bundle(name, [program(at, format!("#!/bin/sh\n{script}\n"))]))
    };
    let mounts =
        |volume: &str| app::compose().replace("volumes: [", &format!("volumes: [\"{volume}\", "));
    let out = "leads out of the bundle";
    let cut = format!("{canary}/directory");
    target.deploy_all(vec![
        fails(
            "no-program",
            "The hook .platform/hooks/prebuild/a is no program",
            bundle("no-program", [file(at, "just a text")]),
        ),
        fails(
            "garbage",
            ".platform/hooks/prebuild/a failed",
            bundle("garbage", [program(at, [0x7f; 64])]),
        ),
        fails("empty", ".platform/hooks/prebuild/a is no program", bundle("empty", [file(at, "")])),
        hook("ends-badly", ".platform/hooks/prebuild/a failed", "exit 7"),
        hook("link-to-root", out, "ln -s / root"),
        hook("link-for-a-mount", out, &format!("ln -s {cut} data")),
        hook(
            "link-for-hooks",
            out,
            "mkdir -p .platform/hooks; ln -s /bin .platform/hooks/predeploy",
        ),
        hook(
            "link-for-compose",
            out,
            "rm docker-compose.yml; ln -s /etc/passwd docker-compose.yml",
        ),
        hook("link-for-later", out, "ln -s ../../../../../later/escaped data"),
        hook(
            "pipe-for-compose",
            "Both 'Dockerfile'",
            "rm docker-compose.yml; mkfifo docker-compose.yml",
        ),
        works(
            "writes-in-its-container",
            bundle(
                "writes-in-its-container",
                [program(at, "#!/bin/sh\necho x > /escaped; echo x > /tmp/escaped\n")],
            ),
        ),
        works("no-mode", bundle("no-mode", [file(at, "#!/bin/sh\ntrue\n")])),
        works(
            "linked-inside",
            bundle(
                "linked-inside",
                [link(at, "../../../script"), program("script", "#!/bin/sh\ntrue\n")],
            ),
        ),
        works("a-directory", bundle("a-directory", [directory(".platform/hooks/prebuild/a/")])),
        works("a-file-instead", bundle("a-file-instead", [file(".platform", "x")])),
    ]);
    // A container leaves links in directories that outlive its version.
    let evil =
        format!("ln -s {canary} /more/evil; ln -s ../../../.. /more/up; exec perl /server.pl");
    let version = mounts("/data:/more") + &format!("    command: [sh, -c, \"{evil}\"]\n");
    target.deploy_all(vec![
        works("first", bundle_with("first", &version, [])),
        fails(
            "then-the-link",
            "a link leads out of the instance",
            bundle_with("x", &mounts("/data/evil/directory:/more"), []),
        ),
        fails(
            "then-the-link-itself",
            "a link leads out of the instance",
            bundle_with("x", &mounts("/data/evil:/more"), []),
        ),
        fails(
            "then-a-new-directory",
            "a link leads out of the instance",
            bundle_with("x", &mounts("/data/evil/escaped:/more"), []),
        ),
        fails(
            "then-upwards",
            "a link leads out of the instance",
            bundle_with("x", &mounts("/data/up:/more"), []),
        ),
    ]);
}
