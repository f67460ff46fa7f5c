//! What one run of the tool keeps in mind.

use std::sync::PoisonError;

use super::Ctx;

impl Ctx {
    /// Remembers in a dry run that a real one would have made this by now, such as an image.
    pub(crate) fn pretend(&self, name: &str) {
        if self.dry_run {
            let mut names = self.pretended.lock().unwrap_or_else(PoisonError::into_inner);
            names.insert(name.to_owned());
        }
    }

    pub(crate) fn pretends(&self, name: &str) -> bool {
        self.pretended.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Remembers what was found out of something that never changes, such as an image by its id.
    pub(crate) fn learn(&self, of: &str, text: String) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.insert(of.to_owned(), text);
    }

    pub(crate) fn learned(&self, of: &str) -> Option<String> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).get(of).cloned()
    }
}
