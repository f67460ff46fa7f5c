//! The part of Go's regular expressions that an ignore file can reach.
//!
//! patternmatcher escapes every parenthesis, so there are no groups but its own `(.*/)?`: an
//! expression is alternatives of steps in a row, each with a count. Matching keeps the set of
//! positions that the steps so far can end at. Its time is steps times length, whatever the
//! pattern, where backtracking over `**/**/**/a` would explode.

use anyhow::{Result, bail};

mod class;

use super::glance::Needs;
use class::Class;

/// Go's bound for one count, and ours for all counts of a pattern together.
const COUNT_LIMIT: u32 = 1000;
const TOTAL_LIMIT: u32 = 10 * COUNT_LIMIT;

#[derive(Debug)]
pub(super) struct Regexp {
    alternatives: Vec<Vec<Step>>,
    /// What most paths fail already, at the price of a comparison.
    literals: Literals,
}

#[derive(Debug)]
struct Step {
    what: What,
    least: u32,
    most: Option<u32>,
}

#[derive(Debug)]
enum What {
    One(Class),
    /// `.*/`
    Directories,
    /// `^`, `\A`
    Begin,
    /// `$`, `\z`
    End,
    /// `\b`, or `\B` if false
    WordBoundary(bool),
}

/// Text that every matching path has: at its start, at its end and in between.
#[derive(Debug, Default)]
struct Literals {
    start: Vec<u8>,
    end: Vec<u8>,
    inside: Vec<u8>,
    between: Between,
}

/// What stands between the start and the end.
#[derive(Debug, Default, PartialEq)]
enum Between {
    Nothing,
    /// `*` alone, as in `*.log`.
    Name,
    #[default]
    Steps,
}

impl Regexp {
    pub(super) fn parse(text: &str) -> Result<Regexp> {
        let alternatives = Parser { rest: text }.alternatives()?;
        let literals = match &alternatives[..] {
            [steps] => Literals::of(steps),
            _ => Literals::default(),
        };
        Ok(Regexp { alternatives, literals })
    }

    pub(super) fn needs(&self) -> Needs {
        Needs::new(&self.literals.start, &self.literals.end, &self.literals.inside)
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let Some(between) = self.literals.between(path) else {
            return false;
        };
        match self.literals.between {
            Between::Nothing => between.is_empty(),
            Between::Name => !between.contains(&b'/'),
            Between::Steps => {
                let path: Vec<char> = super::lossy(path).chars().collect();
                self.alternatives.iter().any(|steps| found(steps, &path))
            }
        }
    }
}

impl Literals {
    fn of(steps: &[Step]) -> Literals {
        let [first, steps @ .., last] = steps else {
            return Literals::default();
        };
        let is_once = |step: &Step| step.least == 1 && step.most == Some(1);
        if !matches!(first.what, What::Begin) || !matches!(last.what, What::End) || !is_once(first)
        {
            return Literals::default();
        }
        let literal = |step: &Step| match &step.what {
            // A path that is not UTF-8 has this character without having its bytes.
            What::One(class) if is_once(step) => {
                class.only().filter(|&c| c != char::REPLACEMENT_CHARACTER)
            }
            _ => None,
        };
        let runs: Vec<String> = steps
            .chunk_by(|a, b| literal(a).is_some() && literal(b).is_some())
            .map(|run| run.iter().filter_map(literal).collect())
            .collect();
        let (start, rest) = match &runs[..] {
            [start, rest @ ..] if !start.is_empty() => (start.as_str(), rest),
            rest => ("", rest),
        };
        let (end, rest) = match rest {
            [rest @ .., end] if !end.is_empty() => (end.as_str(), rest),
            rest => ("", rest),
        };
        let inside = rest.iter().max_by_key(|run| run.len()).map_or("", String::as_str);
        let count = |text: &str| text.chars().count();
        let between = match &steps[count(start)..steps.len() - count(end)] {
            [] => Between::Nothing,
            [Step { what: What::One(class), least: 0, most: None }] if class.is_name() => {
                Between::Name
            }
            _ => Between::Steps,
        };
        Literals { start: start.into(), end: end.into(), inside: inside.into(), between }
    }

    /// The path without its start and end, unless it lacks one of the three.
    fn between<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let between = path.strip_suffix(&self.end[..])?.strip_prefix(&self.start[..])?;
        let length = self.inside.len();
        let holds = length == 0 || between.windows(length).any(|window| window == self.inside);
        holds.then_some(between)
    }
}

