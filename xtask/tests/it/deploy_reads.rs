//! How AWS is asked: by curl, with credentials that nobody sees and that are asked for again before
//! they end; by the AWS CLI where curl cannot. AWS itself is a curl that answers from a list.

use std::process::Command;

use serde_json::json;

use crate::dsl::{Answer, Project};

/// In all credentials, and in nothing else.
const SIGN: &str = "c4nary";

/// Answers as AWS does, and keeps what it was told by argv and on stdin apart. A file `expired`
/// makes it refuse one question.
const CURL: &str = r#"
case "$*" in *--version*) echo "curl $(cat "$place/version") (x)"; exit ;; esac
echo "curl $*" >> "$place/calls"
cat >> "$place/stdin"
action=$(expr "$*" : '.*Action=\([A-Za-z]*\)')
[ -e "$place/unreachable" ] && { echo "curl: (60) who is that?" >&2; printf 000 >&2; exit 60; }
if [ -e "$place/expired" ] && [ "$action" != GetCallerIdentity ]; then
    rm "$place/expired"
    printf '<ErrorResponse><Error><Code>ExpiredToken</Code><Message>old</Message></Error>'
    printf '</ErrorResponse>'; printf 403 >&2; exit
fi
case $action in
GetCallerIdentity) body='<Account>123456789012</Account>' ;;
DescribeEnvironments)
    body='<Environments><member><VersionLabel>1.0.0-0a</VersionLabel><Status>Ready</Status>'
    body="$body<Health>Green</Health></member></Environments>" ;;
DescribeEvents) body='<Events/>' ;;
DescribeInstancesHealth) body='<InstanceHealthList/>' ;;
DescribeConfigurationSettings) body='<ConfigurationSettings/>' ;;
esac
printf '<R><%sResult>%s</%sResult></R>' "$action" "$body" "$action"
printf 200 >&2
"#;

/// The interpreter of `aws`: it prints credentials, or is the AWS CLI and answers as that does.
const PYTHON: &str = r#"#!/bin/sh
if [ "$1" = - ]; then
    echo export >> "$place/calls"
    [ -e "$place/no-botocore" ] && exit 1
    expires=$(date -u -d "$(cat "$place/expires")" +%FT%T+00:00)
    printf '{"AccessKeyId": "AKIA-c4nary", "SecretAccessKey": "c4nary/1+", '
    printf '"SessionToken": "c4nary==", "Expiration": "%s"}' "$expires"; exit
fi
shift
echo "aws $*" >> "$place/calls"
case "$*" in
*get-caller-identity*) echo '{"Account": "123456789012"}' ;;
*describe-environments*)
    echo '{"Environments": [{"VersionLabel": "1.0.0-0a", "Status": "Ready", "Health": "Green"}]}' ;;
*describe-events*) echo '{"Events": []}' ;;
*describe-instances-health*) echo '{"InstanceHealthList": []}' ;;
*describe-configuration-settings*) echo '{"ConfigurationSettings": []}' ;;
esac
"#;

/// A project in whose environment something is being deployed.
struct Watched {
    project: Project,
    remote: tempfile::TempDir,
    entry: String,
}

impl Watched {
    fn new() -> Watched {
        let mut project = Project::new();
        let place = project.scratch().display().to_string();
        project.fake("curl", &format!("place='{place}'\n{CURL}"));
        let python = PYTHON.replacen('\n', &format!("\nplace='{place}'\n"), 1);
        project.file("fake/python3", python).mode("fake/python3", 0o755);
        let interpreter = project.path("fake/python3").display().to_string();
        project.file("fake/aws", format!("#!{interpreter}\n")).mode("fake/aws", 0o755);
        project.file("fake/eb", "#!/bin/sh\n").mode("fake/eb", 0o755);
        project.variable("HOME", &place);
        for name in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONFIG_FILE"] {
            project.variable(name, "");
        }
        project.mkdir("environments/prod").in_git();
        let remote = tempfile::tempdir().unwrap();
        let entry = json!({
            "schema": "stevedore.deployment/1", "number": 1, "kind": "deploy", "version": "1.0.0",
            "label": "1.0.0-0a", "bundle": "0a", "images": {},
            "settings": {"template": "kept", "sha256": "0b", "names": [], "attached": []},
            "target": {"account": "123456789012", "region": "eu-central-1",
                       "application": "shop", "environment": "shop-prod"},
            "by": {"name": "Ada", "email": "ada@example.org"}, "owner": "a clone",
            "begun": "2026-01-01T00:00:00Z", "expires": "2999-01-01T00:00:00Z", "after": null,
            "verdict": null,
        });
        project.file("deployments.jsonl", format!("{entry}\n"));
        let mut watched = Watched { project, remote, entry: String::new() };
        watched.git(&["config", "user.name", "Ada"]);
        watched.git(&["config", "user.email", "ada@example.org"]);
        let there = watched.remote.path().display().to_string();
        watched.git(&["init", "--quiet", "--bare", &there]);
        watched.git(&["remote", "add", "origin", &there]);
        watched.git(&["add", "deployments.jsonl"]);
        watched.git(&["commit", "--quiet", "--message", "begun"]);
        watched.entry = watched.git(&["rev-parse", "HEAD"]);
        watched.set("version", "8.5.0").set("expires", "1 hour");
        watched
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.project.root())
            .env("GIT_DIR", self.project.path(".git"))
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn set(&self, file: &str, text: &str) -> &Watched {
        std::fs::write(self.project.scratch().join(file), text).unwrap();
        self
    }

    /// Looks on at the deployment, which goes on again.
    fn attach(&self) -> Answer {
        let branch = format!("{}:refs/heads/stevedore/deployments/prod", self.entry);
        self.git(&["push", "--quiet", "--force", "origin", &branch]);
        self.set("calls", "").set("stdin", "");
        self.project.xtask(&["--verbose", "deploy", "--attach", "--env", "prod", "--settle", "1"])
    }

    /// The same, to its end; and what was called.
    fn look_on(&self) -> (Answer, Vec<String>) {
        let answer = self.attach().succeeds().prints("prod runs 1.0.0 (1.0.0-0a): Ready, Green");
        let calls = std::fs::read_to_string(self.project.scratch().join("calls")).unwrap();
        for text in [&answer.stdout, &answer.stderr, &calls] {
            assert!(!text.contains(SIGN), "{text}");
        }
        (answer, calls.lines().map(str::to_owned).collect())
    }

    fn stdin(&self) -> String {
        std::fs::read_to_string(self.project.scratch().join("stdin")).unwrap()
    }
}

