//! Circles among arrows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A shortest circle through each end that is on one, the first end repeated at the end; each set
/// of ends once.
pub fn circles<'a>(arrows: &BTreeSet<(&'a str, &'a str)>) -> Vec<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    let begins: BTreeSet<&str> = arrows.iter().map(|(from, _)| *from).collect();
    for begin in begins {
        let Some(circle) = circle_through(begin, arrows) else {
            continue;
        };
        if seen.insert(circle.iter().copied().collect::<BTreeSet<_>>()) {
            circles.push(circle);
        }
    }
    circles
}

fn circle_through<'a>(
    begin: &'a str,
    arrows: &BTreeSet<(&'a str, &'a str)>,
) -> Option<Vec<&'a str>> {
    let mut reached_from = BTreeMap::new();
    let mut next = VecDeque::from([begin]);
    while let Some(at) = next.pop_front() {
        for (_, to) in arrows.iter().filter(|(from, _)| *from == at) {
            if *to == begin {
                let mut circle = vec![begin];
                let mut back = at;
                while back != begin {
                    circle.push(back);
                    back = reached_from[back];
                }
                circle.push(begin);
                circle.reverse();
                return Some(circle);
            }
            if !reached_from.contains_key(to) {
                reached_from.insert(*to, at);
                next.push_back(to);
            }
        }
    }
    None
}
