//! Archives: names, links, kinds, damage, sizes.

use super::raw::{
    DEFLATED, Entry, archive, deflated, directory, entry, file, link, program, zeros,
};
use super::{Case, Target, fails, works};
use crate::app;
use crate::dsl::engine;

/// Entries behind those of a bundle that works: taken for good, they would be deployed.
fn with(version: &str, entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let own = [file("docker-compose.yml", app::compose()), file("version.txt", version)];
    archive(&own.into_iter().chain(entries).collect::<Vec<_>>())
}

fn wrong(name: &'static str, says: &str, entries: impl IntoIterator<Item = Entry>) -> Case {
    fails(name, format!("The source bundle cannot be unpacked: {says}"), with(name, entries))
}

#[test]
fn a_name_never_leads_out() {
    engine!();
    let target = Target::docker();
    let canary = target.canary();
    let out = "its name leads out of the bundle";
    let bad = |name: &'static str, entry: String, says: &str| {
        wrong(name, &format!("entry {entry:?}: {says}"), [file(&entry, "x")])
    };
    let long = "x".repeat(1025);
    let part = "x".repeat(256);
    target.deploy_all(vec![
        bad("parent", "../escaped".into(), out),
        bad("parents", "../../../escaped".into(), out),
        bad("many-parents", format!("{}escaped", "../".repeat(40)), out),
        bad("parent-to-canary", format!("{}{canary}/escaped", "../".repeat(40)), out),
        bad("parent-behind", "a/../../escaped".into(), out),
        bad("parent-in-the-middle", "a/../escaped".into(), out),
        bad("parent-at-the-end", "a/..".into(), out),
        bad("only-parent", "..".into(), out),
        bad("dot-then-parent", "./../escaped".into(), out),
        bad("slashes-then-parent", "a//..//..//escaped".into(), out),
        bad("absolute", format!("{canary}/escaped"), "its name is absolute"),
        bad("absolute-twice", format!("//{canary}/escaped"), "its name is absolute"),
        bad("root", "/".into(), "its name is absolute"),
        bad("backslash", "..\\escaped".into(), "its name has a backslash"),
        bad("backslashes", "a\\..\\..\\escaped".into(), "its name has a backslash"),
        bad("drive", "C:\\escaped".into(), "its name has a backslash"),
        bad("network-share", "\\\\host\\escaped".into(), "its name has a backslash"),
        bad("nul", "a\0../escaped".into(), "its name has a NUL"),
        bad("nul-at-the-end", "escaped\0".into(), "its name has a NUL"),
        bad("long-name", long, "its name is longer than 1024 bytes"),
        bad("very-long-name", "y/".repeat(32_000) + "y", "its name is longer than 1024 bytes"),
        bad("long-part", part, "a part of its name is too long"),
        wrong("no-name", "entry \"\" has no name", [file("", "x")]),
        wrong("only-a-dot", "entry \".\" has no name", [file(".", "x")]),
        works("no-text", with("no-text", [file(b"a\xff\xfe", "x")])),
        works("overlong", with("overlong", [file(b"..\xc0\xafout", "x")])),
        wrong("twice", "one of its names is there twice", [file("a", "x"), file("a", "y")]),
        wrong("twice-dot", "entry \"./a\" is there twice", [file("a", "x"), file("./a", "y")]),
        wrong("twice-slash", "entry \"a//b\" is there twice", [file("a/b", ""), file("a//b", "")]),
        wrong(
            "file-and-directory",
            "entry \"a/\" is there twice",
            [file("a", ""), directory("a/")],
        ),
        wrong(
            "file-then-below",
            "entry \"a/b\": a file is where",
            [file("a", ""), file("a/b", "")],
        ),
        wrong(
            "below-then-file",
            "entry \"a\": another entry is in",
            [file("a/b", ""), file("a", "")],
        ),
        works(
            "letters-of-two-cases",
            with("letters-of-two-cases", [file("A", "x"), file("a", "y")]),
        ),
        works("the-root-itself", with("the-root-itself", [directory("./"), file("./b", "y")])),
    ]);
}

