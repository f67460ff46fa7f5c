//! Questions in the query protocol of AWS, which `eb` and `aws` speak too: a form, and XML. The
//! same question also as a call of the AWS CLI, whose words follow from those of the protocol.

use std::path::Path;

use anyhow::{Context, Result};
use roxmltree::{Document, Node};
use serde_json::{Map, Value};
use xshell::{Cmd, Shell, cmd};

use super::{Access, Place, aws};
use crate::tools::curl::{self, Limits, Method, Request, Trust};

/// The first curl that signs the headers that it is given: AWS wants `x-amz-…` signed, and
/// temporary credentials need one.
const SIGNS_HEADERS: [u32; 2] = [7, 87];

/// The SHA-256 of nothing: the body of a question to S3.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Largest answer and bundle in bytes; the service takes bundles of 500 MB.
const MOST_ANSWER: u64 = 64 << 20;
const MOST_BUNDLE: u64 = 1 << 30;

/// Elements that hold a list, whatever number of members.
const LISTS: [&str; 6] = [
    "ApplicationVersions",
    "ConfigurationSettings",
    "Environments",
    "Events",
    "InstanceHealthList",
    "OptionSettings",
];

/// A question to a service.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) service: &'static str,
    pub(crate) version: &'static str,
    /// By the names of the protocol, such as `DescribeEvents`.
    pub(crate) action: &'static str,
    pub(crate) parameters: Vec<(&'static str, Parameter)>,
}

#[derive(Debug)]
pub(crate) enum Parameter {
    Text(String),
    List(Vec<String>),
    No,
}

impl Question {
    /// As the AWS CLI is asked.
    pub(crate) fn by_cli<'s>(&self, sh: &'s Shell, access: &Access) -> Cmd<'s> {
        let mut cmd = aws(sh, access).args([self.service, &words(self.action)]);
        for (name, parameter) in &self.parameters {
            cmd = match parameter {
                Parameter::Text(text) => cmd.arg(format!("--{}", words(name))).arg(text),
                Parameter::List(members) => cmd.arg(format!("--{}", words(name))).args(members),
                Parameter::No => cmd.arg(format!("--no-{}", words(name))),
            };
        }
        cmd
    }

    /// As curl asks; the credentials come on its stdin.
    pub(crate) fn by_curl<'s>(
        &self,
        sh: &'s Shell,
        access: &Access,
        trust: &Trust,
        seconds: u32,
    ) -> Option<Cmd<'s>> {
        let request = Request {
            method: Method::Post,
            url: &(endpoint(access, self.service)? + "/"),
            accept: &[],
            form: &self.form(),
            trust,
            limits: limits(seconds, MOST_ANSWER),
        };
        Some(signed(sh, &request, access, self.service))
    }

    fn form(&self) -> Vec<String> {
        let mut form = vec![format!("Action={}", self.action), format!("Version={}", self.version)];
        for (name, parameter) in &self.parameters {
            match parameter {
                Parameter::Text(text) => form.push(format!("{name}={text}")),
                Parameter::List(members) => form.extend(
                    (1..).zip(members).map(|(number, it)| format!("{name}.member.{number}={it}")),
                ),
                Parameter::No => form.push(format!("{name}=false")),
            }
        }
        form
    }

    /// The answer of the service, with the names of the protocol.
    pub(crate) fn parse(&self, xml: &str) -> Result<Value> {
        // What is wrong is said without the text, which may hold secrets.
        let document = Document::parse(xml).ok().context("the service did not answer in XML")?;
        let result = format!("{}Result", self.action);
        let found = document.root_element().children().find(|it| it.has_tag_name(&*result));
        let found = found.with_context(|| format!("the service did not answer {}", self.action))?;
        Ok(value(found).unwrap_or_else(|| Value::Object(Map::new())))
    }
}

/// `DescribeEvents` as the AWS CLI has it: `describe-events`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

/// What is empty is nothing, as where it is left out.
fn value(node: Node<'_, '_>) -> Option<Value> {
    let elements = || node.children().filter(Node::is_element);
    if LISTS.contains(&node.tag_name().name()) {
        let members = elements().map(|it| value(it).unwrap_or_else(|| Value::Object(Map::new())));
        return Some(Value::Array(members.collect()));
    }
    if elements().next().is_none() {
        return node.text().map(Value::from);
    }
    let field = |it: Node<'_, '_>| Some((it.tag_name().name().to_owned(), value(it)?));
    Some(Value::Object(elements().filter_map(field).collect()))
}

/// Why a service does not answer a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    message: String,
}

