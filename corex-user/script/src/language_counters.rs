//! What became of calls into scripts of other languages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::quarantine::Quarantine;

macro_rules! language_counters {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Counters of one language, over all workers.
        #[derive(Debug, Default)]
        pub struct LanguageCounters {
            $($(#[$doc])* pub $field: AtomicU64,)*
        }

        impl LanguageCounters {
            /// Names and values, in order.
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field.load(Ordering::Relaxed))),*]
            }
        }
    };
}

language_counters! {
    /// Calls begun.
    runs,
    /// Calls that ended with an error, those below included.
    errors,
    /// Calls that took too long, by time or by instructions.
    timeouts,
    /// Calls that wanted too much memory.
    memory,
    /// Calls not begun: the engine rests after failures, or isn't ready, or the sender is held.
    held,
    /// Of these, because the sender is held: its messages cost too much.
    quarantined,
    /// Interpreters that were started again after one was lost.
    restarts,
    /// Scripts read again at someone's wish.
    reloads,
    /// The same, but the new ones don't load: the old ones go on.
    reload_errors,
}

/// Those of all languages, and who is kept from them.
#[derive(Debug, Default)]
pub struct Languages {
    /// Of the module app_lua.
    pub lua: LanguageCounters,
    /// Of the module app_perl.
    pub perl: LanguageCounters,
    /// Who sends what they choke on.
    pub quarantine: Quarantine,
}

impl Languages {
    /// Nothing counted, and nobody held; later senders for `longest` at most, see
    /// [`Quarantine::set_longest`].
    pub fn new(longest: Duration) -> Languages {
        let languages = Languages::default();
        languages.quarantine.set_longest(longest);
        languages
    }
}

impl LanguageCounters {
    /// Counts one up.
    pub fn add(&self, which: fn(&Self) -> &AtomicU64) {
        which(self).fetch_add(1, Ordering::Relaxed);
    }
}
