//! Division of an area into rows or columns: plain arithmetic, the same every time. (ratatui's
//! `Layout` solves equations in an order that differs from run to run, may fail, and then panics.)

use ratatui::layout::Rect;

/// How long a part is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// So many lines or columns, or what is left.
    Fixed(u16),
    /// An equal share of what the fixed ones leave.
    Rest,
}

/// Parts below each other.
pub fn rows<const N: usize>(area: Rect, parts: [Part; N]) -> [Rect; N] {
    let mut y = area.y;
    lengths(area.height, parts).map(|height| {
        let part = Rect { y, height, ..area };
        y = y.saturating_add(height);
        part
    })
}

/// Parts beside each other.
pub fn columns<const N: usize>(area: Rect, parts: [Part; N]) -> [Rect; N] {
    let mut x = area.x;
    lengths(area.width, parts).map(|width| {
        let part = Rect { x, width, ..area };
        x = x.saturating_add(width);
        part
    })
}

fn lengths<const N: usize>(all: u16, parts: [Part; N]) -> [u16; N] {
    let mut left = all;
    let fixed = parts.map(|part| match part {
        Part::Fixed(wanted) => {
            let length = wanted.min(left);
            left -= length;
            Some(length)
        }
        Part::Rest => None,
    });
    let mut sharing = fixed.iter().filter(|length| length.is_none()).count() as u16;
    fixed.map(|length| {
        length.unwrap_or_else(|| {
            // What can't be divided goes to the first.
            let share = left.div_ceil(sharing.max(1));
            left -= share;
            sharing = sharing.saturating_sub(1);
            share
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{Part::*, *};
    use proptest::prelude::*;

    #[test]
    fn what_is_fixed_comes_first_and_the_rest_is_shared() {
        assert_eq!(lengths(80, [Rest, Fixed(1), Rest]), [40, 1, 39]);
        assert_eq!(lengths(24, [Fixed(1), Rest, Fixed(1)]), [1, 22, 1]);
        assert_eq!(lengths(5, [Fixed(4), Rest, Fixed(4)]), [4, 0, 1]);
        assert_eq!(lengths(0, [Fixed(4), Rest]), [0, 0]);
    }

    proptest! {
        #[test]
        fn parts_lie_within_and_leave_nothing(
            (x, y, width, height) in (0..=1_000u16, 0..=1_000u16, any::<u16>(), any::<u16>()),
            fixed: [u16; 2],
        ) {
            let area = Rect { x, y, width: width / 2, height: height / 2 };
            let parts = [Fixed(fixed[0]), Rest, Fixed(fixed[1]), Rest];
            let (rows, columns) = (rows(area, parts), columns(area, parts));
            for part in rows.iter().chain(&columns) {
                prop_assert_eq!(part.intersection(area).area(), part.area());
            }
            prop_assert_eq!(rows.iter().map(|part| part.height).sum::<u16>(), area.height);
            prop_assert_eq!(columns.iter().map(|part| part.width).sum::<u16>(), area.width);
        }
    }
}
