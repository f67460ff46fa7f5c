//! Files that a service names under `env_file`, as compose-go reads them: which variables they set,
//! and which they take from elsewhere. Compose would take the latter from the caller's shell.

use std::collections::BTreeSet;

use super::substitute;

/// What one file sets and uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvFile {
    /// The names that it gives a value.
    pub(crate) sets: BTreeSet<String>,
    /// Names without a value of their own, and every `$NAME` that the file has not set before.
    pub(crate) uses: BTreeSet<String>,
}

pub(crate) fn parse(text: &str) -> EnvFile {
    let mut found = EnvFile::default();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once(['=', ':']) else {
            found.uses.insert(line.trim().to_owned());
            continue;
        };
        let mut value = value.trim_start().to_owned();
        let quote = value.chars().next().filter(|first| ['\'', '"'].contains(first));
        if let Some(quote) = quote {
            // A value in quotes may go on in the next line.
            while !is_closed(&value, quote) {
                let Some(more) = lines.next() else { break };
                value.push('\n');
                value.push_str(more);
            }
        }
        if quote != Some('\'') {
            let value = value.split(" #").next().unwrap_or_default();
            // What compose cannot read it reports itself.
            let names = substitute::names(value).unwrap_or_default();
            found.uses.extend(names.into_iter().filter(|name| !found.sets.contains(name)));
        }
        found.sets.insert(name.trim().to_owned());
    }
    found
}

/// Whether a value that begins with a quote has its end.
fn is_closed(value: &str, quote: char) -> bool {
    let mut escaped = false;
    value.chars().skip(1).any(|character| {
        let ends = character == quote && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, sets: &str, uses: &str) {
        let found = parse(text);
        let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!((list(found.sets).as_str(), list(found.uses).as_str()), (sets, uses));
    }

    #[test]
    fn values_and_what_they_take_from_elsewhere() {
        check("A=1\n# $NO\n\nexport B=x\nC: yaml\n", "A B C", "");
        check("API_KEY=pre$CI_TOKEN-post\nHOME_OF=${HOME}\n", "API_KEY HOME_OF", "CI_TOKEN HOME");
        check("A=1\nB=$A\n", "A B", "");
        check("TOKEN\n  OTHER  \n", "", "OTHER TOKEN");
    }

    #[test]
    fn single_quotes_are_literal_and_double_quotes_are_not() {
        check("A='$ONE'\nB=\"$TWO\"\nC=x # $NO\n", "A B C", "TWO");
        check("A='first\n$NO second'\nB=$YES\n", "A B", "YES");
        check("A=\"first \\\" $ONE\nsecond\"\nB=2\n", "A B", "ONE");
    }
}
