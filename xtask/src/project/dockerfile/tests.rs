//! Dockerfiles and what they are built from. What opens a here-document, continues a line, names a
//! mount's source or is taken for a stage was tried with BuildKit itself.

use std::collections::BTreeMap;

use super::{direct_copies, has_stage, parse};
use crate::project::substitute::substitute;

#[track_caller]
fn check(text: &str, target: Option<&str>, images: &[&str]) {
    let found = parse(text, target, &BTreeMap::from([("V".into(), "9".into())])).unwrap();
    assert_eq!(found.images.iter().map(String::as_str).collect::<Vec<_>>(), images, "{text}");
}

#[track_caller]
fn wrong(text: &str, message: &str) {
    assert_eq!(parse(text, None, &BTreeMap::new()).unwrap_err(), message, "{text}");
}

#[test]
fn a_target_needs_what_it_reaches() {
    let text = "FROM rust:1 AS build\nRUN make\nFROM rust:1 AS test\nFROM base AS prod\n\
        COPY --from=build /a /a\nCOPY --chown=1:1 --from=tool:2 /b /b\n";
    check(text, Some("prod"), &["base", "rust:1", "tool:2"]);
    check(text, Some("test"), &["rust:1"]);
    check(text, None, &["base", "rust:1", "tool:2"]);
    assert_eq!(has_stage(text, "TEST"), Ok(true));
    assert_eq!(has_stage(text, "dev"), Ok(false));
    assert_eq!(has_stage("FROM --platform=linux/amd64 a AS test\n", "test"), Ok(true));
    assert_eq!(has_stage("FROM a\nRUN <<EOF\nFROM a AS test\nEOF\n", "test"), Ok(false));
    assert!(has_stage("FROM a\nRUN <<EOF\n", "test").is_err());
}

#[test]
fn mounts_numbers_scratch_and_platforms() {
    check(
        "FROM --platform=$P scratch\nRUN --mount=type=bind,from=tools,target=/t x\n",
        None,
        &["tools"],
    );
    check("FROM a\nFROM b\nCOPY --from=0 /x /x\n", None, &["a", "b"]);
    check("FROM --platform=$BUILDPLATFORM a AS x\nFROM x\n", None, &["a"]);
    // Only to COPY is a number a stage.
    check("FROM a\nFROM 0\nRUN --mount=from=0 x\n", None, &["0"]);
    wrong("FROM a\nCOPY --from=0 /x /x\n", "2: there is no stage 0 before this one");
}

#[test]
fn a_mount_is_read_as_the_builder_reads_it() {
    let mounts = |flag: &str| format!("FROM a\nRUN --network=none {flag} x --mount=from=no\n");
    check(&mounts("--mount=type=bind,FROM=b,target=/t"), None, &["a", "b"]);
    check(&mounts("--mount=from=no,from=b"), None, &["a", "b"]);
    check(&mounts("--mount=type=bind,'\"from=b\"'"), None, &["a", "b"]);
    check(&mounts("--mount=\"type=bind,from=b\" --mount=from=c"), None, &["a", "b", "c"]);
    check(&mounts("-- --mount=from=no"), None, &["a"]);
}

#[test]
fn names_are_as_short_as_those_the_builder_looks_for() {
    check("FROM debian:latest\n", None, &["debian"]);
    check("FROM docker.io/library/debian:13\n", None, &["debian:13"]);
    check("FROM index.docker.io/some/one\n", None, &["some/one"]);
    check("FROM scratch\nCOPY --from=library/debian:latest /x /x\n", None, &["debian"]);
    check("FROM example.org/library/x:1\n", None, &["example.org/library/x:1"]);
    check("FROM x:latest@sha256:0\n", None, &["x:latest@sha256:0"]);
}

#[test]
fn no_stage_is_called_like_an_image_that_is_needed() {
    let error = |line, name| {
        format!(
            "{line}: a stage called {name:?} would be replaced by the image of that name; call \
             it something else"
        )
    };
    wrong("FROM a AS a\nFROM a\n", &error(1, "a"));
    wrong("FROM a AS one\n\nFROM base AS BASE\nCOPY . /\n", &error(3, "base"));
    wrong("FROM debian:latest AS debian\n", &error(1, "debian"));
    wrong("FROM a AS one\nCOPY --from=two /x /x\nFROM b AS two\nFROM one\n", &error(3, "two"));
    // Where the image is not needed, nothing is given in its place.
    check("FROM base AS base\nFROM b AS c\n", Some("c"), &["b"]);
    wrong("FROM a AS x\nFROM b AS X\n", "2: there already is a stage called \"X\"");
}

