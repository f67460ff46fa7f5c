//! Asks compose whether it would start a stack, before anything is built for it.
//!
//! Only the form with all values filled in shows what compose refuses. Compose quotes values in its
//! messages, so every word of them that a secret may have left there is replaced.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use super::env::{self, Facts};
use super::start;
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::image::{self, claims};
use crate::project::reference;
use crate::project::schema::Source;
use crate::project::stack::Stack;
use crate::tools::compose::{self, Target};

/// What compose makes of an environment's files with all values, secrets among them: never shown.
///
/// `None` in a dry run before the first start, when there are no values yet.
pub(crate) fn filled(
    ctx: &Ctx,
    facts: &Facts,
    stack: &Stack,
    target: &Target,
) -> Result<Option<Value>> {
    let problems = image::problems(&facts.project, stack);
    if !problems.is_empty() {
        return Err(refused(facts, &problems));
    }
    if ctx.dry_run && !facts.dotenv_path().exists() && !facts.schema.variables.is_empty() {
        return Ok(None);
    }
    let secrets: BTreeMap<&str, &str> = target
        .variables
        .iter()
        .filter(|(name, _)| facts.schema.is_secret(name))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let filled = match ask(ctx, target)? {
        Ok(filled) => filled,
        Err(said) => return Err(refused(facts, &[without(&said, &secrets)])),
    };
    let mut problems = refused_later(facts, stack, &filled);
    problems.extend(missing_files(ctx, &filled));
    match problems.is_empty() {
        true => Ok(Some(filled)),
        false => Err(refused(facts, &problems)),
    }
}

/// Why compose would not start an environment with the values that it has; nothing where it would.
pub(crate) fn refusal(ctx: &Ctx, facts: &Facts, stack: &Stack) -> Option<String> {
    let tried = env::settings(ctx, facts).and_then(|settings| {
        let target = start::target(ctx, facts, stack, stack.name.clone(), settings);
        filled(ctx, facts, stack, &target)
    });
    tried.err().map(|error| format!("{error:#}"))
}

fn refused(facts: &Facts, problems: &[String]) -> anyhow::Error {
    let name = &facts.name;
    let next = format!("when it is mended, try it with `cargo xtask env check {name}`");
    exit::problems(&format!("compose would not start {name}"), &[problems, &[next]].concat())
}

/// Problems of an environment that no value can mend, found with made-up values.
///
/// A made-up value need not have the form that its place asks for. So two sets are tried, and only
/// what is wrong with both is a problem.
pub(crate) fn problems(ctx: &Ctx, facts: &Facts, stack: &Stack) -> Result<Vec<String>> {
    let makes_dotenv = !facts.schema.variables.is_empty();
    let try_with = |settings: BTreeMap<String, String>| -> Result<Vec<String>> {
        let target = start::target(ctx, facts, stack, stack.name.clone(), settings);
        Ok(match ask(ctx, &target)? {
            Ok(filled) => refused_later(facts, stack, &filled),
            // A start makes that file before compose is asked.
            Err(said) if makes_dotenv && said.contains(&facts.dotenv_name()) => Vec::new(),
            Err(said) => vec![format!("compose would not start it: {said}")],
        })
    };
    let known = image::problems(&facts.project, stack);
    if !known.is_empty() {
        return Ok(known);
    }
    let mut settings = env::trial_settings(facts);
    let mut problems = try_with(settings.clone())?;
    if problems.is_empty() {
        return Ok(problems);
    }
    let is_made_up = |source: &Source| !matches!(source, Source::Default(_));
    for (name, _) in facts.schema.variables.iter().filter(|(_, it)| is_made_up(&it.source)) {
        settings.insert(name.clone(), "1".into());
    }
    let again = try_with(settings)?;
    problems.retain(|problem| again.contains(problem));
    Ok(problems)
}

/// The filled form, or compose's words.
fn ask(ctx: &Ctx, target: &Target) -> Result<std::result::Result<Value, String>> {
    let answer = ctx.ask(compose::filled_config(&ctx.sh, target), QUESTION)?;
    if answer.status.success() {
        return Ok(Ok(serde_json::from_str(&answer.stdout).context("compose printed no JSON")?));
    }
    Ok(Err(words(&answer.stderr)))
}

/// What compose says without its warnings, in one line.
fn words(stderr: &str) -> String {
    let lines = stderr.lines().map(str::trim);
    let lines: Vec<&str> =
        lines.filter(|line| !line.is_empty() && !line.starts_with("time=\"")).collect();
    let text = lines.join(" ");
    text.strip_suffix(": invalid compose project").unwrap_or(&text).to_owned()
}

