//! The matcher against moby's own, case by case.
//!
//! The real one is a Go package, which not every machine has. So its verdicts on the named cases
//! and on some random ones are kept in `tests/oracle/ignore.recorded`, and every run compares
//! with them. `STEVEDORE_FULL=1` asks the package itself, about new random cases each time
//! (`STEVEDORE_SEED=N` for the same ones again), and `STEVEDORE_RECORD=1` writes the recorded file
//! anew:
//!
//! ```text
//! STEVEDORE_RECORD=1 cargo test --workspace ignore::tests::oracle
//! ```

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::Ignore;
use super::is_ignored;

const INSTALL: &str = "apt-get install golang-go golang-github-moby-patternmatcher-dev/trixie (0.6.0, from Debian 13)";

/// Every case that ever was a surprise, with paths that tell the readings apart.
const NAMED: &[(&[u8], &[&[u8]])] = &[
    // The list of pitfalls.
    (b"*\n!x\n", &[b"x", b"y", b"x/y", b"y/x"]),
    (b"**\n!**/x\n", &[b"x", b"y", b"y/x", b"y/x/z"]),
    (b"a/**/z\n", &[b"a/z", b"a/b/z", b"a/b/c/z", b"z", b"a/bz", b"a/b"]),
    (b"!x\n", &[b"x", b"y"]),
    (b"!\n", &[b"x"]),
    (b"! \n", &[b"x"]),
    (b"a/ \n/b/\n", &[b"a", b"a/c", b"b", b"b/c"]),
    (b"#a\n #b\n\\#c\n", &[b"a", b"#a", b"#b", b"#c"]),
    (b"\xef\xbb\xbfa\nb\n", &[b"a", b"b", b"\xef\xbb\xbfa"]),
    (b"\xef\xbb\xbf#a\n\xef\xbb\xbf#b\n", &[b"#a", b"#b", b"\xef\xbb\xbf#b"]),
    (b"\xef\xbb\xbf\xef\xbb\xbf*f\n", &[b"f", b"af", b"\xef\xbb\xbff"]),
    (b"a\n\xef\xbb\xbf**f\n\xef\xbb\xbfb\n", &[b"a", b"f", b"\xbf**f", b"b", b"\xef\xbb\xbfb"]),
    (b"a\r\nb \r\n\r\n#c\r\n", &[b"a", b"b", b"#c", b"a\r"]),
    (b"a\rb\n", &[b"a", b"b", b"a\rb"]),
    (b"[\n", &[b"["]),
    (b"a[b\n", &[b"a[b"]),
    (b"[a-]\n", &[b"a"]),
    (b"[]a]\n", &[b"a"]),
    (b"[^]\n", &[b"^"]),
    (b"a\\\n", &[b"a"]),
    (b"/abs\n", &[b"abs", b"a/abs"]),
    (b"../x\n", &[b"x"]),
    (b".\n", &[b"a"]),
    (b"/\n", &[b"a"]),
    (b"..\n", &[b"a"]),
    (b"/..\n/../c\n", &[b"a", b"c"]),
    (b"Dockerfile\n.dockerignore\n", &[b"Dockerfile", b".dockerignore", b"a"]),
    (b"**/**/**/**/a\n", &[b"a", b"b/a", b"b/b/b/b/b/a", b"b", b"ba"]),
    // What two hands make of a line that one would not.
    (b"./!x\ny\n!y\n", &[b"x", b"y", b"!x"]),
    (b"*\n/!x\n", &[b"x", b"y"]),
    (b"!!x\n*\n!!x\n", &[b"x", b"!x"]),
    (b"!/\n", &[b"x"]),
    (b"/!\n", &[b"x"]),
    (b"!.\n*\n!.\n", &[b"x"]),
    (b"/ x\n", &[b"x", b" x"]),
    (b"*\n!/ x\n", &[b"x", b" x"]),
    (b"/ /\n", &[b" ", b"x"]),
    (b"// /x\n", &[b"x", b" /x"]),
    (b"a /.\n", &[b"a", b"a "]),
    (b"a//b/../c\n", &[b"a/c", b"a/b"]),
    (b"**/../a\n", &[b"a", b"b/a"]),
    (b"\xc2\xa0a\xe3\x80\x80\n", &[b"a"]),
    // The forms: same, starts, ends, regular expression.
    (b"**b\n", &[b"b", b"ab", b"a/ab", b"ba"]),
    (b"**/b\n", &[b"b", b"ab", b"a/b"]),
    (b"a**\n", &[b"a", b"ab", b"ab/c", b"b/a"]),
    (b"a/**\n", &[b"a", b"a/b", b"a/b/c"]),
    (b"**a**\n", &[b"a", b"ba", b"b/a", b"b/ab/c"]),
    (b"a***b\n", &[b"ab", b"acb", b"a/b", b"a/c/db"]),
    (b"a**b\n", &[b"ab", b"acb", b"a/b", b"ac/b"]),
    (b"**\n", &[b"a", b"a\nb"]),
    (b"a?b\n", &[b"a\nb", b"a/b", b"a\xffb", b"a\xc3\xa9b", b"ab"]),
    (b"a**b?\nc**/d*\n", &[b"a\n/bc", b"ax/bc", b"c\n/d", b"cx/d"]),
    // Only the first part is checked, and the second behind a dot.
    (b"?a*\\\n", &[b"xa", b"xa$", b"xab$c", b"xa/"]),
    (b"?*\\\n", &[b"x"]),
    (b"a*b*[]c]\n", &[b"abc", b"ab]", b"abd"]),
    (b"a*b*[c-]\n", &[b"abc", b"ab-", b"abd"]),
    (b".*[]c]\n", &[b".c"]),
    (b"[+-9]*[c-]\n", &[b".c"]),
    (b"[^+-9]*[c-]\n", &[b"ac", b".c"]),
    (b"a*b*[c\n", &[b"abc"]),
    (b"a\n\xef\xbb\xbf**/\\\n", &[b"a", b"$", b"\xbf**/\\"]),
    // Characters that the rewriting leaves to the regular expression.
    (b"a|b*\n", &[b"axx", b"xb", b"b", b"bc", b"xx", b"a|bc"]),
    (b"a|b\n", &[b"a", b"b", b"a|b"]),
    (b"|a*\n", &[b"x"]),
    (b"a{2}*\n", &[b"aa", b"a{2}", b"aab", b"a"]),
    (b"a{2}\n", &[b"aa", b"a{2}"]),
    (b"a{1,}b?\n", &[b"aab", b"aaabc", b"bc"]),
    (b"?a{0,2}\n", &[b"ba", b"baa", b"baaa", b"b"]),
    (b"*.{js,ts}\n", &[b"a.js", b"a.{js,ts}"]),
    (b"?{01}\n?{,1}\n?{1\n", &[b"a{01}", b"a{,1}", b"a{1", b"a"]),
    (b"*{2}\n", &[b"a"]),
    (b"?{2}{3}\n", &[b"a"]),
    (b"?{1001}\n", &[b"a"]),
    (b"?{2,1}\n", &[b"a"]),
    (b"a*|{2}\n", &[b"a"]),
    (b"{2}*\n", &[b"a", b"{2}a"]),
    (b"{0}*a\n", &[b"a/a", b"b", b"a/b"]),
    (b"*^a\n", &[b"a", b"^a", b"b^a"]),
    (b"^a\n^a?\n", &[b"^a", b"a", b"ab", b"^ab"]),
    (b"*$a\n*(b)+\n", &[b"$a", b"x(b)+", b"xb"]),
    (b"*.a\n", &[b"x.a", b"xxa", b".a"]),
    // Classes, and wildcards inside of them.
    (b"[a*]\n", &[b"a]", b"[]", b"]", b"a", b"*"]),
    (b"[a?]\n", &[b"a]", b"^]", b"a", b"?"]),
    (b"[a**b]\n", &[b"a", b"(", b".", b"b", b"c", b"*"]),
    (b"[!-*]\n", &[b"!]", b"!!]", b"!"]),
    (b"[a-*]\n", &[b"a"]),
    (b"[b-a]\n", &[b"a"]),
    (b"[^a]\n[!b]\n", &[b"a", b"b", b"c", b"!", b"\n", b"\xff"]),
    (b"a[^b]c\n", &[b"abc", b"a/c", b"adc"]),
    (b"[[:alpha:]]\n", &[b"a", b":", b"1", b"a]"]),
    (b"[[:^alpha:]]x\n", &[b"ax", b"1x", b"\xc3\xa9x"]),
    (b"[[:nope:]]\n", &[b"a"]),
    (b"[[:alpha:]\n", &[b"a"]),
    (b"[[:]\n", &[b"[", b":"]),
    (b"[\\]a]\n", &[b"]", b"a", b"\\"]),
    (b"[a\\-c]\n", &[b"a", b"b", b"-", b"c"]),
    (b"[\\d_]\n", &[b"1", b"d", b"_"]),
    (b"[+--]\n", &[b"+", b",", b"-"]),
    (b"a]\n", &[b"a]", b"a"]),
    (b"[\xc3\xa0-\xc3\xbf]\n", &[b"\xc3\xa9", b"e"]),
    // Escapes.
    (b"\\a\n", &[b"a", b"\x07"]),
    (b"\\n\n\\t\n", &[b"n", b"\n", b"\t"]),
    (b"\\d\\D\n", &[b"1a", b"dD", b"a1"]),
    (b"\\w\\s\\S\\W\n", &[b"a b ", b"wsSW"]),
    (b"a\\b.c\n\\Bx\n\\Aa\\z\n", &[b"a.c", b"x", b"a"]),
    (b"\\*\n\\?a\n", &[b"*", b"a", b"?a"]),
    (b"\\/a\n", &[b"a", b"/a"]),
    (b"\\!a\n", &[b"!a", b"a"]),
    (b"\\\\\n", &[b"\\"]),
    (b"\\q\n", &[b"q"]),
    (b"\\_\n", &[b"_"]),
    (b"\\1\n", &[b"1"]),
    (b"\\\xc3\xa9\n", &[b"\xc3\xa9"]),
    // What is not text.
    (b"a\xff\nb\xff*\n", &[b"a\xff", b"b\xff", b"b\xffc", b"b\xef\xbf\xbd", b"a\xef\xbf\xbd"]),
    (b"[\xff]\n", &[b"\xff", b"\xef\xbf\xbd"]),
    (b"a\xe2\x80\n?\xe2\x80\n", &[b"a\xef\xbf\xbd\xef\xbf\xbd", b"c\xe2\x80", b"c\xef\xbf\xbd"]),
    (b"a\tb\n", &[b"a\tb"]),
    (b"a\tb\n\xc3\xa9\n", &[b"a\tb", b"\xc3\xa9", b"b"]),
    (b"a\x7f\n", &[b"a"]),
    (b"a\0b*\n", &[b"a"]),
    // What a directory hands on.
    (b"a\n!a/b\n", &[b"a", b"a/b", b"a/c", b"a/b/c"]),
    (b"a\n!a\na/b\n", &[b"a", b"a/b", b"a/c"]),
    (b"a/b\n!a\n", &[b"a", b"a/b", b"a/b/c"]),
    (b"*\n!*/b\n*/b/c\n", &[b"a", b"a/b", b"a/b/c", b"a/b/d", b"b"]),
];

