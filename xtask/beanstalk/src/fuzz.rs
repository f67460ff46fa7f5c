//! Everything that is read of a request, given what no client sends: seeds of real calls, changed
//! at random. Nothing may panic, and what is read obeys a few laws.
//!
//! The numbers are the same in every run. `STEVEDORE_FULL=1` makes ten million inputs of it; that
//! is for `cargo test --release`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use axum::http::request::Parts;

use crate::ebextensions::{self, Extensions};
use crate::platforms;
use crate::server::answer::{self, Refusal};
use crate::server::auth;
use crate::server::query::Query;
use crate::settings::{self, Settings};
use crate::storage;

const INPUTS: u64 = 25_000;
const ALL_INPUTS: u64 = 10_000_000;

/// Bodies as `eb` sends them.
const CALLS: &[&str] = &[
    "Action=UpdateEnvironment&Version=2010-12-01&EnvironmentName=x&OptionSettings.member.1.\
     Namespace=aws%3Aelasticbeanstalk%3Acommand&OptionSettings.member.1.OptionName=BatchSize&\
     OptionSettings.member.1.Value=30&OptionsToRemove.member.10.OptionName=A&\
     OptionsToRemove.member.2.Namespace=b",
    "Action=DescribeEvents&Version=2010-12-01&ApplicationName=a&EnvironmentName=x&RequestId=\
     0b1c2d3e-0000-4000-8000-000000000000&StartTime=2026-11-21T08%3A22%3A29.749000Z&\
     MaxRecords=1000&Severity=WARN&EndTime=2026-11-21T08%3A22%3A29%2B00%3A00",
    "Action=CreateApplicationVersion&Process=true&SourceBundle.S3Bucket=b&SourceBundle.S3Key=\
     a%2Fb.zip&Tags=&VersionLabel=app-1_0&Description=caf%C3%A9+%26+more",
    "Action=ListPlatformVersions&Filters.member.1.Type=PlatformBranchName&Filters.member.1.\
     Operator=%3D&Filters.member.1.Values.member.1=Docker+running+on+64bit+Amazon+Linux+2023",
    "Action=CreateEnvironment&TemplateSpecification.TemplateSource.EnvironmentName=SRC&\
     PlatformArn=arn%3Aaws%3Aelasticbeanstalk%3Aus-east-1%3A%3Aplatform%2FDocker+running+on+\
     64bit+Amazon+Linux+2023%2F4.3.0&Tier.Name=WebServer&OptionSettings.member.1.Namespace=\
     aws%3Aautoscaling%3Aasg&OptionSettings.member.1.OptionName=MinSize&\
     OptionSettings.member.1.Value=2",
];

const HEADERS: &[&str] = &[
    "AWS4-HMAC-SHA256 Credential=local/20261121/us-east-1/elasticbeanstalk/aws4_request, \
     SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, Signature=\
     0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "AWS4-HMAC-SHA256 Credential=local/20261121/us-east-1/s3/aws4_request,SignedHeaders=host,\
     Signature=00",
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/a/b/20261121/r/s/aws4_request, SignedHeaders=, \
     Signature=",
];

const DATES: &[&str] = &["20261121T082229Z", "20260229T000060Z", "Sat, 21 Nov 2026 08:22:29 GMT"];

const PATHS: &[&str] = &[
    "/elasticbeanstalk-us-east-1-000000000000/app/app-1.zip?uploadId=abc&partNumber=3",
    "/elasticbeanstalk-us-east-1-000000000000?prefix=a%2Fb&encoding-type=url",
    "/b/caf%C3%A9%20%2F..%2F..?uploads",
];

const XML: &[&str] = &[
    "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Part><ETag>\
     &quot;0123456789abcdef0123456789abcdef&quot;</ETag><PartNumber>1</PartNumber></Part><Part>\
     <ETag>0123456789abcdef0123456789abcdef</ETag><PartNumber>2</PartNumber></Part>\
     </CompleteMultipartUpload>",
    "<?xml version=\"1.0\"?><Delete><Object><Key>a &amp; b&#x41;</Key></Object><Quiet>true</Quiet>\
     <!-- c --><Object><Key><![CDATA[x]]></Key></Object></Delete>",
];

