//! Law 7 on the way to production: values of `.env` reach the environment, and nothing else that
//! anybody can read. Not argv, output, git, the log, a bundle, an image, nor what a kill leaves.

use std::io::Read;

use crate::dsl::{docker, engine};
use crate::ward::Ward;

const TOKEN: &str = "c4nary-t0ken-c4nary";
const OTHER: &str = "c4nary-0ther-c4nary";
const PASSWORD: &str = "c4nary-passw0rd-c4nary";
/// What is in all of them.
const SIGN: &str = "c4nary";

fn secrets(ward: &Ward, token: &str) {
    let path = "environments/prod/.env";
    let text = format!("PASSWORD={PASSWORD}\nTOKEN={token}\n");
    ward.shop.project.file(path, text).mode(path, 0o600);
}

/// Every program that is given arguments tells them; `aws` also dies, with us, where it is told to.
fn listen(ward: &mut Ward) {
    let (log, place) = (ward.shop.project.path("calls"), ward.shop.project.path("fake"));
    let (log, place) = (log.display(), place.display().to_string());
    for program in ["docker", "git", "curl"] {
        let script = format!("echo \"{program} $*\" >> '{log}'\nexec \"$real\" \"$@\"");
        ward.shop.project.fake(program, &script);
    }
    ward.fake_clients(&format!(
        "echo \"NAME $*\" >> '{log}'\n\
         for kill in '{place}'/kill-*; do\n\
         case \"$*\" in *\"${{kill#*kill-}}\"*) rm \"$kill\"; kill -KILL $PPID; exit 1 ;; esac\n\
         done\nexec 'REAL' \"$@\""
    ));
    ward.find_clients();
}

/// Everything in the project that anybody may copy or commit, unpacked.
fn assert_files_tell_nothing(ward: &Ward) {
    for entry in walkdir::WalkDir::new(ward.shop.project.top()) {
        let Ok(entry) = entry else { continue };
        let path = entry.path().strip_prefix(ward.shop.project.root()).unwrap();
        // The schema's values; what the local service is given, and its own memory, as on AWS.
        let is_service = path.starts_with(".stevedore/beanstalk");
        let is_attached = path.starts_with(".stevedore/beanstalk-attached");
        if !entry.file_type().is_file() || is_service || path.ends_with(".env") {
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        if is_attached {
            use std::os::unix::fs::PermissionsExt;
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            continue;
        }
        assert!(!String::from_utf8_lossy(&bytes).contains(SIGN), "{}", path.display());
        if bytes.starts_with(b"PK") {
            assert_bundle_tells_nothing(bytes);
        }
    }
}

fn assert_bundle_tells_nothing(bytes: Vec<u8>) {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    assert!(!archive.is_empty());
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(SIGN), "{:?}", file.name());
    }
}

/// What the local Elastic Beanstalk runs beside prod.
fn attached(ward: &Ward) -> Vec<u8> {
    let directory = ward.shop.project.path(".stevedore/beanstalk-attached");
    let mut files = std::fs::read_dir(directory).unwrap().flatten();
    let file = files.find(|it| it.path().extension().is_some_and(|it| it == "json")).unwrap();
    std::fs::read(file.path()).unwrap()
}