#[test]
fn a_link_never_leads_out_and_is_never_written_through() {
    engine!();
    let target = Target::docker();
    let canary = target.canary();
    let bad = |name: &'static str, of: &str, entries: Vec<Entry>| {
        wrong(name, &format!("link {of:?} leads out of the bundle"), entries)
    };
    let hook = "#!/bin/sh\ntrue\n";
    target.deploy_all(vec![
        bad("absolute", "l", vec![link("l", &canary)]),
        bad("parent", "l", vec![link("l", "..")]),
        bad("parents", "a/l", vec![link("a/l", "../../escaped")]),
        bad("empty", "l", vec![link("l", "")]),
        bad("long", "l", vec![link("l", "x/".repeat(3000))]),
        bad("nul", "l", vec![link("l", "a\0b")]),
        bad("no-text", "l", vec![link("l", b"\xff\xfe")]),
        bad("dangling", "l", vec![link("l", "a/../../escaped")]),
        bad("then-file", "l", vec![link("l", &canary), file("l/escaped", "x")]),
        bad(
            "through-another",
            "x",
            vec![link("sub/up", ".."), file("sub/f", ""), link("x", "sub/up/../..")],
        ),
        bad(
            "chain",
            "c",
            vec![link("d/d/a", "../.."), link("b", "d/d/a"), link("c", "b/d/d/a/..")],
        ),
        wrong(
            "then-file-inside",
            "link \"l\" is in the way of another entry",
            [directory("real/"), link("l", "real"), file("l/f", "x")],
        ),
        wrong("link-twice", "one of its names", [link("l", "version.txt"), link("l", "a")]),
        wrong("link-and-file", "entry \"./l\" is there twice", [link("l", "a"), file("./l", "x")]),
        wrong("damaged", "entry \"l\": it is damaged", [link("l", "a").but(|it| it.crc = 1)]),
        bad("platform", ".platform", vec![link(".platform", &canary)]),
        bad("extensions", ".ebextensions", vec![link(".ebextensions", "/etc")]),
        bad("properties", ".env", vec![link(".env", "/etc/passwd")]),
        bad(
            "hook",
            ".platform/hooks/prebuild/a",
            vec![link(".platform/hooks/prebuild/a", "/bin/sh")],
        ),
        fails(
            "compose-file",
            "link \"docker-compose.yml\" leads out of the bundle",
            archive(&[link("docker-compose.yml", "/etc/passwd")]),
        ),
        works("circle", with("circle", [link("a", "b"), link("b", "a"), link("c", "c")])),
        works("dangling-inside", with("dangling-inside", [link("l", "nothing/there")])),
        works(
            "platform-inside",
            with(
                "platform-inside",
                [link(".platform", "other"), program("other/hooks/prebuild/a", hook)],
            ),
        ),
    ]);
}

const UNSUPPORTED: &str = "entry \"f\": it is damaged: compression method not supported";