/// How often credentials were asked for, then the questions by curl and by the AWS CLI.
fn counts(calls: &[String]) -> [usize; 3] {
    ["export", "curl ", "aws "].map(|start| calls.iter().filter(|it| it.starts_with(start)).count())
}

#[test]
fn credentials_reach_curl_on_its_stdin_and_nothing_else() {
    let mut watched = Watched::new();
    let (answer, calls) = watched.look_on();
    assert_eq!(counts(&calls), [1, 6, 0], "{calls:?}");
    assert!(calls[1].contains("--config - "), "{calls:?}");
    assert!(calls[1].contains("--url https://sts.eu-central-1.amazonaws.com/"), "{calls:?}");
    answer.says("Action=DescribeEvents").says("--aws-sigv4 aws:amz:eu-central-1:elasticbeanstalk");
    let config = "user = \"AKIA-c4nary:c4nary/1+\"\nheader = \"X-Amz-Security-Token: c4nary==\"\n";
    assert_eq!(watched.stdin(), config.repeat(6));

    // Those of a job are in its variables: no Python starts.
    watched.project.variable("AWS_ACCESS_KEY_ID", "AKIA-job-c4nary");
    watched.project.variable("AWS_SECRET_ACCESS_KEY", "c4nary");
    assert_eq!(counts(&watched.look_on().1), [0, 6, 0]);
    assert_eq!(watched.stdin(), "user = \"AKIA-job-c4nary:c4nary\"\n".repeat(6));
    // There are no others.
    watched.set("expired", "");
    let lost = watched.attach().exits(4);
    lost.says("the credentials are missing, wrong or have expired").says("(ExpiredToken)");
}

#[test]
fn credentials_that_end_are_asked_for_again() {
    let watched = Watched::new();
    // For the first question too: they were asked for when the command began.
    watched.set("expires", "4 minutes");
    assert_eq!(counts(&watched.look_on().1), [7, 6, 0]);
    watched.set("expires", "6 minutes");
    assert_eq!(counts(&watched.look_on().1), [1, 6, 0]);
    // The service takes them no more, whatever was said of their end.
    watched.set("expired", "");
    assert_eq!(counts(&watched.look_on().1), [2, 7, 0]);
}

#[test]
fn where_curl_cannot_ask_the_aws_cli_does() {
    let watched = Watched::new();
    watched.set("version", "7.81.0");
    let (_, calls) = watched.look_on();
    assert_eq!(counts(&calls), [0, 0, 6], "{calls:?}");
    let asked = "elasticbeanstalk describe-environments --application-name shop";
    assert!(calls[1].contains(asked), "{calls:?}");
    watched.set("version", "7.87.0").set("no-botocore", "");
    assert_eq!(counts(&watched.look_on().1), [1, 0, 6]);
    std::fs::remove_file(watched.project.scratch().join("no-botocore")).unwrap();
    // What is in curl's way may not be in that of the AWS CLI.
    watched.set("unreachable", "");
    assert_eq!(counts(&watched.look_on().1), [1, 1, 6]);
    // A profile may lead elsewhere, which only the AWS CLI knows.
    std::fs::create_dir(watched.project.scratch().join(".aws")).unwrap();
    watched.set(".aws/config", "[default]\nuse_fips_endpoint = true\n");
    assert_eq!(counts(&watched.look_on().1), [0, 0, 6]);
}
