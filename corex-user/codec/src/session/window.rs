//! Which counters of a session were received: a window behind the highest, as in IPsec (RFC 6479).

/// So many counters behind the highest are told apart; a message that is later than that is refused.
const LEN: u32 = 1024;
const WORDS: usize = LEN as usize / 64;

/// The counters that were received.
#[derive(Debug)]
pub(crate) struct Window {
    /// One more than the highest that was received; 0: none was.
    next: u64,
    /// One bit for each of the last [`LEN`], at its number modulo [`LEN`].
    seen: [u64; WORDS],
}

impl Window {
    pub const fn new() -> Window {
        Window {
            next: 0,
            seen: [0; WORDS],
        }
    }

    /// Whether a counter is higher than all that were received.
    pub fn is_ahead(&self, counter: u32) -> bool {
        u64::from(counter) >= self.next
    }

    /// Takes a counter in; false if it was there before, or is too old to tell.
    pub fn take(&mut self, counter: u32) -> bool {
        let number = u64::from(counter);
        let window = u64::from(LEN);
        if number >= self.next {
            let skipped = number - self.next;
            if skipped >= window {
                self.seen = [0; WORDS];
            } else {
                for number in self.next..number {
                    self.set(number, false);
                }
            }
            self.next = number + 1;
            self.set(number, true);
            return true;
        }
        if self.next - number > window || self.is_set(number) {
            return false;
        }
        self.set(number, true);
        true
    }

    fn bit(number: u64) -> (usize, u64) {
        let at = (number % u64::from(LEN)) as usize;
        (at / 64, 1 << (at % 64))
    }

    fn is_set(&self, number: u64) -> bool {
        let (word, bit) = Self::bit(number);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, number: u64, value: bool) {
        let (word, bit) = Self::bit(number);
        if let Some(word) = self.seen.get_mut(word) {
            if value {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_counter_is_taken_once() {
        let mut window = Window::new();
        for counter in [0, 1, 5, 3, 4, 2, 2000, 1999, 977] {
            assert!(window.take(counter), "{counter}");
            assert!(!window.take(counter), "{counter} again");
        }
        assert!(
            !window.take(976),
            "1024 behind the highest: too old to tell"
        );
        assert!(window.take(u32::MAX));
        assert!(!window.take(u32::MAX));
        assert!(!window.take(2000));
    }

    proptest! {
        #[test]
        fn a_window_is_a_set_that_forgets_what_is_old(
            steps in proptest::collection::vec((any::<bool>(), 0u32..1500), 1..400)
        ) {
            let mut window = Window::new();
            let mut seen = HashSet::new();
            let mut highest: Option<u32> = None;
            for (is_ahead, by) in steps {
                let counter = match (highest, is_ahead) {
                    (None, _) => by,
                    (Some(highest), true) => highest + by,
                    (Some(highest), false) => highest.saturating_sub(by),
                };
                let is_old = highest.is_some_and(|highest| counter + LEN <= highest);
                prop_assert_eq!(window.take(counter), !is_old && seen.insert(counter));
                highest = highest.max(Some(counter));
            }
        }
    }
}