impl Refusal {
    pub(crate) fn parse(xml: &str) -> Option<Refusal> {
        let document = Document::parse(xml).ok()?;
        let text = |name: &str| {
            let found = document.descendants().find(|it| it.tag_name().name() == name);
            Some(found?.text().unwrap_or_default().to_owned())
        };
        Some(Refusal { code: text("Code")?, message: text("Message")? })
    }

    /// Whether other credentials may help.
    pub(crate) fn is_expired(&self) -> bool {
        self.code.starts_with("ExpiredToken") || self.code == "RequestExpired"
    }

    /// Whether the service and who signed do not agree.
    pub(crate) fn is_about_signature(&self) -> bool {
        self.code.contains("Signature")
    }

    /// Whether the same question may be answered later, by the rules of botocore.
    pub(crate) fn is_throttled(&self) -> bool {
        let codes = ["RequestLimitExceeded", "TooManyRequestsException", "PriorRequestNotComplete"];
        self.code.contains("Throttl") || codes.contains(&self.code.as_str())
    }

    /// In the words of the AWS CLI.
    pub(crate) fn words(&self, action: &str) -> String {
        let Refusal { code, message } = self;
        format!("An error occurred ({code}) when calling the {action} operation: {message}")
    }
}

/// Gets a bundle from S3 into a file, where its address needs no escapes; the credentials come on
/// stdin, and go nowhere else.
pub(crate) fn fetch<'s>(
    sh: &'s Shell,
    access: &Access,
    trust: &Trust,
    place: &Place,
    file: &Path,
) -> Option<Cmd<'s>> {
    let Place { bucket, key } = place;
    let plain = |text: &str, more: &[char]| {
        text.chars().all(|it| it.is_ascii_alphanumeric() || more.contains(&it))
    };
    if !plain(bucket, &['-']) || !plain(key, &['-', '_', '.', '/']) || key.contains("..") {
        return None;
    }
    let url = match access.local_endpoint() {
        Some(endpoint) => format!("{endpoint}/{bucket}/{key}"),
        None => endpoint(access, "s3")?.replacen("//", &format!("//{bucket}."), 1) + "/" + key,
    };
    let request = Request {
        method: Method::Get,
        url: &url,
        accept: &[],
        form: &[],
        trust,
        limits: limits(60 * 60, MOST_BUNDLE),
    };
    let sum = format!("x-amz-content-sha256: {NOTHING}");
    let cmd = signed(sh, &request, access, "s3").args(["--max-redirs", "0", "--header", &sum]);
    Some(cmd.arg("--output").arg(file))
}

fn limits(answer_seconds: u32, bytes: u64) -> Limits {
    Limits { connect_seconds: 10, answer_seconds, stall_seconds: 30, bytes }
}

/// An answer goes to stdout, which no kill leaves behind: it may hold secrets. The status comes
/// last on stderr.
fn signed<'s>(sh: &'s Shell, request: &Request<'_>, access: &Access, service: &str) -> Cmd<'s> {
    let scope = format!("aws:amz:{}:{service}", access.region);
    let status = "%{stderr}%{http_code}";
    curl::request(sh, request, true).args(["--aws-sigv4", &scope, "--write-out", status])
}

/// The status of an answer to a question by curl.
pub(crate) fn status(stderr: &str) -> u16 {
    let start = stderr.len().saturating_sub(3);
    stderr.get(start..).and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// Where a service is; nothing for regions whose names follow other rules.
fn endpoint(access: &Access, service: &str) -> Option<String> {
    if let Some(endpoint) = access.local_endpoint() {
        return Some(endpoint.to_owned());
    }
    let region = &access.region;
    let is_usual = |part: &str| {
        let others = ["", "iso", "isob", "isoe", "isof", "eusc"];
        part.chars().all(|it| it.is_ascii_alphanumeric()) && !others.contains(&part)
    };
    if !region.contains('-') || !region.split('-').all(is_usual) {
        return None;
    }
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    Some(format!("https://{service}.{region}.amazonaws.com{end}"))
}

/// Whether questions go where the AWS CLI sends them: nothing in its settings leads elsewhere.
pub(crate) fn is_plain(sh: &Shell, access: &Access, settings: &str) -> bool {
    let leads = ["endpoint_url", "use_fips_endpoint", "use_dualstack_endpoint"];
    let variables = ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"];
    !leads.iter().any(|it| settings.contains(it))
        && variables.iter().all(|it| access.variable(sh, it).is_none())
        && endpoint(access, "sts").is_some()
}

pub(crate) fn curl_version(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "curl --version")
}

/// Whether a curl of this version can ask.
pub(crate) fn signs_headers(version: &str) -> bool {
    let version = version.strip_prefix("curl ").unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    [numbers.next(), numbers.next()].map(Option::unwrap_or_default) >= SIGNS_HEADERS
}
