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

#[test]
fn what_the_builder_cannot_take_is_refused_with_its_line() {
    let long = format!("a\n#{}\n", "x".repeat((64 << 10) - 1));
    for (patterns, line) in [
        ("a\n*{2}\n", 2),
        ("\\q\n", 1),
        ("[b-a]\n", 1),
        ("!/\n", 1),
        ("a\nb\tc\nd\n", 2),
        (&long, 2),
        ("a\n\\x41\n", 2),
        ("\\pL\n", 1),
    ] {
        let error = Ignore::parse(patterns.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("line {line}: ")), "{error}");
    }
    Ignore::parse(long.replacen('x', "", 1).as_bytes()).unwrap();
}

#[test]
fn the_walk_enters_an_ignored_directory_only_for_an_exception_that_leads_there() {
    let enters = |patterns: &str, path: &str| {
        Ignore::parse(patterns.as_bytes()).unwrap().may_reinclude_below(path.as_bytes())
    };
    assert!(!enters("*\n", "d"));
    assert!(enters("*\n!d/e/a\n", "d") && enters("*\n!d/e/a\n", "d/e"));
    assert!(!enters("*\n!d/e/a\n", "e") && !enters("*\n!dd/a\n", "d"));
    assert!(enters("*\n!d\n", "d") && enters("*\n!d/*\n", "d") && enters("*\n!d/**\n", "d"));
    assert!(!enters("*\n!d/*\n", "e") && !enters("*\n!d/**\n", "e"));
    assert!(enters("*\n!**/x\n", "e") && enters("*\n!d/?\n", "e") && enters("*\n!\\[\n", "e"));
}

#[test]
fn no_patterns_are_known_as_such() {
    for (patterns, empty) in [("", true), ("#a\n\n  \r\n", true), ("/ /\n", true), ("/\n", false)] {
        assert_eq!(Ignore::parse(patterns.as_bytes()).unwrap().is_empty(), empty, "{patterns:?}");
    }
    let parents = Ignore::parse(b"a\n").unwrap().matches(b"b", None).1;
    assert_eq!(parents.0.capacity(), 0, "nothing is allocated where nothing matched");
}

#[test]
fn an_ignore_file_serves_many_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Ignore>();
    is_shared::<super::Parents>();
}

#[test]
fn ten_thousand_patterns_and_long_paths_take_no_time_to_speak_of() {
    let started = std::time::Instant::now();
    let many: String = (0..10_000).map(|n| format!("{n}/**/q*\n")).collect();
    let ignore = Ignore::parse(many.as_bytes()).unwrap();
    for n in 0..100 {
        assert!(is_ignored(&ignore, format!("{n}/a/b/query").as_bytes()));
        assert!(!is_ignored(&ignore, format!("{n}/a/b/answer").as_bytes()));
    }
    let path = "a/".repeat(2_500) + "b";
    assert!(ignored("**/a/**/a/**/a/**/a/**/c*\n?{1000}c*{1001\n", &[&path]).is_empty());
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
