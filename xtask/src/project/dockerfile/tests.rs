//! Dockerfiles and what they are built from.

use std::collections::BTreeMap;

use super::{has_stage, parse};

#[track_caller]
fn check(text: &str, target: Option<&str>, images: &[&str]) {
    let found = parse(text, target, &BTreeMap::from([("V".into(), "9".into())])).unwrap();
    assert_eq!(found.images.iter().map(String::as_str).collect::<Vec<_>>(), images);
}

#[test]
fn a_target_needs_what_it_reaches() {
    let text = "FROM rust:1 AS build\nRUN make\nFROM rust:1 AS test\nFROM base AS prod\n\
        COPY --from=build /a /a\nCOPY --chown=1:1 --from=tool:2 /b /b\n";
    check(text, Some("prod"), &["base", "rust:1", "tool:2"]);
    check(text, Some("test"), &["rust:1"]);
    check(text, None, &["base", "rust:1", "tool:2"]);
    assert!(has_stage(text, "TEST") && !has_stage(text, "dev"));
}

#[test]
fn mounts_numbers_scratch_and_platforms() {
    check(
        "FROM --platform=$P scratch\nRUN --mount=type=bind,from=tools,target=/t x\n",
        None,
        &["tools"],
    );
    check("FROM a\nFROM b\nCOPY --from=0 /x /x\n", None, &["a", "b"]);
    check("FROM a AS a\nFROM a\n", None, &["a"]);
}

#[test]
fn arguments_fill_names_in() {
    check("ARG V=1\nARG N=deb\nFROM ${N}ian:$V\n", None, &["debian:9"]);
    check("ARG X\nFROM ${X:-fallback}\n", None, &["fallback"]);
    let error = parse("ARG X\n\nFROM $X\n", None, &BTreeMap::new()).unwrap_err();
    assert_eq!(error, "3: $X has no value; give ARG a default");
}

#[test]
fn declared_arguments_of_needed_stages_count() {
    let text = "FROM a AS one\nARG ONE\nFROM b AS two\nARG TWO=2\n";
    let found = parse(text, Some("one"), &BTreeMap::new()).unwrap();
    assert_eq!(found.arguments.into_iter().collect::<Vec<_>>(), ["ONE"]);
}

#[test]
fn comments_continuations_and_here_documents_are_no_instructions() {
    check(
        "# escape=`\nFROM a `\n# inside\n  AS x\nRUN <<EOF\nFROM no\nEOF\nFROM b\n",
        None,
        &["b"],
    );
    check("FROM a\nRUN echo \\\n  FROM no\nCOPY <<-'E' /x\n\tFROM no\n\tE\n", None, &["a"]);
    check("from a\ncopy --from=c /x /x\n", None, &["a", "c"]);
}

#[test]
fn what_is_wrong_names_its_line() {
    let wrong = |text: &str, target| parse(text, target, &BTreeMap::new()).unwrap_err();
    assert_eq!(wrong("RUN x\n", None), "1: there is no FROM");
    assert_eq!(wrong("FROM a b\n", None), "1: FROM wants `IMAGE` or `IMAGE AS NAME`");
    assert!(wrong("FROM a AS b\n", Some("c")).contains("there is no stage \"c\""));
}
