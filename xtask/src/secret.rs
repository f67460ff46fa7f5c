//! Text that may be secret, in a type that does not show itself.
//!
//! Settings, passwords and tokens travel as this, so that a `{:?}` in an error or a log, now or
//! later, cannot give one away: whoever wants the text writes `reveal`, which can be searched for.

use std::fmt;

use serde::Deserialize;

/// Shows itself only through [`Secret::reveal`].
#[derive(Clone, Deserialize, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
