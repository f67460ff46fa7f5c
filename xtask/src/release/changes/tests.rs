//! What a change of a record is told as.

use expect_test::{Expect, expect};

use super::super::record::{Key, Migration, Packages, Record, Source, Store};
use super::super::sample::record;
use super::*;

fn changed(change: impl Fn(&mut Record)) -> Record {
    let mut new = record();
    new.version = Version::new(1, 1, 0);
    new.previous = Some(Version::new(1, 0, 0));
    new.commit = "89abcdef0123456789abcdef0123456789abcdef".into();
    new.created = "2026-11-22T09:30:00Z".into();
    change(&mut new);
    new
}

fn check(change: impl Fn(&mut Record), expected: Expect) {
    let table = compare(&record(), &changed(change), Some(Commits::default())).table();
    expected.assert_eq(&format!("{table}\n"));
}

fn installed<'r>(record: &'r mut Record, image: &str) -> &'r mut BTreeMap<String, String> {
    match &mut record.images.get_mut(image).unwrap().packages {
        Packages::Dpkg { installed } | Packages::Apk { installed } => installed,
        Packages::None { .. } => panic!("{image} has no packages"),
    }
}

/// A release with a change of every kind.
fn much(new: &mut Record) {
    new.epoch = "2026-11-21T12:00:00Z".into();
    new.bases.get_mut("debian:trixie-slim").unwrap().content = "sha256:bbbbbbbbbbbbbbbb".into();
    for image in ["app", "db"] {
        new.images.get_mut(image).unwrap().config = format!("sha256:{image}90123456789");
        installed(new, image).insert("openssl".into(), "3.5.4-1".into());
    }
    new.images.get_mut("app").unwrap().layers[1].size = 5_300_000;
    installed(new, "app").insert("tzdata".into(), "2026c".into());
    new.services.get_mut("db").unwrap().store = Some(Store { version: "18.0".into(), major: 18 });
    new.services.remove("mail");
    new.dependencies.get_mut("app/Cargo.lock").unwrap()[1].version = "0.9.3".into();
    new.assets.get_mut("app.scss").unwrap().size = 19_000;
    let migration = |name: &str, compatible: Option<&str>| Migration {
        name: name.into(),
        sha256: "m3".into(),
        compatible: compatible.map(str::to_owned),
    };
    let migrations = new.migrations.get_mut("app").unwrap();
    migrations.extend([migration("3_drop.sql", None), migration("4_add.sql", Some("new"))]);
    let keys = new.configuration.get_mut("prod").unwrap();
    keys.get_mut("URL").unwrap().secret = true;
    keys.get_mut("URL").unwrap().source = Source::Required;
    let services = BTreeSet::from(["app".to_owned()]);
    let key = Key { secret: false, source: Source::Default, services, attached: false };
    keys.insert("WORKERS".into(), key);
    new.gates[1].fingerprint = Some("7777777777777777".into());
    new.tools.insert("docker".into(), "27.0.1".into());
}

#[test]
fn the_same_stack_and_app_are_one_line() {
    check(|_| {}, expect![["1.0.0 and 1.1.0: nothing differs\n"]]);
}

