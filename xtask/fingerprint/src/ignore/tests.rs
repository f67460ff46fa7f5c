//! `.dockerignore` as tables: the pattern, then what it takes away.

use super::Ignore;

mod oracle;

/// Which of the paths (each below the directories that lead to it) are ignored.
fn ignored(patterns: &str, paths: &[&str]) -> Vec<String> {
    let ignore = Ignore::parse(patterns.as_bytes()).unwrap();
    let hit = |path: &&&str| is_ignored(&ignore, path.as_bytes());
    paths.iter().filter(hit).map(|path| (*path).to_owned()).collect()
}

/// The verdict of a walk that comes to the path by its directories.
fn is_ignored(ignore: &Ignore, path: &[u8]) -> bool {
    let mut parents = None;
    let mut verdict = false;
    let ends = (0..path.len()).filter(|&at| path[at] == b'/').chain([path.len()]);
    for end in ends {
        let (ignored, matched) = ignore.matches(&path[..end], parents.as_ref());
        (verdict, parents) = (ignored, Some(matched));
    }
    verdict
}

#[test]
fn names_and_wildcards() {
    assert_eq!(ignored("a\n", &["a", "a/b", "b/a", "ab"]), ["a", "a/b"]);
    assert_eq!(ignored("*.log\n", &["x.log", "d/x.log", ".log", "x.logs"]), ["x.log", ".log"]);
    assert_eq!(ignored("?\n", &["a", "é", "ab", "a/b"]), ["a", "é", "a/b"]);
    assert_eq!(ignored("*/b\n", &["a/b", "b", "a/c/b"]), ["a/b"]);
    assert_eq!(ignored("[a-c]x\n[^a]y\n", &["bx", "dx", "ay", "by"]), ["bx", "by"]);
    assert_eq!(ignored("a\\*\n", &["a*", "ab"]), ["a*"]);
}

#[test]
fn two_stars_take_any_depth() {
    assert_eq!(ignored("**/a\n", &["a", "b/a", "b/c/a", "ba"]), ["a", "b/a", "b/c/a"]);
    assert_eq!(ignored("a/**\n", &["a", "a/b", "a/b/c"]), ["a/b", "a/b/c"]);
    assert_eq!(ignored("a/**/z\n", &["a/z", "a/b/z", "a/b/c/z", "z"]), ["a/z", "a/b/z", "a/b/c/z"]);
    assert_eq!(ignored("**\n", &["a", "a/b"]), ["a", "a/b"]);
}

#[test]
fn exceptions_bring_back_and_the_last_match_decides() {
    assert_eq!(ignored("*\n!x\n", &["x", "y", "x/z"]), ["y"]);
    assert_eq!(ignored("*\n!d/keep\n", &["d", "d/keep", "d/other"]), ["d", "d/other"]);
    assert_eq!(ignored("!x\n*\n", &["x", "y"]), ["x", "y"]);
    assert_eq!(ignored("*.md\n!README.md\nREADME.md\n", &["README.md"]), ["README.md"]);
}

#[test]
fn spelling_is_cleaned() {
    assert_eq!(
        ignored("\u{feff}/a/\r\n./b//c \n # no comment\n#x\n", &["a", "b/c", "#x"]),
        ["a", "b/c"]
    );
    assert_eq!(ignored("a/../b\n", &["a", "b"]), ["b"]);
    assert_eq!(ignored("! a\n*\n! a\n", &["a", "b"]), ["b"]);
    assert_eq!(ignored("../x\n.\n", &["x", "a"]), Vec::<String>::new());
}

#[test]
fn malformed_patterns_are_refused_with_their_line() {
    for (patterns, line) in
        [("[\n", 1), ("a\n[a-]\n", 2), ("\n\n!\n", 3), ("[]a]\n", 1), ("a\\\n", 1)]
    {
        let error = Ignore::parse(patterns.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("line {line}: ")), "{patterns:?}: {error}");
    }
}

#[test]
fn many_stars_do_not_explode() {
    let path = "a/".repeat(200) + "b";
    assert_eq!(ignored("**/**/**/**/**/**/**/c\n", &[path.as_str()]), Vec::<String>::new());
}
