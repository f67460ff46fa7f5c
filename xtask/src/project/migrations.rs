//! The files that a service migrates its database with: their order, and what an author says of
//! apps without them.
//!
//! `stevedore: compatible, REASON` in any comment of the first lines says that an app without this
//! migration still works on the database as it is afterwards. A release tries it with the release
//! before. Without the mark a rollback over this migration is refused.

use std::cmp::Ordering;

/// Where in a file the words may stand, in lines from its beginning.
const LINES: usize = 30;
const WORDS: &str = "stevedore: compatible";

/// Why the release before can live with a migration; nothing where its author does not say so.
pub(crate) fn compatible(text: &str) -> Option<String> {
    let line = text.lines().take(LINES).find_map(|line| line.split_once(WORDS))?.1;
    let rest = line.trim().trim_end_matches("*/").trim_end_matches("-->").trim();
    match rest.strip_prefix(',') {
        None if rest.is_empty() => Some("no reason given".into()),
        // Anything else may be the opposite.
        None => None,
        Some(reason) => Some(reason.trim().to_owned()),
    }
}

/// By the number that a name begins with, where both have one; else by name.
pub(crate) fn order(one: &str, other: &str) -> Ordering {
    let number = |name: &str| {
        let end = name.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(name.len());
        name[..end].parse::<u64>().unwrap_or(u64::MAX)
    };
    number(one).cmp(&number(other)).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_comes_after_two() {
        let mut names = ["10_c.sql", "readme", "2_b.sql", "0001_a.py"];
        names.sort_by(|one, other| order(one, other));
        assert_eq!(names, ["0001_a.py", "2_b.sql", "10_c.sql", "readme"]);
    }

    #[test]
    fn only_who_says_so_is_compatible() {
        let check = |text: &str| compatible(text);
        assert_eq!(check("CREATE TABLE a (b int);"), None);
        assert_eq!(check("-- stevedore: compatible, a new table\n"), Some("a new table".into()));
        assert_eq!(check("/* stevedore: compatible */"), Some("no reason given".into()));
        assert_eq!(check("-- stevedore: compatible: no"), None);
        assert_eq!(check("-- stevedore: compatible with nothing"), None);
        assert_eq!(check(&format!("{}# stevedore: compatible", "\n".repeat(40))), None);
    }
}
