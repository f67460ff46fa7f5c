//! How AWS is asked, by curl and by the AWS CLI, and how its answers are read.

use std::path::Path;
use std::time::{Duration, SystemTime};

use expect_test::expect;
use serde_json::json;
use xshell::Shell;

use super::credentials::{self, Credentials};
use super::query::{self, Question, Refusal};
use super::{Access, Environments, Of, Place, Properties};
use crate::tools::curl::{self, Trust};

fn access(region: &str, fence: &[(&str, &str)]) -> Access {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Access {
        eb: "/bin/eb".into(),
        aws: "/bin/aws".into(),
        region: region.into(),
        profile: None,
        fence: fence.iter().map(text).collect(),
    }
}

const LOCAL: [(&str, &str); 3] = [
    ("AWS_ENDPOINT_URL", "http://127.0.0.1:9080"),
    ("AWS_ACCESS_KEY_ID", "local"),
    ("AWS_SECRET_ACCESS_KEY", "local"),
];

/// Both ways, an option a line; what is the same in all is left out.
fn asked(question: &Question, access: &Access) -> String {
    let sh = &Shell::new().unwrap();
    let trust = Trust { past_proxies: !access.fence.is_empty(), ..Trust::default() };
    let curl = question.by_curl(sh, access, &trust, 30).unwrap().to_string();
    let (start, curl) = curl.split_once(" --max-filesize 67108864 ").unwrap();
    assert!(start.starts_with("curl --disable --config - --silent "), "{start}");
    let aws = question.by_cli(sh, access).to_string();
    let (start, aws) = aws.split_once(" --cli-read-timeout 30 ").unwrap();
    let region = &access.region;
    assert!(start.starts_with(&format!("/bin/aws --region {region} --output json")), "{start}");
    format!("{curl}\n{aws}\n").replace(" --", "\n  --")
}

