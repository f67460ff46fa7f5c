//! How registries demand a login and give tokens, transcribed from public documentation and reports
//! of their users; the names of hosts and images are replaced.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::replay::Replay;
use super::world::{AMD, World};
use crate::commands::registry::open_within;

/// A registry's answers; `HOST` is the registry, and its token server too.
struct Row {
    registry: &'static str,
    /// Where the answers are transcribed from.
    transcribed: &'static str,
    /// docker's login to it, as `docker login` writes it down.
    login: Option<Value>,
    answers: String,
}

fn me() -> Option<Value> {
    Some(json!({"auth": "bWU6czNjcmV0"}))
}

/// The answer to a question: its first line, its headers and its body.
fn answer(question: &str, lines: &[&str], body: &str) -> String {
    let name = if lines[0].starts_with("200") { "OK" } else { "Refused" };
    format!("=== {question}\nHTTP/1.1 {} {name}\n{}\n\n{body}\n", lines[0], lines[1..].join("\n"))
}

/// The demand for a login that a registry makes of a question.
fn demand(question: &str, challenge: &str) -> String {
    answer(question, &["401", &format!("WWW-Authenticate: {challenge}")], UNAUTHORIZED)
}

/// What is there for those who have the right to it.
fn there(authorization: &str) -> String {
    let with = format!("with Authorization: {authorization}");
    let kind = "Content-Type: application/vnd.docker.distribution.manifest.v2+json";
    answer(&format!("GET /v2/ {with}"), &["200"], "{}")
        + &answer(&format!("{MANIFEST} {with}"), &["200", kind], IMAGE)
}

/// A token server that gives tokens one after the other, the last for ever.
fn tokens(tokens: &[&str]) -> String {
    let json = "Content-Type: application/json";
    let (last, first) = tokens.split_last().unwrap();
    let once = |token: &&str| answer("GET /token once", &["200", json], &given(token));
    let first: String = first.iter().map(once).collect();
    first + &answer("GET /token", &["200", json], &given(last))
}

