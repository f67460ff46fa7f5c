//! What is there is read, and what each fault becomes: an error that says what to do, or none.

use std::time::{Duration, Instant};

use expect_test::expect;

use super::check;
use super::faulty::Fault;
use super::replay::Replay;
use super::world::{AMD, IMAGE, World, descriptor, manifest};
use crate::commands::registry::http::wait;
use crate::commands::registry::open_within;
use crate::release::record::Layer;
use crate::tools::registry::{self as protocol, Descriptor};

#[test]
fn an_image_is_read_back_in_a_dry_run_too() {
    let world = World::new();
    let registry = world.open().unwrap();
    let manifest = registry.manifest("app", "1", AMD).unwrap().unwrap();
    assert_eq!(manifest.digest, protocol::digest(&manifest.bytes));
    assert_eq!(manifest.media_type, IMAGE);
    assert_eq!(registry.manifest("app", &manifest.digest, AMD).unwrap(), Some(manifest.clone()));
    assert_eq!(registry.blob("app", &manifest.config.digest).unwrap(), world.config);
    let layer = &manifest.layers[0];
    assert_eq!(*layer, world.packed);
    assert!(registry.has_blob("app", layer).unwrap());
    let unpacked =
        Layer { diff_id: protocol::digest(&world.layer), size: world.layer.len() as u64 };
    assert_eq!(registry.layer("app", layer).unwrap(), unpacked);
    let plain = descriptor("application/vnd.oci.image.layer.v1.tar", &world.layer);
    assert_eq!(registry.layer("app", &plain).unwrap(), unpacked);
}

#[test]
fn what_is_not_there_is_never_taken_for_success() {
    let world = World::new();
    let registry = world.open().unwrap();
    assert_eq!(registry.manifest("app", "2", AMD).unwrap(), None);
    assert_eq!(registry.manifest("nobody/app", "1", AMD).unwrap(), None);
    let missing = Descriptor { digest: protocol::digest(b"?"), ..world.packed.clone() };
    assert!(!registry.has_blob("app", &missing).unwrap());
    let longer = Descriptor { size: world.packed.size + 1, ..world.packed.clone() };
    assert!(!registry.has_blob("app", &longer).unwrap());
    let said = world.said(registry.blob("app", &missing.digest).map(|_| ""));
    assert!(said.starts_with("1: the registry lacks HOST/team/app@sha256:"), "{said}");
}

#[test]
fn a_blob_is_fetched_where_a_question_for_its_head_says_too_little() {
    let world = World::new();
    let registry = world.open().unwrap();
    let missing = Descriptor { digest: protocol::digest(b"?"), ..world.packed.clone() };
    let longer = Descriptor { size: world.packed.size + 1, ..world.packed.clone() };
    world.faulty.always("HEAD /blobs/", Fault::Status(405, "")).requests();
    assert!(registry.has_blob("app", &world.packed).unwrap());
    let path = format!("/v2/team/app/blobs/{}", world.packed.digest);
    assert_eq!(world.faulty.requests(), [format!("HEAD {path}"), format!("GET {path}")]);
    assert!(!registry.has_blob("app", &missing).unwrap());
    assert!(!registry.has_blob("app", &longer).unwrap());
    let (digest, layer) = (protocol::digest(b"a layer"), "=== GET /v2/\nHTTP/1.1 200 OK\n\n{}\n");
    let path = format!("/v2/team/app/blobs/{digest}");
    let replay = Replay::new(&format!(
        "{layer}=== HEAD {path}\nHTTP/1.1 200 OK\n\n\n=== GET {path}\nHTTP/1.1 200 OK\n\na layer"
    ));
    let registry = open_within(&world.ctx, &format!("{}/team", replay.address), world.patience);
    let blob = descriptor("application/vnd.oci.image.layer.v1.tar", b"a layer");
    assert!(registry.unwrap().has_blob("app", &blob).unwrap(), "a head without a length");
}

#[test]
fn what_is_no_image_of_ours_is_an_error_that_says_what_it_is() {
    let world = World::new();
    let registry = world.open().unwrap();
    let zstd = registry.manifest("app", "zstd", AMD).unwrap().unwrap();
    let said = world.said(registry.layer("app", &zstd.layers[0]).map(|_| ""));
    assert!(said.contains("can't unpack it: "), "{said}");
    let other = registry.manifest("app", "other", AMD).unwrap().unwrap();
    let said = world.said(registry.layer("app", &other.layers[1]).map(|_| ""));
    assert!(said.ends_with("can't unpack it: invalid gzip header"), "{said}");
    for (image, reference) in [("../app", "1"), ("app", "-1"), ("app", "a b"), ("app?x", "1")] {
        assert!(registry.manifest(image, reference, AMD).is_err(), "{image} {reference}");
    }
}