/// Whether the steps match somewhere in the path, one after the other.
fn found(steps: &[Step], path: &[char]) -> bool {
    // reached[i]: the steps so far can end before path[i].
    let mut reached = vec![true; path.len() + 1];
    steps.iter().all(|step| {
        step.advance(path, &mut reached);
        reached.contains(&true)
    })
}

impl Step {
    fn advance(&self, path: &[char], reached: &mut [bool]) {
        match &self.what {
            What::One(class) => {
                for _ in 0..self.least.min(path.len() as u32 + 1) {
                    for at in (0..path.len()).rev() {
                        reached[at + 1] = reached[at] && class.has(path[at]);
                    }
                    reached[0] = false;
                }
                match self.most {
                    None => {
                        for at in 0..path.len() {
                            reached[at + 1] |= reached[at] && class.has(path[at]);
                        }
                    }
                    Some(most) => {
                        for _ in 0..(most - self.least).min(path.len() as u32) {
                            for at in (0..path.len()).rev() {
                                reached[at + 1] |= reached[at] && class.has(path[at]);
                            }
                        }
                    }
                }
            }
            What::Directories => {
                let mut open = false;
                for (at, &c) in path.iter().enumerate() {
                    open |= reached[at];
                    reached[at + 1] |= open && c == '/';
                    open &= c != '\n';
                }
            }
            _ if self.least == 0 => {}
            place => {
                for (at, reached) in reached.iter_mut().enumerate() {
                    *reached &= place.is_at(at, path);
                }
            }
        }
    }
}

impl What {
    fn is_at(&self, at: usize, path: &[char]) -> bool {
        let is_word = |c: Option<&char>| c.is_some_and(|&c| c.is_ascii_alphanumeric() || c == '_');
        match self {
            What::Begin => at == 0,
            What::End => at == path.len(),
            What::WordBoundary(wanted) => {
                let before = at.checked_sub(1).and_then(|before| path.get(before));
                (is_word(before) != is_word(path.get(at))) == *wanted
            }
            What::One(_) | What::Directories => false,
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn alternatives(mut self) -> Result<Vec<Vec<Step>>> {
        let mut alternatives = vec![Vec::new()];
        let mut total = 0;
        let mut counted = false;
        while !self.rest.is_empty() {
            let steps: &mut Vec<Step> = alternatives.last_mut().expect("there is always one");
            if self.eat("|") {
                alternatives.push(Vec::new());
                counted = false;
                continue;
            }
            let Some((least, most)) = self.count()? else {
                counted = self.eat("(.*/)?");
                steps.push(match counted {
                    true => Step { what: What::Directories, least: 0, most: Some(1) },
                    false => Step { what: self.what()?, least: 1, most: Some(1) },
                });
                continue;
            };
            total += most.unwrap_or(least);
            let Some(step) = steps.last_mut().filter(|_| !counted && total <= TOTAL_LIMIT) else {
                bail!("is not a valid pattern: `{{{least}…}}` counts nothing, or too much");
            };
            (step.least, step.most) = (least, most);
            counted = true;
        }
        Ok(alternatives)
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// `*`, `{n}`, `{n,}` or `{n,m}`; any other `{` is itself.
    fn count(&mut self) -> Result<Option<(u32, Option<u32>)>> {
        if self.eat("*") {
            return Ok(Some((0, None)));
        }
        let Some(((least, most), rest)) = braces(self.rest) else {
            return Ok(None);
        };
        if least.max(most.unwrap_or(0)) > COUNT_LIMIT || most.is_some_and(|most| most < least) {
            bail!("is not a valid pattern: it counts to more than {COUNT_LIMIT}, or backwards");
        }
        self.rest = rest;
        Ok(Some((least, most)))
    }

    fn what(&mut self) -> Result<What> {
        for (text, what) in [
            ("^", What::Begin),
            ("\\A", What::Begin),
            ("$", What::End),
            ("\\z", What::End),
            ("\\b", What::WordBoundary(true)),
            ("\\B", What::WordBoundary(false)),
        ] {
            if self.eat(text) {
                return Ok(what);
            }
        }
        let (class, rest) = Class::parse(self.rest)?;
        self.rest = rest;
        Ok(What::One(class))
    }
}

/// The counts of `{n}`, `{n,}` or `{n,m}`, and what follows.
fn braces(text: &str) -> Option<((u32, Option<u32>), &str)> {
    let (inside, rest) = text.strip_prefix('{')?.split_once('}')?;
    let counts = match inside.split_once(',') {
        None => (number(inside)?, Some(number(inside)?)),
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some((counts, rest))
}

fn number(digits: &str) -> Option<u32> {
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let plain = decimal && (digits == "0" || !digits.starts_with('0'));
    plain.then(|| digits.parse().unwrap_or(u32::MAX))
}