const FILES: &[&str] = &[
    "option_settings:\n  aws:elasticbeanstalk:command:\n    BatchSize: 30\n    Timeout: '60'\n",
    "option_settings:\n  - namespace: aws:autoscaling:asg\n    option_name: MinSize\n    \
     value: 1\n",
    "commands:\n  01_a:\n    command: [sh, -c, \"true\"]\n    env: {A: 1}\n    ignoreErrors: true\n\
     container_commands:\n  x: {command: 'y', leader_only: true, test: \"[ -f z ]\", cwd: /tmp}\n",
    "a: &a [1, 2]\nfiles: *a\nResources: {\"b\": !!str null, c: ~, d: 0x1F, e: .inf, f: 1e400}\n",
    "{\"option_settings\": {\"a\": {\"b\": true}}}",
];

/// What parsers stumble over.
const TOKENS: &[&[u8]] = &[
    b"&",
    b"=",
    b".",
    b"%",
    b"%00",
    b"%ff",
    b"+",
    b".member.",
    b".member.1",
    b"4294967296",
    b"-1",
    b"18446744073709551616",
    b"\xff\xfe",
    "é".as_bytes(),
    "\u{10ffff}".as_bytes(),
    b"\0",
    b"\r\n",
    b"/",
    b"..",
    b"//",
    b"?",
    b"<",
    b">",
    b"</",
    b"&#x110000;",
    b"&#0;",
    b"&lt;",
    b"<![CDATA[",
    b"<!DOCTYPE a [<!ENTITY b \"c\">]>",
    b"'",
    b"\"",
    b"T",
    b"Z",
    b"+00:00",
    b"9999-12-31T23:59:60Z",
    b",",
    b";",
    b"aws4_request",
    b"Signature=",
    b"[",
    b"{",
    b": ",
    b"\n  ",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!binary ",
    b"|\n",
    b"true",
    b"~",
    b"\t",
    b"---\n",
    b"? ",
    b"#",
];

type Seeds = &'static [&'static str];
type Read = fn(&[u8]);

const TARGETS: [(&str, Seeds, Read); 6] = [
    ("a call", CALLS, call),
    ("an authorization", HEADERS, authorization),
    ("a date", DATES, date),
    ("a path", PATHS, path),
    ("a list", XML, list),
    ("a configuration file", FILES, configuration),
];

/// SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    /// A seed, changed one to eight times.
    fn input(&mut self, seeds: Seeds) -> Vec<u8> {
        let mut input = self.of(seeds).as_bytes().to_vec();
        for _ in 0..=self.below(8) {
            let at = self.below(input.len() + 1);
            let end = (at + self.below(40)).min(input.len());
            match self.below(7) {
                0 if at < input.len() => input[at] ^= 1 << self.below(8),
                1 if at < input.len() => input[at] = u8::try_from(self.below(256)).unwrap(),
                2 => drop(input.splice(at..at, self.of(TOKENS).iter().copied())),
                3 => drop(input.splice(at..end, self.of(TOKENS).iter().copied())),
                4 => drop(input.drain(at..end)),
                5 => {
                    let part = input[at..end].repeat(1 + self.below(20));
                    input.splice(at..at, part);
                }
                _ => {
                    let other = self.of(seeds).as_bytes();
                    input.truncate(at);
                    input.extend(&other[self.below(other.len())..]);
                }
            }
        }
        input
    }
}

#[test]
fn no_input_makes_a_reader_panic() {
    #[allow(clippy::disallowed_methods)] // A test of this crate has no other way to be told.
    let full = std::env::var_os("STEVEDORE_FULL").is_some_and(|it| it == "1");
    let count = if full { ALL_INPUTS } else { INPUTS };
    let mut numbers = Numbers(20_261_122);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut problem = None;
    for _ in 0..count {
        let (name, seeds, read) = TARGETS[numbers.below(TARGETS.len())];
        let input = numbers.input(seeds);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| read(&input))) {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
            problem = Some(format!("{name}: {text:?} of {:?}", input.escape_ascii().to_string()));
            break;
        }
    }
    std::panic::set_hook(hook);
    assert_eq!(problem, None);
}

/// A refusal is one that `eb` bears, and XML.
fn check<T>(result: Result<T, Refusal>) {
    let Err(refusal) = result else { return };
    assert!((400..500).contains(&refusal.status), "{refusal:?}");
    well_formed(&answer::refusal(&refusal, "r"));
}

fn well_formed(xml: &str) {
    assert!(storage::xml::elements(xml.as_bytes()).is_some(), "no XML: {xml}");
}