#[test]
fn every_kind_of_change_has_a_section_and_a_moved_base_is_listed_once() {
    check(
        much,
        expect![[r#"
            1.0.0 (0123456789ab, 2026-11-20) → 1.1.0 (89abcdef0123, 2026-11-22)
            stack
              ~ epoch  2026-11-19T12:00:00Z → 2026-11-21T12:00:00Z
            external bases
              ~ debian:trixie-slim  aaaaaaaaaaaa → bbbbbbbbbbbb
            images
              ~ app  111111111111 → app901234567  74.1 MB → 75.3 MB, +1.2 MB
              ~ db   222222222222 → db9012345678  70.0 MB, the same size
              = edge
            packages
              ~ openssl  3.5.1-1+deb13u1 → 3.5.4-1  in app, db
              + tzdata   2026c                      in app
            services
              - mail  relay:2
            stores
              ~ db  17.2 → 18.0  another major version: 17 → 18
            dependencies in app/Cargo.lock
              ~ rand  0.9.2 → 0.9.3
            assets
              ~ app.scss  20.5 kB → 19.0 kB, -1.5 kB
            migrations of app
              + 3_drop.sql  not marked compatible
              + 4_add.sql   compatible: new
            configuration of prod
              ~ URL      became secret, public → required
              + WORKERS  default, for app
            gates
              ~ smoke  666666666666 → 777777777777  run again
              = tests
            tools
              ~ docker  26.1.5 → 27.0.1
        "#]],
    );
}

#[test]
fn an_image_that_comes_or_goes_is_one_line() {
    check(
        |new| {
            let app = new.images.remove("app").unwrap();
            new.images.insert("worker".into(), app);
        },
        expect![[r#"
            1.0.0 (0123456789ab, 2026-11-20) → 1.1.0 (89abcdef0123, 2026-11-22)
            images
              - app     111111111111  74.1 MB, 2 packages
              + worker  111111111111  74.1 MB, 2 packages
              = db, edge
        "#]],
    );
}

#[test]
fn the_same_version_with_another_content_is_a_change() {
    check(
        |new| {
            let list = new.dependencies.get_mut("app/Cargo.lock").unwrap();
            list[0].checksum = Some("999999999999999".into());
            list.remove(2);
            new.migrations.get_mut("app").unwrap()[0].sha256 = "other".into();
            new.bases.get_mut("debian:trixie-slim").unwrap().digest = Some("sha256:m".into());
        },
        expect![[r#"
            1.0.0 (0123456789ab, 2026-11-20) → 1.1.0 (89abcdef0123, 2026-11-22)
            external bases
              ~ debian:trixie-slim  manifest made here → m
            dependencies in app/Cargo.lock
              ~ rand      0.8.5 (no checksum) → 0.8.5 (999999999999)
              - zstd-sys  2.0.16+zstd.1.5.7
            migrations of app
              ~ 1_start.sql  its content changed
        "#]],
    );
}

#[test]
fn a_package_manager_and_an_order_of_migrations_can_change() {
    check(
        |new| {
            let packages = Packages::None { reason: "no dpkg".into() };
            new.images.get_mut("db").unwrap().packages = packages;
            let migrations = new.migrations.get_mut("app").unwrap();
            migrations.reverse();
        },
        expect![[r#"
            1.0.0 (0123456789ab, 2026-11-20) → 1.1.0 (89abcdef0123, 2026-11-22)
            stack
              ~ order of migrations of app  1_start.sql, 2_more.sql → 2_more.sql, 1_start.sql
              ~ package manager of db       dpkg → none (no dpkg)
            images
              ~ db  70.0 MB, the same size
              = app, edge
            packages
              - libc6:amd64  2.41-12          in db
              - openssl      3.5.1-1+deb13u1  in db
              - store        1:17.2~rc1       in db
        "#]],
    );
}

/// The JSON pointers of everything in a record that is no list or map.
fn leaves(value: &serde_json::Value, path: &str) -> Vec<String> {
    let inside: Vec<(String, &serde_json::Value)> = match value {
        serde_json::Value::Object(map) => {
            map.iter().map(|(key, it)| (key.replace('/', "~1"), it)).collect()
        }
        serde_json::Value::Array(list) => {
            list.iter().enumerate().map(|(at, it)| (at.to_string(), it)).collect()
        }
        _ => return vec![path.to_owned()],
    };
    inside.iter().flat_map(|(key, it)| leaves(it, &format!("{path}/{key}"))).collect()
}

/// Whatever is edited in a record, but for what tells releases apart, is told. The fingerprint and
/// the layers of an image are in the digest of its configuration.
#[test]
fn no_difference_is_missed() {
    let json = serde_json::to_value(record()).unwrap();
    let mut not_told = Vec::new();
    for path in leaves(&json, "") {
        let mut json = json.clone();
        let leaf = json.pointer_mut(&path).unwrap();
        *leaf = match &*leaf {
            serde_json::Value::Bool(value) => (!*value).into(),
            serde_json::Value::Number(value) => (value.as_u64().unwrap() + 1_000_000).into(),
            serde_json::Value::String(text) => match text.as_str() {
                "dpkg" => "apk".into(),
                "none" => continue,
                "generated" | "public" => "default".into(),
                "1.0.0" => "2.0.0".into(),
                text => format!("x{text}").into(),
            },
            _ if path == "/previous" => "0.9.0".into(),
            _ if path.ends_with("/store") => serde_json::json!({"version": "1", "major": 1}),
            _ => "something".into(),
        };
        let new: Record = serde_json::from_value(json).expect(&path);
        if compare(&record(), &new, Some(Commits::default())).is_empty() {
            not_told.push(path);
        }
    }
    expect![[r#"
        [
            "/branch",
            "/by/email",
            "/by/name",
            "/commit",
            "/created",
            "/dependencies/app~1Cargo.lock/1/source",
            "/dependencies/app~1Cargo.lock/2/source",
            "/images/app/distribution",
            "/images/app/fingerprint",
            "/images/app/from/0",
            "/images/app/layers/0/diff_id",
            "/images/app/layers/1/diff_id",
            "/images/db/distribution",
            "/images/db/fingerprint",
            "/images/db/from/0",
            "/images/db/layers/0/diff_id",
            "/images/edge/distribution",
            "/images/edge/fingerprint",
            "/images/edge/layers/0/diff_id",
            "/previous",
            "/registry",
            "/schema",
            "/version",
        ]
    "#]]
    .assert_debug_eq(&not_told);
}

#[test]
fn the_other_way_round_is_the_mirror_image() {
    let (old, new) = (record(), changed(much));
    let swap = |mut event: serde_json::Value| {
        let object = event.as_object_mut().unwrap();
        if let (Some(old), Some(new)) = (object.remove("old"), object.remove("new")) {
            object.insert("old".into(), new);
            object.insert("new".into(), old);
        }
        let status = match event["status"].as_str() {
            Some("added") => "removed",
            Some("removed") => "added",
            Some(status) => status,
            None => return event,
        };
        event["status"] = status.to_owned().into();
        event
    };
    let back: Vec<_> = compare(&new, &old, None).events().into_iter().map(swap).collect();
    assert_eq!(compare(&old, &new, None).events(), back);
}

#[test]
fn an_event_has_the_facts_of_both_sides() {
    let events = compare(&record(), &changed(much), Some(Commits::default())).events();
    let lines: Vec<String> = events.iter().map(|event| format!("{event}\n")).collect();
    expect![[r#"
        {"commits_known":true,"event":"diff","new":{"commit":"89abcdef0123456789abcdef0123456789abcdef","created":"2026-11-22T09:30:00Z","version":"1.1.0"},"old":{"commit":"0123456789abcdef0123456789abcdef01234567","created":"2026-11-20T08:00:00Z","version":"1.0.0"},"same":false}
        {"event":"fact","fact":"epoch","new":"2026-11-21T12:00:00Z","old":"2026-11-19T12:00:00Z","status":"changed"}
        {"base":"debian:trixie-slim","event":"base","new":{"content":"sha256:bbbbbbbbbbbbbbbb","digest":null},"old":{"content":"sha256:aaaaaaaaaaaaaaaa","digest":null},"status":"changed"}
        {"event":"image","image":"app","new":{"config":"sha256:app90123456789","packages":3,"size_bytes":75300000},"old":{"config":"sha256:1111111111111111111111111111111111111111111111111111111111111111","packages":2,"size_bytes":74100000},"status":"changed"}
        {"event":"image","image":"db","new":{"config":"sha256:db90123456789","packages":3,"size_bytes":70000000},"old":{"config":"sha256:2222222222222222222222222222222222222222222222222222222222222222","packages":3,"size_bytes":70000000},"status":"changed"}
        {"event":"image","image":"edge","status":"same"}
        {"event":"package","images":["app","db"],"new":"3.5.4-1","old":"3.5.1-1+deb13u1","package":"openssl","status":"changed"}
        {"event":"package","images":["app"],"new":"2026c","old":null,"package":"tzdata","status":"added"}
        {"event":"service","new":null,"old":{"attached":false,"config":"sha256:7777","image":"relay:2","store":null},"service":"mail","status":"removed"}
        {"event":"store","new":{"major":18,"version":"18.0"},"old":{"major":17,"version":"17.2"},"status":"changed","store":"db"}
        {"dependency":"rand","event":"dependency","lock":"app/Cargo.lock","new":"0.9.3","old":"0.9.2","status":"changed"}
        {"asset":"app.scss","event":"asset","new":{"file":"app-1.css","integrity":"sha384-x","size":19000},"old":{"file":"app-1.css","integrity":"sha384-x","size":20500},"status":"changed"}
        {"event":"migration","migration":"3_drop.sql","new":{"compatible":null,"name":"3_drop.sql","sha256":"m3"},"old":null,"service":"app","status":"added"}
        {"event":"migration","migration":"4_add.sql","new":{"compatible":"new","name":"4_add.sql","sha256":"m3"},"old":null,"service":"app","status":"added"}
        {"environment":"prod","event":"key","key":"URL","new":{"attached":false,"secret":true,"services":["app"],"source":"required"},"old":{"attached":false,"secret":false,"services":["app"],"source":"public"},"status":"changed"}
        {"environment":"prod","event":"key","key":"WORKERS","new":{"attached":false,"secret":false,"services":["app"],"source":"default"},"old":null,"status":"added"}
        {"event":"gate","gate":"smoke","new":"7777777777777777","old":"6666666666666666","status":"changed"}
        {"event":"gate","gate":"tests","status":"same"}
        {"event":"tool","new":"27.0.1","old":"26.1.5","status":"changed","tool":"docker"}
    "#]].assert_eq(&lines.concat());
}

fn history() -> Commits {
    let commit =
        |commit: &str, subject: &str| Commit { commit: commit.into(), subject: subject.into() };
    Commits {
        gained: vec![
            commit("89abcdef0123", "# Mend *all* of <it>"),
            commit("79abcdef0123", "Add \u{1b}[2J"),
        ],
        lost: vec![commit("0123456789ab", "Try `this`")],
    }
}

#[test]
fn commits_are_listed_and_cannot_move_the_cursor() {
    let table = compare(&record(), &changed(|_| {}), Some(history())).table();
    expect![[r#"
        1.0.0 (0123456789ab, 2026-11-20) → 1.1.0 (89abcdef0123, 2026-11-22)
        commits (1.1.0 does not contain 1.0.0)
          + 89abcdef0123  # Mend *all* of <it>
          + 79abcdef0123  Add �[2J
          - 0123456789ab  Try `this`
    "#]]
    .assert_eq(&format!("{table}\n"));
}

#[test]
fn commits_that_are_not_known_are_not_taken_for_none() {
    let changes = compare(&record(), &changed(|_| {}), None);
    assert_eq!(changes.events()[0]["same"], false);
    expect![[r#"
        1.0.0 (0123456789ab, 2026-11-20) → 1.1.0 (89abcdef0123, 2026-11-22)
        commits
          not known to this clone

        ## 1.1.0 (2026-11-22)

        What differs from 1.0.0:

        ### Commits

        - not known
    "#]]
    .assert_eq(&format!("{}\n\n{}", changes.table(), changes.markdown()));
}

#[test]
fn release_notes_are_markdown() {
    let change = |new: &mut Record| {
        installed(new, "db").insert("store".into(), "1:17.2".into());
        new.images.get_mut("db").unwrap().config = "sha256:444444444444".into();
        new.services.remove("mail");
        new.migrations.get_mut("app").unwrap().remove(1);
    };
    let markdown = compare(&record(), &changed(change), Some(history())).markdown();
    expect![[r#"
        ## 1.1.0 (2026-11-22)

        What differs from 1.0.0:

        ### Commits (1.1.0 does not contain 1.0.0)

        - \# Mend \*all\* of \<it\> (`89abcdef0123`)
        - Add  \[2J (`79abcdef0123`)
        - no longer: Try \`this\` (`0123456789ab`)

        ### Images

        - `db` `222222222222` → `444444444444` (70.0 MB, the same size)
        - the same: `app`, `edge`

        ### Packages

        - `store` `1:17.2~rc1` → `1:17.2` (in db)

        ### Services

        - removed `mail` `relay:2`

        ### Migrations of app

        - removed `2_more.sql` compatible: a new table
    "#]]
    .assert_eq(&markdown);
    let same = Some(Commits::default());
    let markdown = compare(&record(), &changed(|_| {}), same).markdown();
    expect![[r#"
        ## 1.1.0 (2026-11-22)

        Nothing differs from 1.0.0.
    "#]]
    .assert_eq(&markdown);
}

#[test]
fn sizes_are_readable() {
    assert_eq!(
        [0, 950, 20_500, 999_949, 999_950, 84_149_000].map(size),
        ["0.0 kB", "0.9 kB", "20.5 kB", "999.9 kB", "1.0 MB", "84.1 MB"]
    );
}
