//! What registries answer, and what docker keeps, read as docker reads it; and curl's argv.

use std::path::Path;

use expect_test::{Expect, expect};
use serde_json::json;
use xshell::Shell;

use super::{
    Document, Insecure, check_image, check_reference, digest, parse_challenge, parse_errors,
    parse_manifest, parse_token,
};
use crate::secret::Secret;
use crate::tools::curl::{self, Limits, Method, Request, Trust};
use crate::tools::docker_config;

mod unpack;

fn request(url: &str, method: Method, trust: &Trust, with_config: bool) -> String {
    let limits = Limits { connect_seconds: 10, answer_seconds: 20, stall_seconds: 30, bytes: 4096 };
    let form = ["service=a b".to_owned(), "scope=repository:x:pull".to_owned()];
    let form: &[String] = if method == Method::Head { &[] } else { &form };
    let accept: &[&str] = if method == Method::Get { &["a/b", "c/d"] } else { &[] };
    let request = Request { method, url, accept, form, trust, limits };
    let sh = &Shell::new().unwrap();
    let cmd = curl::request(sh, &request, with_config);
    curl::into_files(cmd, Path::new("/t/head"), Path::new("/t/body")).to_string()
}

#[test]
fn curl_is_told_all_but_secrets_by_argv() {
    let trust = Trust::default();
    let check = |text: String, expected: Expect| expected.assert_eq(&text);
    check(
        request("https://host/v2/", Method::Get, &trust, false),
        expect![[
            r#"curl --disable --silent --show-error --globoff --proto =https --connect-timeout 10 --max-time 20 --speed-limit 1000 --speed-time 30 --max-filesize 4096 --get --location --max-redirs 5 --header "Accept: a/b, c/d" --data-urlencode "service=a b" --data-urlencode scope=repository:x:pull --url https://host/v2/ --dump-header /t/head --output /t/body"#
        ]],
    );
    check(
        request("https://host/v2/x", Method::Head, &trust, true),
        expect![
            "curl --disable --config - --silent --show-error --globoff --proto =https --connect-timeout 10 --max-time 20 --speed-limit 1000 --speed-time 30 --max-filesize 4096 --head --location --max-redirs 5 --url https://host/v2/x --dump-header /t/head --output /t/body"
        ],
    );
    let authority = Some("/etc/docker/certs.d/host/ca.crt".into());
    let trust = Trust { insecure: true, authority, past_proxies: true };
    check(
        request("http://host/token", Method::Post, &trust, true),
        expect![[
            r#"curl --disable --config - --silent --show-error --globoff --proto =http,https --connect-timeout 10 --max-time 20 --speed-limit 1000 --speed-time 30 --max-filesize 4096 --insecure --proxy  --cacert /etc/docker/certs.d/host/ca.crt --data-urlencode "service=a b" --data-urlencode scope=repository:x:pull --url http://host/token --dump-header /t/head --output /t/body"#
        ]],
    );
}