#[test]
fn a_question_is_the_same_for_curl_and_for_the_aws_cli() {
    let access = access("eu-central-1", &[]);
    expect![[r#"
        --data-urlencode Action=GetCallerIdentity
          --data-urlencode Version=2011-06-15
          --url https://sts.eu-central-1.amazonaws.com/
          --aws-sigv4 aws:amz:eu-central-1:sts
          --write-out %{stderr}%{http_code}
        sts get-caller-identity
    "#]]
    .assert_eq(&asked(&super::identity(), &access));
    expect![[r#"
        --data-urlencode Action=DescribeEnvironments
          --data-urlencode Version=2010-12-01
          --data-urlencode ApplicationName=shop
          --data-urlencode EnvironmentNames.member.1=shop-prod
          --data-urlencode IncludeDeleted=false
          --url https://elasticbeanstalk.eu-central-1.amazonaws.com/
          --aws-sigv4 aws:amz:eu-central-1:elasticbeanstalk
          --write-out %{stderr}%{http_code}
        elasticbeanstalk describe-environments
          --application-name shop
          --environment-names shop-prod
          --no-include-deleted
    "#]]
    .assert_eq(&asked(&super::environments("shop", "shop-prod"), &access));
    let since = Some("2026-12-01T01:40:33.888Z");
    expect![[r#"
        --data-urlencode Action=DescribeEvents
          --data-urlencode Version=2010-12-01
          --data-urlencode ApplicationName=shop
          --data-urlencode EnvironmentName=shop-prod
          --data-urlencode MaxRecords=200
          --data-urlencode StartTime=2026-12-01T01:40:33.888Z
          --url https://elasticbeanstalk.eu-central-1.amazonaws.com/
          --aws-sigv4 aws:amz:eu-central-1:elasticbeanstalk
          --write-out %{stderr}%{http_code}
        elasticbeanstalk describe-events
          --application-name shop
          --environment-name shop-prod
          --max-records 200
          --start-time 2026-12-01T01:40:33.888Z
    "#]]
    .assert_eq(&asked(&super::events("shop", "shop-prod", since), &access));
    expect![[r#"
        --data-urlencode Action=DescribeInstancesHealth
          --data-urlencode Version=2010-12-01
          --data-urlencode EnvironmentName=shop-prod
          --data-urlencode AttributeNames.member.1=HealthStatus
          --data-urlencode AttributeNames.member.2=Deployment
          --url https://elasticbeanstalk.eu-central-1.amazonaws.com/
          --aws-sigv4 aws:amz:eu-central-1:elasticbeanstalk
          --write-out %{stderr}%{http_code}
        elasticbeanstalk describe-instances-health
          --environment-name shop-prod
          --attribute-names HealthStatus Deployment
    "#]]
    .assert_eq(&asked(&super::instances("shop-prod"), &access));
}

#[test]
fn a_bundle_comes_from_s3_and_an_address_that_needs_escapes_does_not() {
    let sh = &Shell::new().unwrap();
    let trust = Trust::default();
    let address = |access: &Access, bucket: &str, key: &str| {
        let place = Place { bucket: bucket.into(), key: key.into() };
        let cmd = query::fetch(sh, access, &trust, &place, Path::new("/t/bundle"))?.to_string();
        assert!(cmd.contains("--max-redirs 0") && cmd.ends_with("--output /t/bundle"), "{cmd}");
        let url = cmd.split(" --url ").nth(1)?;
        Some(url.split(' ').next()?.to_owned())
    };
    let bucket = "elasticbeanstalk-eu-central-1-1";
    let url = address(&access("eu-central-1", &[]), bucket, "shop/1.0.0-0a.zip").unwrap();
    let host = "https://elasticbeanstalk-eu-central-1-1.s3.eu-central-1.amazonaws.com";
    assert_eq!(url, format!("{host}/shop/1.0.0-0a.zip"));
    let url = address(&access("us-east-1", &LOCAL), bucket, "shop/a.zip").unwrap();
    assert_eq!(url, "http://127.0.0.1:9080/elasticbeanstalk-eu-central-1-1/shop/a.zip");
    for (bucket, key) in [("a.b", "x"), ("a/b", "x"), ("a", "a b"), ("a", "../b"), ("a", "é")] {
        assert_eq!(address(&access("eu-central-1", &[]), bucket, key), None, "{bucket} {key}");
    }
}

#[test]
fn regions_and_settings_that_lead_elsewhere_are_left_to_the_aws_cli() {
    let sh = &Shell::new().unwrap();
    let is_plain = |region: &str, text: &str| query::is_plain(sh, &access(region, &[]), text);
    for region in ["eu-central-1", "us-gov-west-1", "cn-north-1"] {
        assert!(is_plain(region, "[default]\nregion = us-east-1\n"), "{region}");
    }
    for region in ["us-iso-east-1", "us-isob-east-1", "eusc-de-east-1", "local", "eu-x.org/", ""] {
        assert!(!is_plain(region, ""), "{region}");
    }
    for line in ["endpoint_url = http://x", "use_fips_endpoint=true"] {
        assert!(!is_plain("eu-central-1", &format!("[profile a]\n{line}\n")), "{line}");
    }
    assert!(asked(&super::identity(), &access("cn-north-1", &[])).contains(".amazonaws.com.cn/"));
    for (version, signs) in [("7.88.1 (x)", true), ("8.5.0", true), ("7.86.0", false), ("?", false)]
    {
        assert_eq!(query::signs_headers(&format!("curl {version}")), signs, "{version}");
    }
}

#[test]
fn an_answer_in_xml_is_what_the_aws_cli_prints() {
    let question = super::environments("shop", "prod");
    let xml = r#"<DescribeEnvironmentsResponse xmlns="http://elasticbeanstalk.amazonaws.com/docs/">
        <DescribeEnvironmentsResult><Environments><member>
        <EnvironmentName>a &amp; b</EnvironmentName>
        <CNAME>a.b</CNAME><VersionLabel/><Tier><Name>Web</Name></Tier><EnvironmentLinks/></member>
        </Environments></DescribeEnvironmentsResult></DescribeEnvironmentsResponse>"#;
    let answer = question.parse(xml).unwrap();
    let environment = json!({"EnvironmentName": "a & b", "CNAME": "a.b", "Tier": {"Name": "Web"}});
    assert_eq!(answer, json!({"Environments": [environment]}));
    let found: Environments = super::parse(answer).unwrap();
    assert_eq!(
        (found.environments[0].cname.as_str(), &found.environments[0].version_label),
        ("a.b", &None)
    );

    let none = "<DescribeEnvironmentsResponse><DescribeEnvironmentsResult><Environments/>\
                </DescribeEnvironmentsResult></DescribeEnvironmentsResponse>";
    let found: Environments = super::parse(question.parse(none).unwrap()).unwrap();
    assert!(found.environments.is_empty());
    for text in ["", "<html>secret</html>", "{\"secret\": 1}", &none[..60]] {
        let error = format!("{:#}", question.parse(text).unwrap_err());
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn settings_keep_their_values_to_the_byte() {
    let question = super::settings("shop", Of::Template("t"));
    let option = |namespace: &str, name: &str, value: &str| {
        format!(
            "<member><Namespace>{namespace}</Namespace><OptionName>{name}</OptionName>{value}</member>"
        )
    };
    let options = [
        option(super::PROPERTIES, "LINES", "<Value> a&#xD;\n&lt;b&gt; </Value>"),
        option(super::PROPERTIES, "EMPTY", "<Value></Value>"),
        option(super::PROPERTIES, "NONE", ""),
        option("aws:autoscaling:asg", "MinSize", "<Value>1</Value>"),
    ];
    let xml = format!(
        "<R><DescribeConfigurationSettingsResult><ConfigurationSettings><member><OptionSettings>{}\
         </OptionSettings></member></ConfigurationSettings></DescribeConfigurationSettingsResult></R>",
        options.concat()
    );
    let found: Properties = super::parse_settings(question.parse(&xml).unwrap()).unwrap();
    let found: Vec<_> = found.iter().map(|((_, name), it)| (name.as_str(), it.reveal())).collect();
    assert_eq!(found, [("EMPTY", ""), ("LINES", " a\r\n<b> "), ("NONE", "")]);
}

#[test]
fn refusals_are_said_in_the_words_of_the_aws_cli() {
    let refusal = |code: &str| {
        let xml = format!(
            "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>{code}</Code><Message>no\
             </Message></Error><RequestId>1</RequestId></ErrorResponse>"
        );
        Refusal::parse(&xml).unwrap()
    };
    assert_eq!(
        refusal("AccessDenied").words("DescribeEvents"),
        "An error occurred (AccessDenied) when calling the DescribeEvents operation: no"
    );
    let classes = |code| (refusal(code).is_throttled(), refusal(code).is_expired());
    assert_eq!(classes("Throttling"), (true, false));
    assert_eq!(classes("RequestLimitExceeded"), (true, false));
    assert_eq!(classes("ExpiredToken"), (false, true));
    assert_eq!(classes("ExpiredTokenException"), (false, true));
    assert_eq!(classes("AccessDenied"), (false, false));
    assert_eq!(Refusal::parse("<html>busy</html>"), None);
    for (stderr, status) in [("200", 200), ("curl: (7) no\n000", 0), ("", 0), ("é", 0)] {
        assert_eq!(query::status(stderr), status, "{stderr}");
    }
}

fn config(credentials: &Credentials) -> String {
    curl::config(&credentials.options()).unwrap().reveal().to_owned()
}

#[test]
fn credentials_come_from_variables_unless_a_profile_is_named() {
    let sh = Shell::new().unwrap();
    sh.set_var("AWS_ACCESS_KEY_ID", "AKIA");
    sh.set_var("AWS_SECRET_ACCESS_KEY", "a/b+\"c");
    sh.set_var("AWS_SESSION_TOKEN", "token");
    let mut access = access("eu-central-1", &[]);
    let found = Credentials::of_variables(&sh, &access).unwrap();
    assert!(!format!("{found:?}").contains("a/b"));
    expect![[r#"
        user = "AKIA:a/b+\"c"
        header = "X-Amz-Security-Token: token"
    "#]]
    .assert_eq(&config(&found));
    access.profile = Some("shop".into());
    assert!(Credentials::of_variables(&sh, &access).is_none());
    // Behind the fence the caller's own do not count.
    let found = Credentials::of_variables(&sh, &self::access("us-east-1", &LOCAL)).unwrap();
    assert_eq!(config(&found), "user = \"local:local\"\n");
}

#[test]
fn credentials_that_the_aws_cli_prints_end_five_minutes_early() {
    let printed = r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "b", "SessionToken": "",
        "Expiration": "2026-12-01T01:00:00+00:00"}"#;
    let found = credentials::parse(printed).unwrap();
    assert_eq!(config(&found), "user = \"A:b\"\n");
    let end = humantime::parse_rfc3339("2026-12-01T01:00:00Z").unwrap();
    assert!(!found.are_ending(end - Duration::from_secs(301)));
    assert!(found.are_ending(end - Duration::from_secs(299)));
    let forever = credentials::parse(r#"{"AccessKeyId": "A", "SecretAccessKey": "b"}"#).unwrap();
    assert!(!forever.are_ending(SystemTime::now() + Duration::from_secs(1 << 30)));
    let error = format!("{:#}", credentials::parse("{\"AccessKeyId\": \"c4nary\"}").unwrap_err());
    assert!(!error.contains("c4nary"), "{error}");
}