#[test]
fn arguments_fill_names_in() {
    check("ARG V=1\nARG N=deb\nFROM ${N}ian:$V\n", None, &["debian:9"]);
    check("ARG X\nFROM ${X:-fallback}\n", None, &["fallback"]);
    wrong("ARG X\n\nFROM $X\n", "3: $X has no value; give ARG a default");
    wrong("FROM $X\nARG X=1\n", "1: $X has no value; give ARG a default");
}

#[test]
fn a_default_may_hold_what_was_declared_before_it() {
    check("ARG V\nARG BASE=debian:${V}-slim\nFROM $BASE\n", None, &["debian:9-slim"]);
    check("ARG A=1 B=2\nARG C=$A.$B D\nFROM x:$C${D:+no}\n", None, &["x:1.2"]);
    check("ARG UNUSED=$NOBODY\nFROM a\n", None, &["a"]);
    wrong("ARG B=a:$A\nARG A=1\nFROM $B\n", "3: $A has no value; give ARG a default");
}

#[test]
fn quotes_are_not_part_of_a_name() {
    check("ARG B='base'\nFROM $B\n", None, &["base"]);
    check("FROM \"base\" AS x\nCOPY --from=\"tool\" /x /x\n", None, &["base", "tool"]);
    check("FROM a\nCOPY --from='tool' --chown=\"1 1\" /x /x\n", None, &["a", "tool"]);
    check("ARG A=\"x y\" B='z'\nFROM ${B}\n", None, &["z"]);
    check("ARG V A='FROM $V' B=\"b$V\"\nFROM \"$B\"\n", None, &["b9"]);
    check("FROM d\\ebian\n", None, &["debian"]);
    wrong("FROM \"base\n", "1: a \" is not closed");
    let error = "1: variables are not filled in here ($B); name a stage, and give it the image \
                 (FROM $B AS …)";
    wrong("FROM '$B'\n", error);
}

#[test]
fn an_operator_decides_what_stands_for_a_variable() {
    let check = |name: &str, image: &str| {
        check(&format!("ARG SET=s EMPTY= NONE\nFROM a{name}\n"), None, &[image]);
    };
    for (name, image) in [
        ("${SET:-x}", "as"),
        ("${SET-x}", "as"),
        ("${SET:+x}", "ax"),
        ("${SET+x}", "ax"),
        ("${SET:?x}", "as"),
        ("${EMPTY}", "a"),
        ("${EMPTY:-x}", "ax"),
        ("${EMPTY-x}", "a"),
        ("${EMPTY:+x}", "a"),
        ("${EMPTY+x}", "ax"),
        ("${EMPTY?x}", "a"),
        ("${NONE:-x}", "ax"),
        ("${NONE:+x}", "a"),
        ("${NOBODY-x}", "ax"),
        ("${NOBODY:-\"x${SET}\"}y", "axsy"),
        ("${NOBODY:-${NONE:-${SET}}}", "as"),
    ] {
        check(name, image);
    }
}

#[test]
fn an_operator_that_not_all_know_is_refused() {
    let from = |name: &str| {
        let text = format!("ARG SET=s EMPTY= NONE\nFROM a{name}\n");
        parse(&text, None, &BTreeMap::new()).unwrap_err()
    };
    assert_eq!(from("${SET:?}${EMPTY:?say:so}"), "2: $EMPTY has no value: say:so");
    assert_eq!(from("${NONE?}"), "2: $NONE has no value; give ARG a default");
    let error = "2: a${NONE-x} needs `:` before its operator: an ARG has no value";
    assert_eq!(from("${NONE-x}"), error);
    for operation in ["%s", "#s", "/s/t", ":", "!x", ":=x"] {
        let error = from(&format!("${{SET{operation}}}"));
        let says = format!("2: `${{SET{operation}}}` is not supported; behind a name may stand");
        assert!(error.starts_with(&says), "{error}");
    }
    assert_eq!(from("${SET"), "2: `${` without `}`");
}

#[test]
fn values_of_compose_know_the_same_operators() {
    let mut names = Vec::new();
    let mut fill = |text: &str| {
        substitute(text, &mut |name| {
            names.push(name.to_owned());
            ["SET", "EMPTY"].contains(&name).then(|| name.replace("EMPTY", "").to_lowercase())
        })
    };
    let mut check =
        |text: &str, expected: &str| assert_eq!(fill(text).unwrap(), expected, "{text}");
    check("$$SET $SET ${SET}x", "$SET set setx");
    check("${EMPTY-x} ${EMPTY:-x} ${EMPTY+x} ${EMPTY:+x}", " x x ");
    check("${SET-x} ${SET:-x} ${SET+x} ${SET:+x} ${SET:?x}", "set set x x set");
    check("${NO-x} ${NO:-x} ${NO+x} ${NO:+x}", "x x  ");
    check("${NO:-a${NO:-${SET}}$$}b ${SET:-$UNUSED}", "aset$b set");
    assert_eq!(fill("${NO?say so}").unwrap_err(), "$NO has no value: say so");
    assert!(fill("${SET%t}").unwrap_err().contains("is not supported"));
    assert!(names.iter().any(|name| name == "UNUSED"), "who looks for names finds all");
}