#[test]
fn what_is_no_file_is_refused_and_what_is_damaged_is_said_to_be() {
    engine!();
    let target = Target::docker();
    let kind = |name: &'static str, mode: u32| {
        let says = "entry \"n\" is neither a file nor a directory nor a link";
        wrong(name, says, [entry("n", mode, "")])
    };
    let good = with("good", []);
    let damaged = |name: &'static str, entry: Entry| {
        let shown = String::from_utf8_lossy(&entry.name).into_owned();
        wrong(name, &format!("entry {shown:?}: it is damaged"), [entry])
    };
    let no_zip = "it is no zip archive";
    let mut moved = good.clone();
    let end = moved.len() - 6;
    moved[end..end + 4].copy_from_slice(&0x00ff_ffff_u32.to_le_bytes());
    let mut disks = good.clone();
    let end = disks.len() - 18;
    disks[end] = 3;
    let missing = "Both 'Dockerfile' and 'Dockerrun.aws.json' are missing in your source bundle";
    target.deploy_all(vec![
        kind("fifo", 0o010_644),
        kind("character-device", 0o020_644),
        kind("block-device", 0o060_644),
        kind("socket", 0o140_644),
        kind("no-kind-at-all", 0o170_644),
        works("set-user-id", with("set-user-id", [entry("suid", 0o106_777, "x")])),
        works(
            "no-rights",
            with("no-rights", [entry("none", 0o100_000, "x"), entry("d/", 0o040_000, "")]),
        ),
        fails("half", no_zip, good[..good.len() / 2].to_vec()),
        fails("without-its-end", no_zip, good[..good.len() - 22].to_vec()),
        fails("text", no_zip, b"this is no zip".to_vec()),
        fails("only-a-signature", no_zip, b"PK\x05\x06".to_vec()),
        fails("tar", no_zip, b"ustar".repeat(400)),
        fails("directory-elsewhere", no_zip, moved),
        fails("several-disks", no_zip, disks),
        fails("empty-archive", missing, archive(&[])),
        fails("nothing-of-use", missing, archive(&[file("readme.txt", "x")])),
        damaged("wrong-sum", file("f", "x").but(|it| it.crc = 1)),
        damaged("wrong-sum-deflated", deflated("f", b"xxxxxxxx").but(|it| it.crc = 1)),
        damaged("no-deflate", file("f", b"\xff\xff\xff\xff").but(|it| it.method = DEFLATED)),
        damaged("more-than-it-says", deflated("f", &[7; 9999]).but(|it| it.size = 10)),
        damaged("less-than-it-says", deflated("f", &[7; 10]).but(|it| it.size = 9999)),
        damaged(
            "cut-off",
            deflated("f", &[7; 9999]).but(|it| {
                it.data.truncate(8);
                it.compressed = 8;
            }),
        ),
        wrong("encrypted", "entry 2: ", [file("f", "x").but(|it| it.flags |= 1)]),
        wrong("unknown-method", UNSUPPORTED, [file("f", "x").but(|it| it.method = 77)]),
        wrong("a-method-of-others", UNSUPPORTED, [file("f", "x").but(|it| it.method = 12)]),
        wrong("data-elsewhere", "entry 2: ", [file("f", "x").but(|it| it.offset = Some(7))]),
        wrong("data-far-away", "entry 2: ", [file("f", "x").but(|it| it.offset = Some(1 << 30))]),
    ]);
}

#[test]
fn no_size_is_believed_and_none_is_too_big() {
    engine!();
    let target = Target::docker();
    let big = "the bundle has more than 4 GiB when it is unpacked";
    let missing = "Both 'Dockerfile' and 'Dockerrun.aws.json' are missing in your source bundle";
    let bomb = zeros("zeros", 10 * 1024);
    let lying = bomb.clone().but(|it| it.size = 1000);
    let nested = archive(&[file("a.zip", archive(&[file("b.zip", archive(&[zeros("z", 64)]))]))]);
    let kernel = zeros("zeros", 1024);
    let many = (0..200).map(|number| {
        // All of them have the same data.
        kernel.clone().but(|it| {
            it.name = format!("zeros-{number}").into_bytes();
            (it.data, it.offset) = (Vec::new(), Some(0));
        })
    });
    let flat = archive(&std::iter::once(kernel.clone()).chain(many).collect::<Vec<_>>());
    let entries = |count: u32| (0..count).map(|number| file(format!("{number:07}"), ""));
    let million = archive(&entries(1_000_000).collect::<Vec<_>>());
    // Only the large end knows how many there are, and a small one lies.
    let too_many = "it has 1000000 entries, 100000 are allowed";
    let absurd = file("zeros", "x").but(|it| it.size = u64::MAX / 2);
    target.deploy_all(vec![
        wrong("ten-gigabytes", big, [bomb]),
        wrong("ten-gigabytes-hidden", "entry \"zeros\": it is damaged", [lying]),
        wrong("absurd", big, [absurd]),
        fails("many-of-one", big, flat),
        fails("nested", missing, nested),
        fails("a-million-entries", too_many, million),
        works("many-files", with("many-files", entries(2_000))),
    ]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", target.server().pid()));
    let status = status.unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(most < 100 * 1024, "the server had {most} kB in memory");
}
