//! `.env.example`: which variables an environment has, and where their values come from.
//!
//! | value in `.env.example` | meaning |
//! |---|---|
//! | `generate:hexN` | made on first use: N random hexadecimal digits; a secret |
//! | `required:` / `required:secret` | must be filled in by hand |
//! | `optional:` / `optional:secret` | may be missing or empty |
//! | anything else | the default that is copied; not a secret |
//!
//! A name that says secret (`API_KEY`, `SMTP_PASSWORD`) is one whatever its value looks like: it is
//! never shown, and without a value it is `required:secret`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::dotenv::{self, Problem, Variables};
use crate::exit;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Generated { digits: usize },
    Required,
    Optional,
    Default(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) source: Source,
    pub(crate) secret: bool,
    /// Where it stands in `.env.example`, counted from 1.
    pub(crate) line: usize,
}

/// The schema and the text it was read from, whose comments are its documentation.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    pub(crate) text: String,
    pub(crate) variables: BTreeMap<String, Variable>,
}

/// Reads `.env.example`; an environment without one has no variables.
pub(crate) fn load(path: &std::path::Path, name: &str) -> Result<Schema> {
    if !path.exists() {
        return Ok(Schema::default());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {name}"))?;
    parse(&text).map_err(|problems| exit::problems("bad schema", &dotenv::in_file(name, &problems)))
}

pub(crate) fn parse(text: &str) -> Result<Schema, Vec<Problem>> {
    let values = dotenv::parse(text)?;
    let mut variables = BTreeMap::new();
    let mut problems = Vec::new();
    for (line, content) in (1..).zip(text.split('\n')) {
        let Some((name, _)) =
            content.split_once('=').filter(|(name, _)| values.contains_key(*name))
        else {
            continue;
        };
        match source(values[name].reveal()) {
            Ok((source, secret)) => {
                let says_so = names_a_secret(name);
                let source = match source {
                    Source::Default(value) if says_so && value.is_empty() => Source::Required,
                    source => source,
                };
                let secret = secret || says_so;
                variables.insert(name.to_owned(), Variable { source, secret, line });
            }
            Err(message) => problems.push(Problem { line, message }),
        }
    }
    if problems.is_empty() {
        Ok(Schema { text: text.to_owned(), variables })
    } else {
        Err(problems)
    }
}

/// Whether the name of a variable says that its value is a secret: `SECRET_KEY`, `DB_PASSWORD`,
/// `TOKEN_GITHUB`, but not `TOKEN_TTL` or `SSH_KEY_PATH`, which are about one.
pub(crate) fn names_a_secret(name: &str) -> bool {
    const SECRETS: [&str; 14] = [
        "APIKEY",
        "CREDENTIAL",
        "CREDENTIALS",
        "CREDS",
        "PASS",
        "PASSPHRASE",
        "PASSWD",
        "PASSWORD",
        "PASSWORDS",
        "PWD",
        "SECRET",
        "SECRETS",
        "TOKEN",
        "TOKENS",
    ];
    const ABOUT_ONE: [&str; 25] = [
        "AGE",
        "ALGORITHM",
        "COUNT",
        "DAYS",
        "DIR",
        "ENABLED",
        "EXPIRES",
        "EXPIRY",
        "FILE",
        "HEADER",
        "HOURS",
        "ISSUER",
        "LENGTH",
        "LIFETIME",
        "MAX",
        "MIN",
        "MINUTES",
        "NAME",
        "PATH",
        "POLICY",
        "REQUIRED",
        "SECONDS",
        "TIMEOUT",
        "TTL",
        "TYPE",
    ];
    let name = name.to_ascii_uppercase();
    let words: Vec<&str> = name.split(['_', '-', '.']).filter(|word| !word.is_empty()).collect();
    let Some((last, before)) = words.split_last() else { return false };
    let is_url = ["URL", "URI", "ENDPOINT"].contains(last);
    let is_key = *last == "KEY" && !before.contains(&"PUBLIC") && !before.is_empty();
    is_key || !is_url && !ABOUT_ONE.contains(last) && words.iter().any(|it| SECRETS.contains(it))
}

/// Whether a value is an address with a password in it, such as `store://app:hunter2@db/app`.
pub(crate) fn holds_a_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| !user.is_empty())
}

fn source(value: &str) -> Result<(Source, bool), String> {
    if let Some(kind) = value.strip_prefix("generate:") {
        let digits = kind.strip_prefix("hex").and_then(|digits| digits.parse().ok());
        return match digits {
            Some(digits @ 8..=1024) => Ok((Source::Generated { digits }, true)),
            _ => Err(format!(
                "unknown generator {kind:?}; write generate:hexN with N from 8 to 1024"
            )),
        };
    }
    match value {
        "required:" => Ok((Source::Required, false)),
        "required:secret" => Ok((Source::Required, true)),
        "optional:" => Ok((Source::Optional, false)),
        "optional:secret" => Ok((Source::Optional, true)),
        other if other.starts_with("required:") || other.starts_with("optional:") => {
            Err("only `secret` may follow `required:` or `optional:`".into())
        }
        other => Ok((Source::Default(other.to_owned()), false)),
    }
}