#[test]
fn a_registry_that_is_not_there_is_missing() {
    let mut world = World::new();
    world.faulty.always("GET /", Fault::BlackHole);
    world.patience.stall_seconds = 1;
    let said = world.read();
    assert!(said.starts_with("4: the registry HOST does not answer: "), "{said}");
    assert!(said.ends_with("then try: curl http://HOST/v2/\nGET /v2/"), "once is enough: {said}");
    world.patience.stall_seconds = 60;
    world.faulty.heal().always("GET /", Fault::Status(404, ""));
    check(
        &world,
        expect![[r#"
        4: HOST answers, but is no registry (http://HOST/v2/ is not there); correct [registry] repository in environment.toml
        GET /v2/"#]],
    );
    world.faulty.refuse();
    let said = world.read();
    assert!(said.starts_with("4: the registry HOST does not answer: Failed to connect"), "{said}");
    world.patience.connect_seconds = 2;
    let nowhere = open_within(&world.ctx, "registry.invalid/x", world.patience);
    let said = world.said(nowhere.map(|_| ""));
    assert!(said.starts_with("4: the registry registry.invalid does not answer: "), "{said}");
}

#[test]
fn what_may_pass_is_tried_three_times() {
    let world = World::new();
    world.faulty.first(1, "GET /manifests/", Fault::Status(500, ""));
    check(
        &world,
        expect![[r#"
        1 layer
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
    world.faulty.heal().always("GET /manifests/", Fault::Status(503, ""));
    check(
        &world,
        expect![[r#"
        1: the registry HOST answered 503, three times; wait until it is well, then run this again
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
    world.faulty.heal().first(2, "GET /manifests/", Fault::Reset);
    assert!(world.read().starts_with("1 layer\n"));
    world.faulty.heal().always("GET /manifests/", Fault::Reset);
    let said = world.read();
    assert!(said.starts_with("1: the registry HOST broke the connection (Recv failure"), "{said}");
    assert_eq!(said.matches("GET /v2/team/app/manifests/1").count(), 3, "{said}");
}

#[test]
fn a_busy_registry_says_how_long_to_wait() {
    for (header, seconds) in [
        ("0", 0),
        (" 3 ", 3),
        ("300", 10),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 10),
        ("1793000000", 10),
        ("-1", 10),
    ] {
        assert_eq!(wait(header), Duration::from_secs(seconds), "{header}");
    }
    let world = World::new();
    world.faulty.first(1, "GET /manifests/", Fault::Status(429, "Retry-After: 1"));
    let started = Instant::now();
    assert!(world.read().starts_with("1 layer\n"));
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn damaged_bytes_are_asked_for_once_more() {
    for fault in [Fault::OtherBytes, Fault::Truncated] {
        let world = World::new();
        let registry = world.open().unwrap();
        world.faulty.first(1, "GET /blobs/", fault.clone());
        assert!(registry.layer("app", &world.packed).is_ok(), "{fault:?}");
        world.faulty.heal().always("GET /", fault.clone()).requests();
        let said = world.said(registry.layer("app", &world.packed).map(|_| ""));
        let (wanted, found) = said.split_once(", found sha256:").expect(&said);
        assert!(wanted.starts_with("1: the registry's bytes of HOST/team/app@HASH are damaged"));
        assert!(wanted.ends_with("wanted HASH") && found.len() > 64, "{said}");
        assert_eq!(world.faulty.requests().len(), 2);
        assert!(registry.blob("app", &protocol::digest(&world.config)).is_err());
        let by_digest = protocol::digest(&manifest(&world.config, &[]));
        assert_eq!(registry.manifest("app", &by_digest, AMD).unwrap(), None);
    }
    let world = World::new();
    world.faulty.always("GET /manifests/", Fault::Truncated);
    check(
        &world,
        expect![[r#"
        1: the registry's bytes of HOST/team/app:1 are damaged, twice: it was cut short; wanted all of it, found sha256:db5ad95f5607532d28205962b4409bd5c0e84d6c8e677bd0bfec114bb77f0f17; delete them there and push again
        GET /v2/
        GET /v2/team/app/manifests/1
        GET /v2/team/app/manifests/1"#]],
    );
    let world = World::new();
    let wrong = Descriptor { size: 10, ..world.packed.clone() };
    let said = world.said(world.open().unwrap().layer("app", &wrong).map(|_| ""));
    assert!(said.contains("it is longer than it should be"), "{said}");
}