fn given(token: &str) -> String {
    format!(r#"{{"token": "{token}", "expires_in": 300, "issued_at": "2026-01-01T00:00:00Z"}}"#)
}

const MANIFEST: &str = "GET /v2/team/app/manifests/1";
const UNAUTHORIZED: &str =
    r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":null}]}"#;
const IMAGE: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"c","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#;

/// Reads an image twice, as in a verification that takes long: what comes of it, and the requests.
/// A registry that wants a login with each question, and gives no tokens.
fn basic_only(registry: &'static str, transcribed: &'static str, demanded: &str) -> Row {
    let demands = demand("GET /v2/", demanded) + &demand(MANIFEST, demanded);
    Row { registry, transcribed, login: me(), answers: there("Basic bWU6czNjcmV0") + &demands }
}

fn check(row: &Row, expected: Expect) {
    assert!(row.transcribed.starts_with("https://"), "{} has a source", row.registry);
    let (replay, world) = (Replay::new(&row.answers), World::new());
    if let Some(login) = &row.login {
        world.docker_login(&json!({"auths": { &replay.address: login }}));
    }
    let read = || -> anyhow::Result<String> {
        let repository = format!("{}/team", replay.address);
        let registry = open_within(&world.ctx, &repository, world.patience)?;
        let mut said = Vec::new();
        for _ in 0..2 {
            let found = registry.manifest("app", "1", AMD)?;
            said.push(if found.is_some() { "an image" } else { "nothing" });
        }
        Ok(said.join(", "))
    };
    let said = world.said(read()).replace(&replay.address, "HOST");
    let requests = replay.requests().join("\n").replace("s3cret", "SECRET");
    expected.assert_eq(&format!("{}: {said}\n{requests}", row.registry));
}

#[test]
fn docker_hub() {
    let bearer = r#"Bearer realm="http://HOST/token",service="registry.docker.io""#;
    let row = Row {
        registry: "Docker Hub",
        transcribed: "https://docs.docker.com/reference/api/registry/auth/",
        login: None,
        answers: there("Bearer t")
            + &demand("GET /v2/", bearer)
            + &demand(MANIFEST, &format!(r#"{bearer},scope="repository:team/app:pull""#))
            + &tokens(&["t"]),
    };
    check(
        &row,
        expect![[r#"
        Docker Hub: an image, an image
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /token?service=registry.docker.io&scope=repository%3ateam%2fapp%3apull
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
    let limit = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let row = Row {
        registry: "Docker Hub's limit",
        transcribed: "https://docs.docker.com/docker-hub/usage/pulls/",
        login: None,
        answers: answer("GET /v2/", &["200"], "{}") + &answer(MANIFEST, &["429"], limit),
    };
    check(
        &row,
        expect![[r#"
            Docker Hub's limit: 1: the registry HOST answered 429: TOOMANYREQUESTS You have reached your pull rate limit., three times; wait until it is well, then run this again
            GET /v2/
            GET /v2/team/app/manifests/1
            GET /v2/team/app/manifests/1
            GET /v2/team/app/manifests/1"#]],
    );
    let row = Row {
        registry: "a wrong password at Docker Hub",
        transcribed: "https://github.com/TritonDataCenter/node-docker-registry-client/blob/master/examples/login.js",
        login: me(),
        answers: demand("GET /v2/", bearer)
            + &answer("GET /token", &["401"], r#"{"details":"incorrect username or password"}"#),
    };
    check(
        &row,
        expect![[r#"
        a wrong password at Docker Hub: 1: the registry HOST does not let us read HOST/team (401: incorrect username or password); log in with `docker login HOST`
        GET /v2/
        GET /token?service=registry.docker.io"#]],
    );
}

#[test]
fn github() {
    let bearer = r#"Bearer realm="http://HOST/token",service="ghcr.io",scope="#;
    let denied = r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#;
    let demands = demand("GET /v2/", &format!(r#"{bearer}"repository:user/image:pull""#))
        + &demand(MANIFEST, &format!(r#"{bearer}"repository:team/app:pull""#));
    let row = Row {
        registry: "ghcr.io, which names an image of nobody at first",
        transcribed: "https://github.com/cloudflare/serverless-registry/issues/148",
        login: me(),
        answers: there("Bearer t") + &demands + &tokens(&["t"]),
    };
    check(
        &row,
        expect![[r#"
        ghcr.io, which names an image of nobody at first: an image, an image
        GET /v2/
        GET /token?service=ghcr.io
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /token?service=ghcr.io&scope=repository%3ateam%2fapp%3apull
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
    let old = there("Bearer old").replace("manifests/1 with", "manifests/1 once with");
    let row = Row {
        registry: "ghcr.io, which denies an old token",
        transcribed: "https://github.com/renovatebot/renovate/issues/11446",
        login: None,
        answers: old
            + &answer(&format!("{MANIFEST} with Authorization: Bearer old"), &["403"], denied)
            + &there("Bearer new")
            + &demands
            + &tokens(&["old", "new"]),
    };
    check(
        &row,
        expect![[r#"
        ghcr.io, which denies an old token: an image, an image
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /token?service=ghcr.io&scope=repository%3ateam%2fapp%3apull
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1
        GET /token?service=ghcr.io&scope=repository%3ateam%2fapp%3apull
        GET /v2/team/app/manifests/1"#]],
    );
    let row = Row {
        registry: "ghcr.io without the right to an image",
        transcribed: "https://github.com/mccutchen/go-httpbin/issues/223",
        login: None,
        answers: demands + &answer("GET /token", &["403"], denied),
    };
    check(
        &row,
        expect![[r#"
            ghcr.io without the right to an image: 1: the registry HOST does not let us read HOST/team/app (403: DENIED denied); log in with `docker login HOST`
            GET /v2/
            GET /v2/team/app/manifests/1
            GET /token?service=ghcr.io&scope=repository%3ateam%2fapp%3apull"#]],
    );
}

#[test]
fn amazon() {
    let basic = r#"Basic realm="https://HOST/",service="ecr.amazonaws.com""#;
    let source = "https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html";
    let row = basic_only("ECR", source, basic);
    check(
        &row,
        expect![[r#"
        ECR: an image, an image
        GET /v2/
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
    let expired = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#;
    let row = Row {
        registry: "ECR after twelve hours",
        transcribed: "https://github.com/microsoft/vscode/issues/205489",
        login: me(),
        answers: answer("GET /v2/ with Authorization: Basic bWU6czNjcmV0", &["403"], expired)
            + &demand("GET /v2/", basic),
    };
    check(
        &row,
        expect![[r#"
            ECR after twelve hours: 1: HOST denies access to HOST/team (403: DENIED Your authorization token has expired. Reauthenticate and try again.); ask its owner for the right to it, or log in again: docker login HOST
            GET /v2/
            GET /v2/"#]],
    );
    let bearer = r#"Bearer realm="http://HOST/token",service="public.ecr.aws",scope="aws""#;
    let old = there("Bearer old").replace("manifests/1 with", "manifests/1 once with");
    let row = Row {
        registry: "ECR Public, which takes an old token for a bad request",
        transcribed: "https://github.com/aws/containers-roadmap/issues/2835",
        login: None,
        answers: old
            + &answer(&format!("{MANIFEST} with Authorization: Bearer old"), &["400"], "")
            + &there("Bearer new")
            + &demand("GET /v2/", bearer)
            + &demand(MANIFEST, bearer)
            + &tokens(&["old", "new"]),
    };
    check(
        &row,
        expect![[r#"
        ECR Public, which takes an old token for a bad request: an image, an image
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /token?service=public.ecr.aws&scope=aws
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1
        GET /token?service=public.ecr.aws&scope=aws
        GET /v2/team/app/manifests/1"#]],
    );
}

#[test]
fn google_and_azure() {
    let bearer = r#"Bearer realm="http://HOST/token""#;
    let scope = r#"service="us-docker.pkg.dev",scope="repository:team/app:pull""#;
    let row = Row {
        registry: "Artifact Registry, which names its service for images only",
        transcribed: "https://github.com/apple/container/issues/2274",
        login: me(),
        answers: there("Bearer t")
            + &demand("GET /v2/", bearer)
            + &demand(MANIFEST, &format!("{bearer},{scope}"))
            + &tokens(&["t"]),
    };
    check(
        &row,
        expect![[r#"
        Artifact Registry, which names its service for images only: an image, an image
        GET /v2/
        GET /token
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /token?service=us-docker.pkg.dev&scope=repository%3ateam%2fapp%3apull
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
    let bearer = r#"Bearer realm="http://HOST/token",service="contoso.example""#;
    let demands = demand("GET /v2/", bearer)
        + &demand(MANIFEST, &format!(r#"{bearer},scope="repository:team/app:pull""#));
    let row = Row {
        registry: "ACR with a password",
        transcribed: "https://azure.github.io/acr/Token-BasicAuth.html",
        login: me(),
        answers: there("Bearer t")
            + &demands
            + &answer("GET /token", &["200"], r#"{"access_token": "t"}"#),
    };
    check(
        &row,
        expect![[r#"
            ACR with a password: an image, an image
            GET /v2/
            GET /token?service=contoso.example
            GET /v2/
            GET /v2/team/app/manifests/1
            GET /token?service=contoso.example&scope=repository%3ateam%2fapp%3apull
            GET /v2/team/app/manifests/1
            GET /v2/team/app/manifests/1"#]],
    );
    let row = Row {
        registry: "ACR with a login of the az program",
        transcribed: "https://azure.github.io/acr/AAD-OAuth.html",
        login: Some(json!({"auth": "MDAwOg==", "identitytoken": "s3cret"})),
        answers: there("Bearer t")
            + &demands
            + &answer("POST /token", &["200"], r#"{"access_token": "t"}"#),
    };
    check(
        &row,
        expect![[r#"
            ACR with a login of the az program: an image, an image
            GET /v2/
            POST /token refresh_token=SECRET&service=contoso.example&grant_type=refresh_token&client_id=stevedore
            GET /v2/
            GET /v2/team/app/manifests/1
            POST /token refresh_token=SECRET&service=contoso.example&scope=repository%3Ateam%2Fapp%3Apull&grant_type=refresh_token&client_id=stevedore
            GET /v2/team/app/manifests/1
            GET /v2/team/app/manifests/1"#]],
    );
    let invalid = r#"{"error": "invalid_grant", "error_description": "the token has expired"}"#;
    let row = Row {
        registry: "an old token of OAuth 2",
        transcribed: "https://www.rfc-editor.org/rfc/rfc6749#section-5.2",
        login: Some(json!({"auth": "MDAwOg==", "identitytoken": "s3cret"})),
        answers: demands + &answer("POST /token", &["400"], invalid),
    };
    check(
        &row,
        expect![[r#"
            an old token of OAuth 2: 1: the registry HOST does not let us read HOST/team (400: invalid_grant the token has expired); log in with `docker login HOST`
            GET /v2/
            POST /token refresh_token=SECRET&service=contoso.example&grant_type=refresh_token&client_id=stevedore"#]],
    );
}

#[test]
fn registries_of_ones_own() {
    let bearer = r#"Bearer realm="http://HOST/token",service="container_registry""#;
    let demands = demand("GET /v2/", bearer)
        + &demand(MANIFEST, &format!(r#"{bearer},scope="repository:team/app:pull""#));
    let old = there("Bearer old").replace("manifests/1 with", "manifests/1 once with");
    let row = Row {
        registry: "GitLab, whose tokens are good for five minutes",
        transcribed: "https://docs.gitlab.com/user/packages/container_registry/authenticate_with_container_registry/",
        login: me(),
        answers: old
            + &there("Bearer new")
            + &answer("GET /v2/ with Authorization: Bearer first", &["200"], "{}")
            + &demands
            + &tokens(&["first", "old", "new"]),
    };
    check(
        &row,
        expect![[r#"
            GitLab, whose tokens are good for five minutes: an image, an image
            GET /v2/
            GET /token?service=container_registry
            GET /v2/
            GET /v2/team/app/manifests/1
            GET /token?service=container_registry&scope=repository%3ateam%2fapp%3apull
            GET /v2/team/app/manifests/1
            GET /v2/team/app/manifests/1
            GET /token?service=container_registry&scope=repository%3ateam%2fapp%3apull
            GET /v2/team/app/manifests/1"#]],
    );
    let unauthorized = r#"{"errors":[{"code":"UNAUTHORIZED","message":"unauthorized to access repository: team/app, action: pull: unauthorized to access repository: team/app, action: pull"}]}"#;
    let row = Row {
        registry: "Harbor without the right to a project",
        transcribed: "https://github.com/docker/docker-credential-helpers/issues/217",
        login: None,
        answers: demand("GET /v2/", bearer)
            + &answer(&format!("{MANIFEST} with Authorization: Bearer t"), &["401"], unauthorized)
            + &demand(MANIFEST, &format!(r#"{bearer},scope="repository:team/app:pull""#))
            + &tokens(&["t"]),
    };
    check(
        &row,
        expect![[r#"
            Harbor without the right to a project: 1: the registry HOST does not let us read HOST/team/app (401: UNAUTHORIZED unauthorized to access repository: team/app, action: pull: unauthorized to access repository: team/app, action: pull); log in with `docker login HOST`
            GET /v2/
            GET /v2/team/app/manifests/1
            GET /token?service=container_registry&scope=repository%3ateam%2fapp%3apull
            GET /v2/team/app/manifests/1"#]],
    );
    let basic = r#"BASIC realm="Sonatype Nexus Repository Manager""#;
    let row = basic_only("Nexus", "https://github.com/sonatype/nexus-public/issues/921", basic);
    check(
        &row,
        expect![[r#"
        Nexus: an image, an image
        GET /v2/
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
    let row = Row {
        registry: "Artifactory that gives nobody a token without a login",
        transcribed: "https://github.com/swarmpit/swarmpit/issues/266",
        login: None,
        answers: demands + &answer("GET /token", &["406"], ""),
    };
    check(
        &row,
        expect![[r#"
            Artifactory that gives nobody a token without a login: 1: the registry HOST does not let us read HOST/team/app (406); log in with `docker login HOST`
            GET /v2/
            GET /v2/team/app/manifests/1
            GET /token?service=container_registry&scope=repository%3ateam%2fapp%3apull"#]],
    );
    let bearer = r#"Bearer realm="http://HOST/token""#;
    let row = Row {
        registry: "OpenShift, which names no scope",
        transcribed: "https://gist.github.com/dmage/c57d019e5132844954b38ebf2111576f",
        login: me(),
        answers: there("Bearer t")
            + &demand("GET /v2/", bearer)
            + &demand(MANIFEST, bearer)
            + &tokens(&["t"]),
    };
    check(
        &row,
        expect![[r#"
        OpenShift, which names no scope: an image, an image
        GET /v2/
        GET /token
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /token?scope=repository%3ateam%2fapp%3apull
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
}

#[test]
fn the_protocols_corners() {
    let bearer = r#"Bearer realm="http://HOST/token",service="registry.example""#;
    let scopes = r#"scope="repository:team/app:pull,push repository:team/base:pull""#;
    let demands = demand("GET /v2/", bearer) + &demand(MANIFEST, &format!("{bearer},{scopes}"));
    let row = Row {
        registry: "two scopes",
        transcribed: "https://distribution.github.io/distribution/spec/auth/token/",
        login: None,
        answers: there("Bearer t") + &demands + &tokens(&["t"]),
    };
    check(
        &row,
        expect![[r#"
        two scopes: an image, an image
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /token?service=registry.example&scope=repository%3ateam%2fapp%3apull%2cpush&scope=repository%3ateam%2fbase%3apull
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
    let row = Row {
        registry: "a token server that knows POST only",
        transcribed: "https://distribution.github.io/distribution/spec/auth/oauth/",
        login: me(),
        answers: there("Bearer t")
            + &demands
            + &answer("GET /token", &["405"], "")
            + &answer("POST /token", &["200"], r#"{"access_token": "t", "scope": "x"}"#),
    };
    check(
        &row,
        expect![[r#"
        a token server that knows POST only: an image, an image
        GET /v2/
        GET /token?service=registry.example
        POST /token username=me&password=SECRET&service=registry.example&grant_type=password&client_id=stevedore
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /token?service=registry.example&scope=repository%3ateam%2fapp%3apull%2cpush&scope=repository%3ateam%2fbase%3apull
        POST /token username=me&password=SECRET&service=registry.example&scope=repository%3Ateam%2Fapp%3Apull%2Cpush+repository%3Ateam%2Fbase%3Apull&grant_type=password&client_id=stevedore
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
}