#[test]
fn arguments_that_the_builder_sets_are_no_part_of_a_name() {
    let error = |line, name| {
        format!("{line}: FROM depends on {name}, which is not supported; name the image")
    };
    wrong("FROM a-$TARGETARCH\n", &error(1, "TARGETARCH"));
    wrong("ARG TARGETARCH\nFROM a-${TARGETARCH:-x}\n", &error(2, "TARGETARCH"));
    wrong("ARG B=a-$BUILDOS\nFROM $B\n", &error(2, "BUILDOS"));
    check("ARG TARGETARCH=arm64\nFROM a-$TARGETARCH\n", None, &["a-arm64"]);
    check("FROM a\nARG TARGETARCH\nRUN echo $TARGETARCH\n", None, &["a"]);
}

#[test]
fn declared_arguments_of_needed_stages_count() {
    let text = "FROM a AS one\nARG ONE=\"a NO\" TWO\nFROM b AS two\nARG THREE=2\n";
    let found = parse(text, Some("one"), &BTreeMap::new()).unwrap();
    assert_eq!(found.arguments.into_iter().collect::<Vec<_>>(), ["ONE", "TWO"]);
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
fn a_continued_line_goes_on_where_the_next_begins() {
    check("FR\\\nOM ba\\\nse\nCOPY --from=to\\\nol /x /x\n", None, &["base", "tool"]);
    check("FROM a\nRUN x \\ \t\n # comment\n\n  && y\nFROM b\n", None, &["b"]);
    check("FROM a\nRUN x \\\n\\\nFROM b\n", None, &["a"]);
    // Two at the end are text, and the last line may want another one.
    check("FROM a\nRUN echo \\\\\nFROM b\n", None, &["b"]);
    check("FROM a\nCOPY --from=b /x /x \\\n", None, &["a", "b"]);
    check("# no continuation \\\nFROM a\n", None, &["a"]);
}

#[test]
fn lines_may_end_as_on_windows_and_begin_with_a_mark() {
    check("\u{feff}FROM a\n", None, &["a"]);
    check("\u{feff}# escape=`\nFROM `\na\n", None, &["a"]);
    check(
        "FROM a\r\nRUN <<EOF\r\nFROM no\r\nEOF\r\nCOPY \\\r\n  --from=b /x /x\r\n",
        None,
        &["a", "b"],
    );
}

#[test]
fn the_escape_is_set_at_the_top_only() {
    check("# Escape = `  \nFROM `\na\n", None, &["a"]);
    check("# syntax=docker/dockerfile:1\n# escape=`\nFROM `\na\n", None, &["a"]);
    for before in ["# comment\n", "\n", "# other=1\n"] {
        check(&format!("{before}# escape=`\nFROM a\nRUN x `\nFROM b\n"), None, &["b"]);
    }
    wrong("# escape=x\nFROM a\n", "1: escape is either ` or \\");
    let check_first = "2: older builders read no directive behind `# check`; put `# escape` before \
                       it";
    wrong("# check=skip=all\n# escape=`\nFROM a\n", check_first);
    // Here-documents and flags keep the backslash.
    check(
        "# escape=`\nFROM a\nRUN <<\\EOF\nFROM no\nEOF\nRUN --mount=from=\\b x\n",
        None,
        &["a", "b"],
    );
}

#[test]
fn a_here_document_is_opened_by_a_word_of_its_own() {
    let hidden = |opens: &str, end: &str| {
        check(
            &format!("FROM a\n{opens}\nFROM no\n{end}\nCOPY --from=b /x /x\n"),
            None,
            &["a", "b"],
        );
    };
    hidden("RUN 3<<X", "X");
    hidden("RUN cat <<'EOF' > /x && cat <<-\"a b\" > /y", "EOF\nFROM no\n\t\ta b");
    hidden("RUN <<\"EOF\"", " EOF\nEOF \n\tEOF\nEOF");
    hidden("RUN --mount=type=cache,target=/x <<E'O'F", "EOF");
    hidden("RUN echo $(cat <<EOF)", "EOF)");
    hidden("COPY --chown=1 <<a.txt <<b.txt /x", "a.txt\nFROM no\nb.txt");
    hidden("add <<-E /x", "\tE");
    hidden("RUN <<A \\\n  <<B", "A\nFROM no\nB");
}

#[test]
fn what_only_looks_like_a_here_document_hides_nothing() {
    let shown = |line: &str| check(&format!("FROM a\n{line}\nFROM b\n"), None, &["b"]);
    shown("RUN echo \"see cat <<EOF in the manual\"");
    shown("RUN echo 'cat <<EOF' \\<<EOF \"<<EOF\"");
    shown("RUN cat<<EOF");
    shown("RUN cat <<<EOF");
    shown("RUN echo $((1 << 2)) <<- <<''");
    shown("RUN [\"echo\", \"<<EOF\", \"<<EOF\"]");
    shown("COPY [\"<<EOF\", \"/x\"]");
    shown("ENV A=1 B=<<EOF");
    shown("CMD cat <<EOF");
    // The builder sees no words at all in this one.
    shown("RUN echo it's <<EOF");
}

#[test]
fn what_is_wrong_names_its_line() {
    wrong("RUN x\n", "1: there is no FROM");
    wrong("FROM a b\n", "1: FROM wants `IMAGE` or `IMAGE AS NAME`");
    wrong("FROM a --platform=x\n", "1: FROM wants `IMAGE` or `IMAGE AS NAME`");
    let end = "2: the here-document has no end: no line is \"EOF\"";
    wrong("FROM a\nRUN <<EOF\necho\n EOF\n", end);
    wrong("FROM a\nRUN cat << EOF\necho\nEOF\n", "3: unknown instruction \"ECHO\"");
    let from = "2: --from wants its stage or image behind a `=`";
    wrong("FROM a\nCOPY --from b /x /x\n", from);
    let no_variable = "3: variables are not filled in here ($X); name a stage, and give it the \
                       image (FROM $X AS …)";
    wrong("FROM a\nARG X=b\nCOPY --from=$X /x /x\n", no_variable);
    let onbuild = "7: ONBUILD is not supported: labels are put on by building FROM the image, \
                   which would run it; copy its instruction into the images built from this one";
    wrong("FROM a\nRUN <<E\nONBUILD RUN x\nE\n\n# why\nonbuild COPY --from=b /x /x\n", onbuild);
    let error = parse("FROM a AS b\n", Some("c"), &BTreeMap::new()).unwrap_err();
    assert!(error.contains("there is no stage \"c\""));
    let error = parse("FROM a\nFROM b\n", Some("0"), &BTreeMap::new()).unwrap_err();
    assert!(error.contains("there is no stage \"0\""));
}

#[test]
fn direct_copies_are_those_of_the_context_alone() {
    let text = "# escape=`\nARG D=/d\nFROM a AS one\nENV E=/e\nCOPY --chown=\"1 1\" x `\n  $D\n\
        RUN <<EOF\nCOPY no /no\nEOF\nCOPY 3<<F /f\nCOPY no /no\nF\nFROM \"one\"\n\
        COPY [\"a  b\", \"/x\"]\nCOPY --from=one /x /y\nCOPY --parents x /y\nADD x.tar /\n";
    let expected = "# escape=`\nARG D=/d\nFROM scratch\nENV E=/e\nCOPY x   $D\n\
        COPY [\"a  b\", \"/x\"]\n";
    assert_eq!(direct_copies(text, None).unwrap().as_deref(), Some(expected));
    assert_eq!(direct_copies("FROM a\nRUN x\n", None), Ok(None));
    assert!(direct_copies("FROM a\nONBUILD RUN x\n", None).is_err());
}

#[test]
fn what_a_target_reads_of_its_context_is_known() {
    let text = "FROM a AS dependencies\nCOPY Cargo.toml ./Cargo.lock /app/\n\
        FROM dependencies AS dev\nRUN --mount=type=cache,target=/t \
        --mount=source=tools,target=/x x\n\
        FROM dependencies AS prod\nCOPY [\"src\", \"/src\"]\nCOPY assets/*.css conf/a?.toml /x/\n\
        FROM a AS all\nADD --chown=1 . /x\n\
        FROM a AS odd\nCOPY $WHAT/x /x\nADD https://example.com/x /x\nCOPY <<EOF /x\nEOF\n\
        RUN --mount=target=/x x\n\
        FROM a AS none\nCOPY --from=b /x /x\nRUN --mount=from=b,target=/y x\n";
    let reads = |target: &str| {
        let found = parse(text, Some(target), &BTreeMap::new()).unwrap().reads;
        found.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(reads("dev"), "Cargo.lock Cargo.toml tools");
    assert_eq!(reads("prod"), "Cargo.lock Cargo.toml assets conf src");
    assert_eq!(reads("all"), ".");
    assert_eq!(reads("odd"), ".");
    assert_eq!(reads("none"), "");
}