const PATTERN_PIECES: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"ab",
    b"*",
    b"*",
    b"**",
    b"**/",
    b"/**",
    b"?",
    b"[a-c]",
    b"[^a]",
    b"[",
    b"]",
    b"[",
    b"]",
    b"!",
    b"\\",
    b"^",
    b"$",
    b".",
    b"..",
    b"/",
    b"/",
    b"//",
    b" ",
    b"#",
    b"\xef\xbb\xbf",
    b"\xc3\xa9",
    b"{",
    b"}",
    b"{2}",
    b"{0,2}",
    b"+",
    b"(",
    b")",
    b"|",
    b"-",
    b",",
    b"\\d",
    b"\\b",
    b"[[:alpha:]]",
    b"[:",
    b":]",
    b"\xff",
    b"\t",
    b"1",
    b"_",
    b"\\a",
    b"***",
    b"[a*]",
    b"\xef\xbf\xbd",
];
const PATH_PIECES: &[&[u8]] = &[
    b"a",
    b"a",
    b"b",
    b"b",
    b"c",
    b"ab",
    b".",
    b"[",
    b"]",
    b"!",
    b"\\",
    b"^",
    b"$",
    b" ",
    b"#",
    b"-",
    b"\xc3\xa9",
    b"{2}",
    b"+",
    b"(",
    b"|",
    b"*",
    b"\n",
    b"\xff",
    b"1",
    b"_",
    b"\xef\xbb\xbf",
    b"aa",
    b"\xef\xbf\xbd",
    b"/",
    b"/",
    b"/",
    b"/",
    b":",
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn bytes(&mut self, pieces: &[&[u8]], most: usize) -> Vec<u8> {
        (0..=self.below(most)).flat_map(|_| pieces[self.below(pieces.len())].to_vec()).collect()
    }

    fn ignore_file(&mut self) -> Vec<u8> {
        let mut file = if self.below(30) == 0 { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        for line in 0..=self.below(3) {
            file.extend_from_slice([&b""[..], b"", b"!", b"", b"! ", b"/", b" "][self.below(7)]);
            // Half of the lines are tame: the others are often an error, which ends the case.
            let tame = self.below(2) == 0;
            let pieces = if tame { &PATTERN_PIECES[..12] } else { PATTERN_PIECES };
            file.extend(self.bytes(pieces, if line == 0 { 5 } else { 3 }));
            file.extend_from_slice([&b"\n"[..], b"\n", b"\r\n", b" \n"][self.below(4)]);
        }
        file
    }

    /// A path: made up, or made of the ignore file as something that it may well match.
    fn path(&mut self, file: &[u8]) -> Vec<u8> {
        let text = if self.below(2) == 0 {
            self.bytes(PATH_PIECES, 5)
        } else {
            let lines: Vec<&[u8]> = file.split(|&byte| byte == b'\n').collect();
            let mut text = Vec::new();
            for &byte in lines[self.below(lines.len())] {
                match byte {
                    b'*' | b'?' => text.extend(self.bytes(&PATH_PIECES[..6], 1)),
                    b'[' | b']' | b'\\' | b'!' | b'^' if self.below(2) == 0 => {}
                    byte => text.push(byte),
                }
            }
            text
        };
        let is_name = |name: &&[u8]| !matches!(*name, b"" | b"." | b"..");
        let text = text.split(|byte| matches!(byte, b'/' | 0));
        let path = text.filter(is_name).collect::<Vec<_>>().join(&b'/');
        if path.is_empty() { b"a".to_vec() } else { path }
    }

    fn cases(&mut self, count: usize, paths: usize) -> Vec<String> {
        let case = |_| {
            let file = self.ignore_file();
            let paths: Vec<Vec<u8>> = (0..paths).map(|_| self.path(&file)).collect();
            line(&file, &paths)
        };
        (0..count).map(case).collect()
    }
}

/// A case as the oracle reads it.
fn line(file: &[u8], paths: &[impl AsRef<[u8]>]) -> String {
    let fields = std::iter::once(file).chain(paths.iter().map(AsRef::as_ref));
    fields.map(escape).collect::<Vec<_>>().join("\t")
}

fn escape(bytes: &[u8]) -> String {
    let one = |&byte: &u8| match byte {
        b' '..=b'~' if byte != b'\\' => char::from(byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(one).collect()
}

fn unescape(field: &str) -> Vec<u8> {
    let mut parts = field.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// How often each verdict came up.
#[derive(Debug, Default)]
struct Tally {
    ignored: usize,
    kept: usize,
    errors: usize,
    refused: usize,
}

impl Tally {
    /// Compares our answer to a case with the oracle's.
    fn compare(&mut self, answer: &str) {
        let fields: Vec<&str> = answer.split('\t').collect();
        let [file, verdicts, paths @ ..] = &fields[..] else { panic!("{answer:?}") };
        let ours = match Ignore::parse(&unescape(file)) {
            Ok(ignore) => {
                let verdict = |path: &&str| is_ignored(&ignore, &unescape(path));
                paths.iter().map(|path| if verdict(path) { '1' } else { '0' }).collect()
            }
            // We say so where we do not follow the engine.
            Err(error) if error.to_string().contains("reads as a regular expression") => {
                self.refused += 1;
                return;
            }
            Err(_) => "error".to_owned(),
        };
        let theirs = if verdicts.starts_with("error") { "error" } else { verdicts };
        assert_eq!(ours, theirs, "ours and theirs: {answer}");
        self.errors += usize::from(ours == "error");
        self.ignored += ours.matches('1').count();
        self.kept += ours.matches('0').count();
    }
}

fn oracle(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(file)
}

/// Asks the real patternmatcher.
#[allow(clippy::disallowed_methods)]
fn ask(cases: &[String]) -> String {
    let mut child = Command::new("go")
        .arg("run")
        .arg(oracle("ignore.go"))
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("no go ({error}): {INSTALL}"));
    let mut stdin = child.stdin.take().unwrap();
    let text: String = cases.iter().flat_map(|case| [case, "\n"]).collect();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "no patternmatcher 0.6.0? {INSTALL}");
    writer.join().unwrap().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), cases.len());
    answers
}