fn call(input: &[u8]) {
    let query = Query::parse(input);
    for name in ["OptionSettings", "OptionsToRemove", "Filters", "Tags", "Values"] {
        let members = query.list(name);
        assert!(members.iter().all(|member| !member.is_empty()));
        assert!(query.texts(name).len() <= members.len());
        for member in members {
            member.text("Namespace");
            check(member.required("OptionName"));
        }
    }
    let mut whole = query.clone();
    for name in ["SourceBundle", "TemplateSpecification.TemplateSource", "Tier", "", "KeyName"] {
        let inner = query.inner(name);
        // What is taken out and put back is what was there.
        whole.adopt(name, inner);
        assert_eq!(whole, query);
    }
    for name in ["StartTime", "EndTime", "MaxRecords", "Severity", "Process", "Description"] {
        check(query.moment(name));
        check(query.number(name, 1000));
        check(query.severity(name));
        check(query.flag(name));
        check(query.required(name));
    }
    let mut changed = Settings::new();
    let result = settings::change(&mut changed, &query);
    if result.is_ok() {
        assert!(settings::problems(&changed).is_empty());
        let all = settings::effective(&Settings::new(), &changed);
        assert!(settings::instances(&all) <= settings::MOST_INSTANCES);
    }
    check(result);
    check(platforms::named(&query));
    check(platforms::list_branches(&query));
    check(platforms::list_versions(&query, "us-east-1"));
    check(platforms::describe(&query, "us-east-1"));
    for text in ["Description", "EnvironmentName", "ApplicationName"].map(|name| query.text(name)) {
        well_formed(&format!("<a>{}</a>", answer::text(text.unwrap_or_default())));
    }
}

fn parts(authorization: &[u8], date: &[u8], path: &str) -> Option<Parts> {
    use axum::http::{HeaderValue, Request, Uri};
    let mut request =
        Request::builder().method("POST").uri(path.parse::<Uri>().ok()?).body(()).ok()?;
    let headers = request.headers_mut();
    headers.insert("host", HeaderValue::from_static("127.0.0.1:9080"));
    headers.insert("authorization", HeaderValue::from_bytes(authorization).ok()?);
    headers.insert("x-amz-date", HeaderValue::from_bytes(date).ok()?);
    Some(request.into_parts().0)
}

/// The moment of the seeds: 2026-11-21T08:22:29Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_249_349)
}

fn refused(parts: Option<Parts>) {
    let Some(parts) = parts else { return };
    let checked = auth::check(&parts, now());
    // Nobody finds a signature by chance.
    assert!(checked.is_err(), "let in: {parts:?}");
    check(checked);
}

fn authorization(input: &[u8]) {
    refused(parts(input, DATES[0].as_bytes(), "/"));
    refused(parts(input, DATES[0].as_bytes(), PATHS[0]));
}

fn date(input: &[u8]) {
    refused(parts(HEADERS[0].as_bytes(), input, "/"));
}

fn path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some(parts) = parts(HEADERS[1].as_bytes(), DATES[0].as_bytes(), text) else { return };
    if let Some((bucket, key)) = storage::split(parts.uri.path()) {
        well_formed(&format!("<a>{}</a>", answer::text(&format!("{bucket}/{key}"))));
    }
    call(parts.uri.query().unwrap_or_default().as_bytes());
    refused(Some(parts));
}

fn list(input: &[u8]) {
    if let Some(elements) = storage::xml::elements(input) {
        assert!(elements.len() <= input.len());
        for (name, text) in elements {
            assert!(!name.is_empty());
            well_formed(&format!("<a>{}</a>", answer::text(&text)));
        }
    }
    match storage::parts::numbered(input) {
        // Its sums are names of files.
        Ok(parts) => {
            let plain =
                |sum: &String| sum.len() == 32 && sum.bytes().all(|it| it.is_ascii_hexdigit());
            assert!(!parts.is_empty() && parts.values().all(plain));
        }
        Err(refusal) => check::<()>(Err(refusal)),
    }
}

fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut extensions = Extensions::default();
    match ebextensions::read(&mut extensions, "a.config", text) {
        Ok(()) => drop(settings::problems(&extensions.settings)),
        Err(error) => assert!(format!("{error:#}").lines().count() < 3, "{error:#}"),
    }
}
