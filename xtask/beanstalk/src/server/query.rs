//! What a call says: the parameters of an AWS Query request.
//!
//! `A.member.2.B=c` is field `B` of the second member of list `A`. Numbers order the members, and
//! may have gaps. An empty list is `A=`.

use std::collections::BTreeMap;

use super::answer::Refusal;
use crate::state::{Moment, Severity};

/// More members than any call has; the service refuses far less.
const MEMBERS: u32 = 100_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    /// Of a name that is there twice the last one counts.
    pub(crate) fn parse(body: &[u8]) -> Query {
        Query(form_urlencoded::parse(body).into_owned().collect())
    }

    /// The text; what is empty was not said.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// # Errors
    ///
    /// The service's own when it is missing.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name).ok_or_else(|| {
            let path = name.split('.').next().unwrap_or(name);
            Refusal::validation(&format!(
                "Value null at '{}' failed to satisfy constraint: Member must not be null",
                lower_first(path)
            ))
        })
    }

    /// # Errors
    ///
    /// When it is neither `true` nor `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.text(name) {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(malformed(value, "Boolean")),
        }
    }

    /// # Errors
    ///
    /// When it is not a number in the range.
    pub(crate) fn number(&self, name: &str, most: usize) -> Result<Option<usize>, Refusal> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let number: usize = value.parse().map_err(|_| malformed(value, "Integer"))?;
        if (1..=most).contains(&number) {
            return Ok(Some(number));
        }
        let lower = lower_first(name);
        Err(Refusal::validation(&format!(
            "Value '{value}' at '{lower}' failed to satisfy constraint: Member must have value \
             between 1 and {most}"
        )))
    }

    /// # Errors
    ///
    /// When it is no date as RFC 3339 has it.
    pub(crate) fn moment(&self, name: &str) -> Result<Option<Moment>, Refusal> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let parsed = humantime::parse_rfc3339_weak(value.trim_end_matches("+00:00"));
        let time = parsed.map_err(|_| malformed(value, "Timestamp"))?;
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Some(Moment(since.as_millis().try_into().unwrap_or(u64::MAX))))
    }

    /// # Errors
    ///
    /// When there is no such severity.
    pub(crate) fn severity(&self, name: &str) -> Result<Option<Severity>, Refusal> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let known = Severity::ALL.iter().find(|(text, _)| *text == value);
        known.map(|(_, severity)| Some(*severity)).ok_or_else(|| {
            Refusal::validation(&format!(
                "Value '{value}' at 'severity' failed to satisfy constraint: Member must satisfy \
                 enum value set: [TRACE, DEBUG, INFO, WARN, ERROR, FATAL]"
            ))
        })
    }

    /// The members of a list, in the order of their numbers.
    pub(crate) fn list(&self, name: &str) -> Vec<Query> {
        let prefix = format!("{name}.member.");
        let mut members: BTreeMap<u32, Query> = BTreeMap::new();
        for (key, value) in self.0.range(prefix.clone()..) {
            let Some(rest) = key.strip_prefix(&prefix) else { break };
            let (number, field) = rest.split_once('.').unwrap_or((rest, ""));
            if let Some(number) = number.parse().ok().filter(|number| *number <= MEMBERS) {
                members.entry(number).or_default().0.insert(field.to_owned(), value.clone());
            }
        }
        members.into_values().collect()
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let members = self.list(name);
        members.iter().filter_map(|member| member.text("").map(str::to_owned)).collect()
    }

    /// The fields of a structure.
    pub(crate) fn inner(&self, name: &str) -> Query {
        let prefix = format!("{name}.");
        let fields = self.0.range(prefix.clone()..);
        let fields = fields.map_while(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
        Query(fields.map(|(key, value)| (key.to_owned(), value.clone())).collect())
    }

    /// Makes another query a structure of this one.
    pub(crate) fn adopt(&mut self, name: &str, inner: Query) {
        let fields = inner.0.into_iter().map(|(key, value)| (format!("{name}.{key}"), value));
        self.0.extend(fields);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn malformed(value: &str, kind: &str) -> Refusal {
    let message = format!("{value} must be a valid {kind}");
    Refusal { status: 400, code: "MalformedInput", message }
}

fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn members_are_ordered_by_number_and_may_have_gaps() {
        let query = Query::parse(b"A.member.10=ten&A.member.9=nine&A.member.x=no&B=&C.D=e+%2B");
        assert_eq!(query.texts("A"), ["nine", "ten"]);
        assert_eq!(query.texts("B"), [""; 0]);
        assert_eq!(query.text("B"), None);
        assert_eq!(query.inner("C").text("D"), Some("e +"));
    }

    #[test]
    fn a_member_has_fields() {
        let query = Query::parse(b"O.member.1.Name=a&O.member.1.Value=1&O.member.2.Name=b");
        let members = query.list("O");
        assert_eq!(members[0].text("Value"), Some("1"));
        assert_eq!(members[1].text("Name"), Some("b"));
    }
}