impl Schema {
    /// The text of a `.env`: the schema's own, comments and order kept, each value filled in from
    /// `present` or else from its source. `random` returns that many random hexadecimal digits.
    pub(crate) fn fill(
        &self,
        present: &Variables,
        random: &mut dyn FnMut(usize) -> String,
    ) -> String {
        let mut lines = Vec::new();
        for (number, content) in (1..).zip(self.text.split('\n')) {
            let variable = self.variables.iter().find(|(_, variable)| variable.line == number);
            lines.push(match variable {
                None => content.to_owned(),
                Some((name, variable)) => {
                    let value = match (present.get(name), &variable.source) {
                        (Some(value), _) => value.reveal().to_owned(),
                        (None, Source::Generated { digits }) => random(*digits),
                        (None, Source::Default(value)) => value.clone(),
                        (None, Source::Required | Source::Optional) => String::new(),
                    };
                    format!("{name}={value}")
                }
            });
        }
        lines.join("\n")
    }

    /// What is wrong between a `.env` and its schema, one message each.
    pub(crate) fn check(&self, variables: &Variables) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, variable) in &self.variables {
            let empty = variables.get(name).is_none_or(|value| value.reveal().is_empty());
            match &variable.source {
                Source::Optional => {}
                Source::Default(value) if value.is_empty() => {}
                Source::Required if empty => {
                    let optional = match names_a_secret(name) {
                        true => ", or write optional:secret in .env.example",
                        false => "",
                    };
                    problems.push(format!("{name} is required and has no value; set it{optional}"));
                }
                _ if variables.contains_key(name) && empty => problems.push(format!(
                    "{name} is empty; give it a value, or remove its line and run `env init`"
                )),
                _ if empty => problems.push(format!("{name} is missing; `env init` adds it")),
                _ => {}
            }
        }
        let unknown = variables.keys().filter(|name| !self.variables.contains_key(*name));
        problems.extend(
            unknown.map(|name| {
                format!("{name} is not in .env.example; add it there, or remove it here")
            }),
        );
        problems
    }

    pub(crate) fn is_secret(&self, name: &str) -> bool {
        self.variables.get(name).is_none_or(|variable| variable.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whether_its_value_is_a_secret() {
        for name in [
            "ENV_SECRET_KEY",
            "SECRET",
            "DB_PASSWORD",
            "SMTP_PASS",
            "PGPASSWORD_FOR_BACKUP_TOKEN",
            "TOKEN_GITHUB",
            "STRIPE_API_KEY",
            "api_key",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_CREDENTIALS",
            "APIKEY",
        ] {
            assert!(names_a_secret(name), "{name}");
        }
        for name in [
            "KEY",
            "MONKEY",
            "KEYBOARD",
            "TOKEN_TTL",
            "PASSWORD_MIN_LENGTH",
            "PASSWORD_RESET_URL",
            "SSH_KEY_PATH",
            "JWT_PUBLIC_KEY",
            "SECRET_NAME",
            "COMPASS",
            "LOG_FORMAT",
            "",
        ] {
            assert!(!names_a_secret(name), "{name}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_one() {
        for value in ["store://app:hunter2@db/app", "https://key@sentry.io/1", "redis://:p@r"] {
            assert!(holds_a_password(value), "{value}");
        }
        for value in ["https://example.org/@me", "me@example.org", "a://@b", "http://h/?a=b@c"] {
            assert!(!holds_a_password(value), "{value}");
        }
    }

    /// Dockdj's own file, which comments that the key is required.
    #[test]
    fn an_empty_secret_is_required_and_an_empty_anything_else_is_not() {
        let schema = parse("# required\nENV_SECRET_KEY=\nENV_CDN=\nOLD_TOKEN=optional:secret\n");
        let variables = schema.unwrap().variables;
        let found = |name: &str| (variables[name].source.clone(), variables[name].secret);
        assert_eq!(found("ENV_SECRET_KEY"), (Source::Required, true));
        assert_eq!(found("ENV_CDN"), (Source::Default(String::new()), false));
        assert_eq!(found("OLD_TOKEN"), (Source::Optional, true));
        let copied = parse("DB_PASSWORD=letmein\n").unwrap().variables["DB_PASSWORD"].clone();
        assert_eq!((copied.source, copied.secret), (Source::Default("letmein".into()), true));
    }
}
