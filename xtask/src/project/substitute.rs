//! `$NAME`, `${NAME}` and `${NAME:-default}` in a text; `$$` stands for one `$`.
//!
//! One reader for Dockerfiles, build sections and Procfiles, so that they cannot disagree.

/// Fills every variable in. `Err` holds what is wrong; `lookup` gives `None` for no value.
pub(crate) fn substitute(
    text: &str,
    lookup: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            result.push('$');
            rest = escaped;
            continue;
        }
        let (name, default, tail) = match after.strip_prefix('{') {
            Some(braced) => {
                let (inner, tail) = braced.split_once('}').ok_or("`${` without `}`")?;
                let end = inner.find(|c: char| !is_name_char(c)).unwrap_or(inner.len());
                let default = ["-", ":-"].into_iter().find_map(|o| inner[end..].strip_prefix(o));
                (&inner[..end], default, tail)
            }
            None => {
                let end = after.find(|c: char| !is_name_char(c)).unwrap_or(after.len());
                (&after[..end], None, &after[end..])
            }
        };
        if name.is_empty() {
            return Err("`$` without a name behind it; write `$$` for the character".into());
        }
        let value = lookup(name).or_else(|| default.map(str::to_owned));
        result.push_str(&value.ok_or_else(|| format!("${name} has no value"))?);
        rest = tail;
    }
    Ok(result + rest)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
