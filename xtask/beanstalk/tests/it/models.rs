//! Every action that is implemented, called by boto3, by boto3 with the EB CLI's own model, and by the
//! AWS CLI: the answers are what the models say, to the last element. And who is refused, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::dsl::{Answer, Server, engine, fence, finish};
use crate::sign::{Request, form};
use crate::tools;

/// The actions of each service, as they stand in the code: a new one cannot be forgotten here.
fn implemented() -> BTreeMap<&'static str, BTreeSet<String>> {
    let actions = include_str!("../../src/actions.rs");
    let stubs = include_str!("../../src/stubs.rs");
    let (iam, rest) = stubs.split_once("fn machines").unwrap();
    let iam = iam.split_once("fn identity").unwrap().1;
    BTreeMap::from([
        ("elasticbeanstalk", arms(actions)),
        ("iam", arms(iam)),
        ("ec2", arms(rest)),
        ("sts", BTreeSet::from(["GetCallerIdentity".to_owned()])),
    ])
}

/// The texts of the arms of a `match`.
fn arms(code: &str) -> BTreeSet<String> {
    let before = code.lines().filter_map(|line| line.split_once("=>"));
    let texts = before.flat_map(|(arm, _)| arm.split('"').skip(1).step_by(2));
    let arms: BTreeSet<String> = texts.map(str::to_owned).collect();
    assert!(arms.len() > 3, "{arms:?}");
    arms
}

fn python(url: &str, script: &str, arguments: &[&str]) -> Answer {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut command = std::process::Command::new(tools::venv().join("bin/python"));
    let home = tempfile::tempdir().unwrap();
    fence(&mut command, url, home.path());
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(home.path());
    command.arg(directory.join(script)).args(arguments);
    finish(command, "", script)
}

fn story(client: &str) {
    let server = Server::start();
    let actions = serde_json::to_string(&implemented()).unwrap();
    python(&server.url(), "story.py", &[client, &actions]).succeeds().says(" 0 problems");
}

#[test]
fn the_check_against_a_model_finds_what_is_wrong() {
    python("http://127.0.0.1:9", "faults.py", &[]).succeeds().says("not found: []");
}

#[test]
fn boto3_finds_every_answer_as_the_public_model_says() {
    engine!();
    story("boto3");
}

#[test]
fn botocore_finds_every_answer_as_the_model_of_the_eb_cli_says() {
    engine!();
    story("cli");
}

#[test]
fn the_aws_cli_calls_every_action_without_a_warning() {
    engine!();
    story("aws");
}

#[test]
fn every_action_of_the_code_is_known_by_name() {
    let all = implemented();
    assert!(all["elasticbeanstalk"].contains("SwapEnvironmentCNAMEs"), "{all:?}");
    assert!(all["elasticbeanstalk"].len() >= 39, "{all:?}");
    assert!(all["iam"].contains("AddRoleToInstanceProfile"), "{all:?}");
    assert!(all["ec2"].contains("DescribeKeyPairs"), "{all:?}");
}

#[test]
fn who_does_not_sign_as_local_now_and_here_is_refused() {
    engine!();
    let server = Server::start();
    let body = form("DescribeEnvironments", &[]);
    let good = Request { body: body.as_bytes(), ..Request::query() };
    let send = |request: Request<'_>| request.send(server.port);
    send(good.clone()).succeeds();

    send(Request { key: "AKIAIOSFODNN7EXAMPLE", ..good.clone() })
        .refuses(403, "InvalidClientTokenId")
        .says("local / local");
    send(Request { secret: "mine", ..good.clone() }).refuses(403, "SignatureDoesNotMatch");
    send(Request { region: "eu-west-1", ..good.clone() })
        .refuses(403, "SignatureDoesNotMatch")
        .says("us-east-1");
    send(Request { authorization: Some(""), ..good.clone() })
        .refuses(403, "MissingAuthenticationToken");
    for nonsense in ["Basic bG9jYWw6bG9jYWw=", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=x"]
    {
        send(Request { authorization: Some(nonsense), ..good.clone() })
            .refuses(403, "IncompleteSignature");
    }
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    for now in [SystemTime::now() - minutes(16), SystemTime::now() + minutes(16)] {
        send(Request { now, ..good.clone() }).refuses(403, "RequestTimeTooSkewed");
    }
    send(Request { now: SystemTime::now() - minutes(14), ..good.clone() }).succeeds();

    let unknown = form("ComposeEnvironments", &[]);
    send(Request { body: unknown.as_bytes(), ..good.clone() }).refuses(400, "InvalidAction");
    send(Request { body: b"Version=2010-12-01", ..good.clone() }).refuses(400, "MissingAction");
    for service in ["iam", "ec2", "sts", "cloudformation"] {
        send(Request { service, body: unknown.as_bytes(), ..good.clone() })
            .refuses(400, "InvalidAction");
    }
    // S3 in its own way.
    let list = Request { path: "/", ..Request::s3() };
    send(list.clone()).succeeds();
    send(Request { secret: "mine", ..list }).refuses(403, "SignatureDoesNotMatch");
}

#[test]
fn a_body_that_was_changed_on_its_way_is_refused() {
    engine!();
    let server = Server::start();
    let body = form("CreateApplication", &[("ApplicationName", "shop")]);
    let other = form("CreateApplication", &[("ApplicationName", "spam")]);
    for (service, path) in [("elasticbeanstalk", "/"), ("s3", "/bucket/key")] {
        let request = Request { service, path, body: body.as_bytes(), ..Request::query() };
        let reply = request.send_with_body(server.port, other.as_bytes());
        reply.refuses(400, "XAmzContentSHA256Mismatch");
    }
    let applications = server.call("DescribeApplications", &[]).succeeds();
    assert_eq!(applications.texts("ApplicationName"), [""; 0]);
}