#[allow(clippy::disallowed_methods)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[allow(clippy::disallowed_methods)]
fn record(path: &Path) {
    let named = NAMED.iter().map(|(file, paths)| line(file, paths));
    let cases: Vec<String> = named.chain(Random(1).cases(1500, 6)).collect();
    std::fs::write(path, ask(&cases)).unwrap();
}

#[test]
fn recorded_verdicts_of_the_real_patternmatcher_are_ours() {
    let path = oracle("ignore.recorded");
    if variable("STEVEDORE_RECORD").is_some() {
        record(&path);
    }
    let recorded = std::fs::read_to_string(&path).unwrap();
    for (file, paths) in NAMED {
        let case = line(file, paths);
        let (file, paths) = case.split_once('\t').unwrap();
        let known =
            |answer: &str| answer.starts_with(&format!("{file}\t")) && answer.ends_with(paths);
        assert!(recorded.lines().any(known), "{case:?} is not recorded: STEVEDORE_RECORD=1");
    }
    let mut tally = Tally::default();
    recorded.lines().for_each(|answer| tally.compare(answer));
    assert!(tally.ignored > 1000 && tally.kept > 1000 && tally.errors > 100, "{tally:?}");
}

#[test]
#[allow(clippy::print_stdout, clippy::disallowed_macros)]
fn random_verdicts_of_the_real_patternmatcher_are_ours() {
    if variable("STEVEDORE_FULL").is_none() {
        return;
    }
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = variable("STEVEDORE_SEED").map_or(now, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut tally = Tally::default();
    ask(&Random(seed).cases(60_000, 8)).lines().for_each(|answer| tally.compare(answer));
    println!("{tally:?}");
    let pairs = tally.ignored + tally.kept;
    assert!(pairs > 100_000 && tally.ignored.min(tally.kept) > pairs / 5, "{tally:?}");
    assert!(tally.refused < 2_000, "{tally:?}");
}