#[test]
fn a_secret_on_its_way_to_production_and_back_is_told_to_nobody() {
    engine!();
    let mut ward = Ward::new("");
    secrets(&ward, TOKEN);
    listen(&mut ward);
    ward.ship("1.0.0", "one");
    ward.ship("1.1.0", "two");
    ward.ship("1.2.0", "broken");
    let mut said = String::new();
    let mut run = |ward: &Ward, arguments: &[&str], code: i32| {
        let answer = ward.xtask(&[&["--verbose"], arguments].concat()).exits(code);
        said += &format!("{}{}", answer.stdout, answer.stderr);
        assert_files_tell_nothing(ward);
    };
    let deploy = |version| ["deploy", version, "--yes", "--settle", "6"];
    run(&ward, &["--dry-run", "deploy", "1.0.0"], 0);
    run(&ward, &deploy("1.0.0"), 0);
    assert_eq!(ward.page("prod"), format!("200 1.0.0 {TOKEN} one"));

    // From a clone without `.env`: what runs keeps its values, and nothing is made up.
    let attached = attached(&ward);
    std::fs::remove_file(ward.shop.project.path("environments/prod/.env")).unwrap();
    run(&ward, &deploy("1.1.0"), 0);
    assert!(!ward.shop.project.path("environments/prod/.env").exists());
    assert_eq!(ward.page("prod"), format!("200 1.1.0 {TOKEN} two"));
    assert_eq!(self::attached(&ward), attached, "the store keeps its password");

    // Killed before the service keeps the settings, and before it changes them.
    secrets(&ward, OTHER);
    for call in ["create-configuration-template", "update-environment"] {
        ward.shop.project.file(&format!("fake/kill-{call}"), "");
        run(&ward, &deploy("1.1.0"), -1);
    }
    run(&ward, &["--dry-run", "deploy", "1.1.0"], 0);
    run(&ward, &deploy("1.1.0"), 0);
    assert_eq!(ward.page("prod"), format!("200 1.1.0 {OTHER} two"));

    // A service that says the parameters back in its refusal.
    let real = std::fs::read_to_string(ward.shop.project.path("fake/python3")).unwrap();
    let echo = "*update-environment*) cat >&2; exit 1 ;; esac\n";
    let echo = format!("#!/bin/sh\ncase \"$*\" in {echo}{}", real.trim_start_matches("#!/bin/sh"));
    secrets(&ward, TOKEN);
    ward.fake_client("python3", &echo);
    run(&ward, &deploy("1.1.0"), 1);
    ward.fake_client("python3", &real);

    run(&ward, &deploy("1.2.0"), 1);
    run(&ward, &["rollback", "--yes", "--settle", "6"], 0);
    run(&ward, &["rollback", "--to", "1.0.0", "--yes", "--settle", "6"], 0);
    assert_eq!(ward.page("prod"), format!("200 1.0.0 {TOKEN} one"));
    run(&ward, &["--json", "status", "prod", "--drift"], 0);
    run(&ward, &["diff", "1.0.0", "1.1.0"], 0);
    run(&ward, &["--json", "status", "prod"], 0);

    let calls = ward.shop.project.calls().join("\n");
    let all = ["cat-file", "--batch-all-objects", "--batch"];
    let (here, there) = (ward.shop.git(&all), ward.shop.git_there(&all));
    let mut images = String::new();
    for image in ["app", "store", "base"] {
        let name = format!("{}/{image}:1.1.0", ward.shop.project.name);
        images += &docker(&["image", "inspect", &name]);
        images += &docker(&["image", "history", "--no-trunc", &name]);
    }
    for (what, text, sign) in [
        ("output", &said, "prod runs 1.0.0"),
        ("argv", &calls, "aws --region us-east-1 --output json"),
        ("argv", &calls, "curl --disable --config - "),
        ("argv", &calls, "Action=DescribeConfigurationSettings"),
        ("argv", &calls, "eb deploy "),
        ("argv", &calls, "update-environment --cli-input-json"),
        ("objects", &here, "deployments.jsonl"),
        ("remote objects", &there, "\"verdict\""),
        ("images", &images, "dev.stevedore.fingerprint"),
    ] {
        assert!(text.contains(sign), "{what} was looked at: no {sign}");
        let found = text.lines().find(|line| line.contains(SIGN));
        assert_eq!(found, None, "{what}");
    }
    for entry in ward.log("prod") {
        let bundle = ward.bundle_there(entry["label"].as_str().unwrap()).unwrap();
        assert_bundle_tells_nothing(bundle);
    }
}
