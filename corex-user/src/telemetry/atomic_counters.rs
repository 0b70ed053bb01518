//! Sets of counters that several threads add to.

/// Makes a structure of named counters, each with a sentence of what it counts.
macro_rules! atomic_counters {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[$doc])* pub $field: std::sync::atomic::AtomicU64,)*
        }

        impl $name {
            /// Names and values, in order.
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                let value = |counter: &std::sync::atomic::AtomicU64| {
                    counter.load(std::sync::atomic::Ordering::Relaxed)
                };
                vec![$((stringify!($field), value(&self.$field))),*]
            }

            /// Adds one to a counter.
            pub fn add(&self, which: fn(&Self) -> &std::sync::atomic::AtomicU64) {
                self.add_many(which, 1);
            }

            /// Adds so many to a counter.
            pub fn add_many(
                &self,
                which: fn(&Self) -> &std::sync::atomic::AtomicU64,
                count: usize,
            ) {
                let more = count as u64;
                which(self).fetch_add(more, std::sync::atomic::Ordering::Relaxed);
            }
        }
    };
}

pub(super) use atomic_counters;

/// What isn't known the fate of: `input` less what `is_fate` says is one.
pub(super) fn imbalance(
    snapshot: &[(&'static str, u64)],
    input: &str,
    is_fate: fn(&str) -> bool,
) -> i64 {
    let mut left = 0u64;
    for (name, value) in snapshot {
        if *name == input {
            left = left.wrapping_add(*value);
        } else if is_fate(name) {
            left = left.wrapping_sub(*value);
        }
    }
    left as i64
}