#[test]
fn secrets_are_lines_of_a_configuration() {
    let config = |value: &str| curl::config(&[("header", Secret::new(value))]);
    expect![[r#"
        header = "Authorization: a\"b\\c"
    "#]]
    .assert_eq(config("Authorization: a\"b\\c").unwrap().reveal());
    for value in ["a\nurl = \"file:///etc/passwd\"", "a\r", "a\0"] {
        assert!(config(value).is_err(), "{value:?}");
    }
    assert_eq!(format!("{:?}", config("s3cret").unwrap()), "…");
}

#[test]
fn the_last_answer_counts() {
    let text = "HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 307 Temporary Redirect\r\n\
                Location: https://s3/x\r\nETag: 1\r\n\r\n\
                HTTP/2 206 \r\nDocker-Content-Digest: d\r\n\
                WWW-Authenticate: Basic realm=\"a:b\"\r\nwww-authenticate: Bearer x\r\n\r\n";
    let head = curl::parse_head(text).unwrap();
    assert_eq!((head.status, head.get("docker-content-digest")), (206, Some("d")));
    assert_eq!(head.get("etag"), None);
    let all: Vec<&str> = head.all("www-authenticate").collect();
    assert_eq!(all, ["Basic realm=\"a:b\"", "Bearer x"]);
    for text in ["", "\r\n", "HTTP/1.1\r\n", "HTTP/1.1 abc\r\n", "Status: 200\r\n"] {
        assert_eq!(curl::parse_head(text), None, "{text:?}");
    }
}

#[test]
fn curls_words_are_without_its_number() {
    for (stderr, words) in [
        ("curl: (7) Failed to connect to h port 1", "Failed to connect to h port 1"),
        (
            "Warning: x\ncurl: (6) Could not (really)\u{1b}[31m resolve\nmore",
            "Could not (really)[31m resolve",
        ),
        ("curl: option --x: is unknown", "option --x: is unknown"),
        ("", ""),
    ] {
        assert_eq!(curl::words(stderr), words);
    }
}

#[test]
fn demands_for_a_login() {
    let check = |headers: &[&str], expected: Expect| {
        expected.assert_eq(&format!("{:?}", parse_challenge(headers.iter().copied())));
    };
    check(&["Basic realm=\"Registry Realm\""], expect!["Some(Basic)"]);
    check(
        &[
            r#"Bearer realm="https://auth.example.com/token",service="a, b",scope="repository:x:pull,push",error="x""#,
        ],
        expect![[
            r#"Some(Bearer { realm: "https://auth.example.com/token", service: Some("a, b"), scope: Some("repository:x:pull,push") })"#
        ]],
    );
    check(
        &[r#"bearer Realm=https://h/t , Service="a\"b""#],
        expect![[r#"Some(Bearer { realm: "https://h/t", service: Some("a\"b"), scope: None })"#]],
    );
    check(
        &["Basic realm=\"x\"", "Bearer realm=\"https://h/t\""],
        expect![[r#"Some(Bearer { realm: "https://h/t", service: None, scope: None })"#]],
    );
    check(
        &["Basic realm=\"x\", Bearer realm=\"https://h/t\""],
        expect![[r#"Some(Bearer { realm: "https://h/t", service: None, scope: None })"#]],
    );
    for nothing in ["", "Bearer", "Bearer service=\"x\"", "Negotiate abc==", ",,=", "Bearer realm"]
    {
        assert_eq!(parse_challenge([nothing].into_iter()), None, "{nothing:?}");
    }
    check(
        &["Bearer realm=\"https://h"],
        expect![[r#"Some(Bearer { realm: "https://h", service: None, scope: None })"#]],
    );
}

#[test]
fn tokens() {
    for text in
        [r#"{"token":"t"}"#, r#"{"access_token":"t"}"#, r#"{"token":"","access_token":"t"}"#]
    {
        assert_eq!(parse_token(text.as_bytes()).unwrap().reveal(), "t");
    }
    for text in ["", "[]", "{}", r#"{"token":""}"#, r#"{"token":["s3cret"]}"#] {
        assert_eq!(parse_token(text.as_bytes()).unwrap_err().to_string(), "it gave no token");
    }
}

#[test]
fn refusals_are_safe_to_print() {
    let body = json!({"errors": [{"code": "DENIED", "message": "no\u{1b}[2J\nway", "detail": 1}]});
    let words = parse_errors(body.to_string().as_bytes());
    assert_eq!(words.as_deref(), Some("DENIED no[2Jway"));
    for body in ["", "<html>", "{}", r#"{"errors":[]}"#, r#"{"errors":[{}]}"#] {
        assert_eq!(parse_errors(body.as_bytes()), None, "{body}");
    }
}

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

#[test]
fn manifests() {
    let blob = |kind: &str| json!({"digest": digest(b""), "size": 0, "mediaType": kind});
    let manifest = |kind: Option<&str>| {
        let mut manifest = json!({"config": blob("c"), "layers": [blob("a"), blob("b")]});
        if let Some(kind) = kind {
            manifest["mediaType"] = kind.into();
        }
        manifest
    };
    let parse = |called: Option<&str>, manifest: &serde_json::Value| match parse_manifest(
        called,
        manifest.to_string().into_bytes(),
    ) {
        Ok(Document::Image(image)) => format!("{} {}", image.media_type, image.layers.len()),
        Ok(Document::Index(index)) => format!("{} {}", index.media_type, index.entries.len()),
        Err(error) => error.to_string(),
    };
    let typed = format!("{OCI}; charset=utf-8");
    let mut both = manifest(Some(OCI));
    both["manifests"] = json!([]);
    let mut foreign = manifest(Some(OCI));
    foreign["layers"][1]["digest"] = "sha512:00".into();
    let mut bare = manifest(Some(OCI));
    bare["layers"].take();
    let index = json!({"schemaVersion": 2, "manifests": []});
    let list = json!({"mediaType": "application/vnd.docker.distribution.manifest.list.v2+json"});
    let table = [
        ("docker's", parse(Some(DOCKER), &manifest(Some(DOCKER)))),
        ("OCI's, called so by the registry only", parse(Some(&typed), &manifest(None))),
        ("called so by itself only", parse(Some("text/plain"), &manifest(Some(OCI)))),
        ("called so by nobody", parse(Some("text/plain"), &manifest(None))),
        ("called two things", parse(Some(DOCKER), &manifest(Some(OCI)))),
        ("an index", parse(Some("application/vnd.oci.image.index.v1+json"), &index)),
        ("a list", parse(None, &list)),
        ("an image and an index", parse(Some(OCI), &both)),
        ("another kind", parse(None, &json!({"mediaType": "x/y"}))),
        ("another hash", parse(Some(OCI), &foreign)),
        ("without layers", parse(Some(OCI), &bare)),
        ("something else", parse(Some(OCI), &json!([1]))),
    ];
    let table: Vec<String> = table.map(|(what, said)| format!("{what}: {said}")).to_vec();
    expect![[r#"
        docker's: application/vnd.docker.distribution.manifest.v2+json 2
        OCI's, called so by the registry only: application/vnd.oci.image.manifest.v1+json 2
        called so by itself only: application/vnd.oci.image.manifest.v1+json 2
        called so by nobody: it does not say which kind of manifest it is
        called two things: the registry calls it application/vnd.docker.distribution.manifest.v2+json, it calls itself "application/vnd.oci.image.manifest.v1+json"
        an index: application/vnd.oci.image.index.v1+json 0
        a list: it is an index and names no images
        an image and an index: it is an image and an index at once
        another kind: it is a "x/y", not an image
        another hash: "sha512:00" is no sha256 digest
        without layers: it names no layers
        something else: it is no manifest of an image"#]].assert_eq(&table.join("\n"));
}

#[test]
fn names_that_could_lead_elsewhere_are_refused() {
    for image in ["app", "a/b-c_d.e", "0"] {
        check_image(image).unwrap();
    }
    for image in ["", "/", "a//b", "../a", "a/..", "A", "a?b", "a#b", "a b", "a\n", "-a", "a/%2e"] {
        assert!(check_image(image).is_err(), "{image:?}");
    }
    for reference in ["1", "v1.2.3-rc.1", "_", "f-00", &digest(b""), &"a".repeat(128)] {
        check_reference(reference).unwrap();
    }
    for reference in ["", "-a", ".a", "a/b", "a:b", "sha256:00", "a?b", "ä", &"a".repeat(129)] {
        assert!(check_reference(reference).is_err(), "{reference:?}");
    }
}

#[test]
fn what_the_engine_takes_for_insecure() {
    let insecure: Insecure = serde_json::from_value(json!({
        "IndexConfigs": {
            "docker.io": {"Name": "docker.io", "Mirrors": [], "Secure": true, "Official": true},
            "plain.example:5000": {"Name": "plain.example:5000", "Secure": false},
        },
        "InsecureRegistryCIDRs": ["10.1.0.0/16", "127.0.0.0/8", "fd00::/8", "odd"],
        "Mirrors": null,
    }))
    .unwrap();
    for (host, address, expected) in [
        ("docker.io", "10.1.0.1", false),
        ("plain.example:5000", "192.0.2.1", true),
        ("plain.example", "192.0.2.1", false),
        ("a.example", "10.1.255.255", true),
        ("a.example", "10.2.0.0", false),
        ("a.example", "127.0.0.1", true),
        ("a.example", "fd12::1", true),
        ("a.example", "fe80::1", false),
    ] {
        assert_eq!(insecure.holds(host, &[address.parse().unwrap()]), expected, "{host} {address}");
    }
    let everywhere: Insecure =
        serde_json::from_value(json!({"InsecureRegistryCIDRs": ["0.0.0.0/0"]})).unwrap();
    assert!(everywhere.holds("a.example", &["192.0.2.1".parse().unwrap()]));
    assert!(!Insecure::default().holds("a.example", &["127.0.0.1".parse().unwrap()]));
}

#[test]
fn dockers_logins_are_found_as_docker_finds_them() {
    let config = json!({
        "auths": {
            "a.example": {"auth": "bWU6YTpiAAA="},
            "https://b.example/v1/": {"username": "you", "password": "p"},
            "token.example": {"auth": "bWU6", "identitytoken": "t"},
            "https://index.docker.io/v1/": {"auth": "aHViOnA="},
            "empty.example": {},
            "odd.example": {"auth": "s3cret!"},
            "none.example": {"auth": "czNjcmV0"},
        },
        "credHelpers": {"helped.example": "ecr-login", "file.example": ""},
        "currentContext": "x",
    });
    let place = |host: &str| match docker_config::place(&config.to_string(), host) {
        Ok(docker_config::Place::File(docker_config::Login::Password { user, password })) => {
            format!("{user}:{}", password.reveal())
        }
        Ok(docker_config::Place::File(docker_config::Login::Identity(token))) => {
            format!("token {}", token.reveal())
        }
        Ok(place) => format!("{place:?}"),
        Err(error) => format!("{error:#}"),
    };
    let hosts = [
        "a.example",
        "b.example",
        "b.example:443",
        "token.example",
        "docker.io",
        "empty.example",
        "odd.example",
        "none.example",
        "helped.example",
        "file.example",
        "other.example",
    ];
    let table: Vec<String> = hosts.iter().map(|host| format!("{host}: {}", place(host))).collect();
    expect![[r#"
        a.example: me:a:b
        b.example: you:p
        b.example:443: Nowhere
        token.example: token t
        docker.io: hub:p
        empty.example: Nowhere
        odd.example: its entry for odd.example can't be read: auth is no base64
        none.example: its entry for none.example can't be read: auth is no USER:PASSWORD
        helped.example: Helper("ecr-login")
        file.example: Nowhere
        other.example: Nowhere"#]]
    .assert_eq(&table.join("\n"));
    let all = json!({"credsStore": "desktop", "auths": {"a.example": {}}}).to_string();
    let found = docker_config::place(&all, "a.example").unwrap();
    assert_eq!(format!("{found:?}"), r#"Helper("desktop")"#);
    for text in ["", "{", r#"{"auths": {"h": {"auth": ["s3cret"]}}}"#, r#"{"auths": "s3cret"}"#] {
        let error = format!("{:#}", docker_config::place(text, "h").unwrap_err());
        assert_eq!(
            error,
            format!("it is no JSON that docker writes, at line {}", error.chars().last().unwrap())
        );
    }
}

#[test]
fn what_a_helper_prints() {
    let read = |text: &str| docker_config::parse_helper(text).map(|login| format!("{login:?}"));
    let said = read(r#"{"ServerURL":"h","Username":"me","Secret":"s3cret"}"#).unwrap();
    assert_eq!(said, r#"Password { user: "me", password: … }"#);
    assert_eq!(read(r#"{"Username":"<token>","Secret":"s3cret"}"#).unwrap(), "Identity(…)");
    for text in ["", "s3cret", "{}", r#"{"Username":"me","Secret":["s3cret"]}"#] {
        assert_eq!(read(text).unwrap_err().to_string(), "it printed no login");
    }
}
