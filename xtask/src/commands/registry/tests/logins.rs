//! Who we are to a registry: docker's logins, where they are wanted and nowhere else.

use std::os::unix::fs::PermissionsExt;

use expect_test::expect;
use serde_json::json;

use super::check;
use super::faulty::{Fault, Faulty};
use super::world::World;

#[test]
fn dockers_login_is_used_where_it_is_wanted() {
    let world = World::new();
    world.faulty.always("GET /v2/", Fault::Basic("me", "s3cret"));
    check(
        &world,
        expect![[r#"
            1: the registry HOST does not let us read HOST/team (401); log in with `docker login HOST`
            GET /v2/"#]],
    );
    world.password("me:s3cret");
    check(
        &world,
        expect![[r#"
            1 layer
            GET /v2/
            GET /v2/
            GET /v2/team/app/manifests/1
            GET /v2/team/app/manifests/1"#]],
    );
    world.password("me:s3cret-no-more");
    check(
        &world,
        expect![[r#"
            1: the registry HOST does not let us read HOST/team (401); log in with `docker login HOST`
            GET /v2/
            GET /v2/"#]],
    );
}

#[test]
fn tokens_are_bought_with_dockers_login() {
    let world = World::new();
    world.faulty.always("GET /v2/", Fault::Bearer("me", "s3cret"));
    check(
        &world,
        expect![[r#"
            1: the registry HOST does not let us read HOST/team/app (401); log in with `docker login HOST`
            GET /v2/
            GET /v2/team/app/manifests/1
            GET /faulty/token?service=faulty&scope=repository:team/app:pull"#]],
    );
    world.password("me:s3cret");
    check(
        &world,
        expect![[r#"
            1 layer
            GET /v2/
            GET /faulty/token?service=faulty
            GET /v2/
            GET /v2/team/app/manifests/1
            GET /faulty/token?service=faulty&scope=repository:team/app:pull
            GET /v2/team/app/manifests/1"#]],
    );
    world.password("me:s3cret-no-more");
    check(
        &world,
        expect![[r#"
            1: the registry HOST does not let us read HOST/team (401); log in with `docker login HOST`
            GET /v2/
            GET /faulty/token?service=faulty"#]],
    );
    let token = json!({"auths": { &world.faulty.address: { "identitytoken": "s3cret" } }});
    world.docker_login(&token);
    check(
        &world,
        expect![[r#"
            1 layer
            GET /v2/
            POST /faulty/token
            GET /v2/
            GET /v2/team/app/manifests/1
            POST /faulty/token
            GET /v2/team/app/manifests/1"#]],
    );
}

#[test]
fn a_redirection_is_followed_without_our_login() {
    let world = World::new();
    let store = Faulty::in_front_of(&world.upstream);
    let path = format!("/v2/team/app/blobs/{}", world.packed.digest);
    let location = format!("Location: http://{}{path}", store.address).leak();
    world.password("me:s3cret").faulty.always("GET /v2/", Fault::Basic("me", "s3cret"));
    world.faulty.always("GET /blobs/", Fault::Status(307, location));
    let registry = world.open().unwrap();
    assert!(registry.layer("app", &world.packed).is_ok());
    assert_eq!(store.requests(), [format!("GET {path}")]);
    store.always("GET /", Fault::Basic("me", "s3cret"));
    assert!(registry.layer("app", &world.packed).is_err(), "the store saw our login");
}

#[test]
fn an_answer_401_for_ever_ends() {
    let world = World::new();
    world.password("me:s3cret");
    let again = "WWW-Authenticate: Basic realm=\"x\"";
    world.faulty.always("GET /manifests/", Fault::Status(401, again));
    check(
        &world,
        expect![[r#"
        1: the registry HOST does not let us read HOST/team/app (401); log in with `docker login HOST`
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
    world.faulty.heal().always("GET /manifests/", Fault::Status(401, ""));
    check(
        &world,
        expect![[r#"
        1: the registry HOST wants a login of a kind that docker does not have; ask who runs it
        GET /v2/
        GET /v2/team/app/manifests/1"#]],
    );
    let leak = "WWW-Authenticate: Bearer realm=\"file:///etc/passwd\"";
    world.faulty.heal().always("GET /manifests/", Fault::Status(401, leak));
    check(
        &world,
        expect![[r#"
        1: the registry HOST wants our login sent to "file:///etc/passwd", where it would not be secret; ask who runs it
        GET /v2/
        GET /v2/team/app/manifests/1"#]],
    );
}

#[test]
fn a_denial_names_what_is_denied() {
    let world = World::new();
    world.faulty.always("GET /manifests/", Fault::Status(403, ""));
    check(
        &world,
        expect![[r#"
        1: HOST denies access to HOST/team/app (403); ask its owner for the right to it, or log in again: docker login HOST
        GET /v2/
        GET /v2/team/app/manifests/1"#]],
    );
}

#[test]
fn a_helper_program_tells_the_login_and_nobody_else_hears_it() {
    let world = World::new();
    let bin = world.directory.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let program = |name: &str, script: &str| {
        let path = bin.join(name);
        #[allow(clippy::disallowed_methods)] // a test's own file
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let (calls, search) = (bin.join("calls"), world.ctx.sh.var("PATH").unwrap());
    let real = which::which("curl").unwrap();
    let log = format!("echo \"$0 $*\" >> {}", calls.display());
    program("curl", &format!("{log}\nenv >> {}\nexec {} \"$@\"", calls.display(), real.display()));
    let answer = r#"{"ServerURL":"x","Username":"me","Secret":"s3cret"}"#;
    program(
        "docker-credential-ours",
        &format!("{log}\ncat >> {}\necho '{answer}'", calls.display()),
    );
    program("docker-credential-none", "echo credentials not found in native keychain; exit 1");
    program("docker-credential-bad", "echo s3cret; echo s3cret >&2; exit 1");
    program("../.curlrc", "proxy = http://127.0.0.1:1");
    world.ctx.sh.set_var("HOME", world.directory.path());
    world.ctx.sh.set_var("PATH", format!("{}:{search}", bin.display()));
    world.faulty.always("GET /v2/", Fault::Bearer("me", "s3cret"));
    world.docker_login(&json!({"credHelpers": { &world.faulty.address: "ours" }}));
    assert!(world.read().starts_with("1 layer\n"));
    let log = std::fs::read_to_string(&calls).unwrap();
    assert!(log.contains("docker-credential-ours get") && log.contains(&world.faulty.address));
    assert!(log.contains("curl --disable --config - "), "{log}");
    assert!(!log.contains("s3cret") && !log.contains("token."), "{log}");
    world.docker_login(&json!({"credsStore": "none"}));
    assert!(world.read().contains("docker login HOST"));
    world.docker_login(&json!({"credsStore": "bad"}));
    check(
        &world,
        expect![[r#"
        1: docker-credential-bad, which keeps docker's logins, failed (exit status: 1); see what it says: docker login HOST
        GET /v2/"#]],
    );
}
