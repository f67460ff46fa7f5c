//! `$NAME`, `${NAME}` and `${NAME:-default}` in a text; `$$` stands for one `$`.
//!
//! One reader for Dockerfiles, build sections and Procfiles, so that they cannot disagree. It knows
//! the operators that both compose and BuildKit know: `-`, `+` and `?`, each with or without `:`.

use std::collections::BTreeSet;

/// The value of a variable; `None` where it is not set.
pub(crate) type Lookup<'l> = dyn FnMut(&str) -> Option<String> + 'l;

/// Fills every variable in. `Err` holds what is wrong.
pub(crate) fn substitute(text: &str, lookup: &mut Lookup<'_>) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            result.push('$');
            rest = escaped;
            continue;
        }
        let (value, tail) = variable(after, lookup, &substitute)?;
        result.push_str(&value);
        rest = tail;
    }
    Ok(result + rest)
}

/// Fills in those variables only that have a value; the result is a text with variables again.
pub(crate) fn fill_known(
    text: &str,
    known: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            result.push_str("$$");
            rest = escaped;
            continue;
        }
        let mut first = None;
        let mut lookup = |name: &str| {
            first.get_or_insert_with(|| name.to_owned());
            // Whoever has no value here is kept; until then any will do.
            Some(known(name).map_or_else(|| "?".to_owned(), |value| value.replace('$', "$$")))
        };
        let fill = |word: &str, _: &mut Lookup<'_>| fill_known(word, known);
        let (value, tail) = variable(after, &mut lookup, &fill)?;
        let name = first.unwrap_or_default();
        match known(&name) {
            Some(_) => result.push_str(&value),
            None => {
                let source = &after[..after.len() - tail.len()];
                let inner = source.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
                let operation = &inner.unwrap_or(source)[name.len()..];
                let colon = usize::from(operation.starts_with(':'));
                let (operator, word) = operation.split_at(operation.len().min(1 + colon));
                let word = fill_known(word, known)?;
                result.push_str(&format!("${{{name}{operator}{word}}}"));
            }
        }
        rest = tail;
    }
    Ok(result + rest)
}

/// The names of all variables in a text.
pub(crate) fn names(text: &str) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    substitute(text, &mut |name| {
        names.insert(name.to_owned());
        // Not empty: `${NAME:?}` would end the search.
        Some(name.to_owned())
    })?;
    Ok(names)
}

/// What a variable stands for whose `$` was read, and what follows it; `fill` reads the text
/// behind an operator.
pub(crate) fn variable<'t>(
    text: &'t str,
    lookup: &mut Lookup<'_>,
    fill: &dyn Fn(&str, &mut Lookup<'_>) -> Result<String, String>,
) -> Result<(String, &'t str), String> {
    let (inner, tail) = match text.strip_prefix('{') {
        Some(braced) => {
            let end = closing_brace(braced).ok_or("`${` without `}`")?;
            (&braced[..end], &braced[end + 1..])
        }
        None => text.split_at(name_length(text)),
    };
    let (name, operation) = inner.split_at(name_length(inner));
    if name.is_empty() {
        return Err("`$` without a name behind it; write `$$` for the character".into());
    }
    let value = lookup(name);
    let without_colon = operation.strip_prefix(':');
    let mut operation = without_colon.unwrap_or(operation).chars();
    let operator = operation.next();
    let present = value.filter(|value| without_colon.is_none() || !value.is_empty());
    // Read in any case: who looks for names wants all of them.
    let word = fill(operation.as_str(), lookup);
    let value = match (operator, present) {
        (None, Some(value)) if without_colon.is_none() => value,
        (None, None) if without_colon.is_none() => return Err(format!("${name} has no value")),
        (Some('-' | '?'), Some(value)) => value,
        (Some('-'), None) | (Some('+'), Some(_)) => word?,
        (Some('+'), None) => String::new(),
        (Some('?'), None) => match word?.as_str() {
            "" => return Err(format!("${name} has no value")),
            message => return Err(format!("${name} has no value: {message}")),
        },
        _ => {
            return Err(format!(
                "`${{{inner}}}` is not supported; behind a name may stand `:-`, `-`, `:+`, `+`, \
                 `:?` and `?`"
            ));
        }
    };
    Ok((value, tail))
}

/// Where the brace closes that was opened before a text.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
        before = c;
    }
    None
}

fn name_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}