/// What `compose config` accepts and a start does not.
fn refused_later(facts: &Facts, stack: &Stack, filled: &Value) -> Vec<String> {
    let images = &facts.project.images;
    let mut problems = claims::hidden_by_variables(images, stack, filled);
    for (name, service) in &stack.services {
        let own = claims::image_of(images, stack, service).is_some();
        let image = filled["services"][name]["image"].as_str().filter(|_| !own);
        if let (Some(text), false) = (&service.image, image.is_none_or(reference::is_valid)) {
            problems.push(format!("service {name}: `image: {text}` is not an image reference"));
        }
    }
    problems
}

/// Files of secrets and configs that are not there.
fn missing_files(ctx: &Ctx, filled: &Value) -> Vec<String> {
    let mut problems = BTreeSet::new();
    for kind in ["secrets", "configs"] {
        for (name, value) in filled[kind].as_object().into_iter().flatten() {
            let Some(file) = value["file"].as_str().map(std::path::Path::new) else { continue };
            if !file.exists() {
                let file = ctx.relative(file).display();
                problems.insert(format!("{kind}: the file of {name}, {file}, is missing"));
            }
        }
    }
    problems.into_iter().collect()
}

/// As long a part of a secret as may stay in a message.
const HARMLESS: usize = 3;

/// A message without what may be left of a secret in it: a whole word is replaced that has a part
/// of one, or that is all of a short one.
fn without(message: &str, secrets: &BTreeMap<&str, &str>) -> String {
    let is_end = |letter: char| letter.is_whitespace() || "\"'`:,;()[]=".contains(letter);
    let mut result = String::new();
    let mut rest = message;
    while !rest.is_empty() {
        let end = rest.find(is_end).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match secrets.iter().find(|(_, secret)| has_part_of(word, secret)) {
            Some((name, _)) => result.push_str(&format!("(of {name})")),
            None => result.push_str(word),
        }
        let sign = after.chars().next().map_or(0, char::len_utf8);
        result.push_str(&after[..sign]);
        rest = &after[sign..];
    }
    result
}

fn has_part_of(word: &str, secret: &str) -> bool {
    let mut pieces = secret.split(|letter: char| !letter.is_alphanumeric());
    if word.is_empty() || secret.is_empty() {
        return false;
    }
    let letters: Vec<char> = secret.chars().collect();
    let mut parts = letters.windows(HARMLESS + 1);
    word == secret
        || pieces.any(|piece| piece == word)
        || parts.any(|part| word.contains(&part.iter().collect::<String>()))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(message: &str, secret: &str, expected: &Expect) {
        expected.assert_eq(&without(message, &BTreeMap::from([("KEY", secret), ("NONE", "")])));
    }

    #[test]
    fn no_part_of_a_secret_stays_in_a_message() {
        check(
            "Invalid ip address: hunter2",
            "hunter2:99999",
            &expect!["Invalid ip address: (of KEY)"],
        );
        check("Invalid hostPort: 99999", "99999", &expect!["Invalid hostPort: (of KEY)"]);
        check("invalid size: 'x'", "x", &expect!["invalid size: '(of KEY)'"]);
        check("invalid size: '-5'", "-5", &expect!["invalid size: '(of KEY)'"]);
        check(
            "invalid spec: a/hunter2/x:/y:zz",
            "hunter2",
            &expect!["invalid spec: (of KEY):/y:zz"],
        );
        check(
            r#"invalid boolean: "ab\nsecret""#,
            "ab\nsecret",
            &expect![[r#"invalid boolean: "(of KEY)""#]],
        );
        check(
            "dependency cycle detected: app -> b -> app",
            "hunter2",
            &expect!["dependency cycle detected: app -> b -> app"],
        );
    }

    #[test]
    fn compose_says_it_in_one_line() {
        let said = "time=\"now\" level=warning msg=\"X is not set\"\n\
            service \"app\" depends on undefined service \"mail\": invalid compose project\n";
        assert_eq!(words(said), "service \"app\" depends on undefined service \"mail\"");
        let said = "decoding failed due to the following error(s):\n\nerror decoding 'a': bad\n";
        let expected = "decoding failed due to the following error(s): error decoding 'a': bad";
        assert_eq!(words(said), expected);
    }
}
