//! Names that have numbers in the compiled form.

use std::collections::HashMap;

/// Names with a number each.
#[derive(Clone, Default)]
pub(super) struct Names(HashMap<String, u16>);

impl Names {
    /// The number of a name; `None` where there are too many.
    pub fn id(&mut self, name: &str) -> Option<u16> {
        if let Some(id) = self.0.get(name) {
            return Some(*id);
        }
        let id = self.len().filter(|id| *id != u16::MAX)?;
        self.0.insert(name.to_owned(), id);
        Some(id)
    }

    /// How many there are; `None`: more than have numbers.
    pub fn len(&self) -> Option<u16> {
        u16::try_from(self.0.len()).ok()
    }
}
