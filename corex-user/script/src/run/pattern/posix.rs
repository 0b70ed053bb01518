//! POSIX extended regular expressions (IEEE Std 1003.1, chapter 9.4), as glibc's regcomp takes them,
//! in the notation of the crate `regex`.

use std::borrow::Cow;

/// The same pattern for the crate. What both write alike stays as it is, what is wrong for both too.
pub(super) fn translated(pattern: &str) -> Cow<'_, str> {
    let mut translation = Translation {
        rest: pattern,
        out: String::with_capacity(pattern.len() + 8),
        groups: Vec::new(),
        atom: None,
        is_repeated: false,
    };
    while let Some(sign) = translation.rest.chars().next() {
        translation.step(sign);
    }
    if translation.out == pattern {
        Cow::Borrowed(pattern)
    } else {
        Cow::Owned(translation.out)
    }
}

struct Translation<'p> {
    rest: &'p str,
    out: String,
    /// Where each group that is open begins in `out`.
    groups: Vec<usize>,
    /// Where the last thing that can be repeated begins in `out`.
    atom: Option<usize>,
    /// Whether it is repeated already.
    is_repeated: bool,
}

impl Translation<'_> {
    fn step(&mut self, sign: char) {
        match sign {
            '\\' => self.escape(),
            '[' => self.bracket(),
            '(' => {
                self.groups.push(self.out.len());
                self.atom = None;
                self.copy(1);
                // The crate's own: flags, or a group of a kind.
                if self.rest.starts_with('?') {
                    let end = self.rest.find([':', ')', '>']).unwrap_or(self.rest.len());
                    self.copy(end);
                }
            }
            ')' => match self.groups.pop() {
                Some(start) => {
                    self.copy(1);
                    self.has_atom(start);
                }
                // By itself it stands for itself (RE_UNMATCHED_RIGHT_PAREN_ORD).
                None => {
                    self.has_atom(self.out.len());
                    self.out.push('\\');
                    self.copy(1);
                }
            },
            '*' | '+' | '?' => {
                self.repeat();
                self.copy(1);
            }
            '{' => {
                self.repeat();
                self.copy(1);
                // No least number is 0, for glibc.
                if self.rest.starts_with(',') {
                    self.out.push('0');
                }
                self.copy(self.rest.find('}').map_or(0, |at| at + 1));
            }
            '|' => {
                self.atom = None;
                self.copy(1);
            }
            _ => {
                self.has_atom(self.out.len());
                self.copy(sign.len_utf8());
            }
        }
    }

    /// Takes so many bytes over.
    fn copy(&mut self, len: usize) {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.out.push_str(taken);
        self.rest = rest;
    }

    fn has_atom(&mut self, start: usize) {
        self.atom = Some(start);
        self.is_repeated = false;
    }

    /// A repetition of what is repeated already: for the crate a second sign would change how much the
    /// first one takes.
    fn repeat(&mut self) {
        if let Some(start) = self.atom.filter(|_| self.is_repeated) {
            self.out.insert_str(start, "(?:");
            self.out.push(')');
        }
        self.is_repeated = true;
    }

    fn escape(&mut self) {
        self.has_atom(self.out.len());
        match self.rest[1..].chars().next() {
            // The ends of the whole (GNU).
            Some('`') => self.skip("\\A"),
            Some('\'') => self.skip("\\z"),
            Some(sign) => self.copy(1 + sign.len_utf8()),
            None => self.copy(1),
        }
    }

    /// Writes something in the place of an escaped sign of one byte.
    fn skip(&mut self, instead: &str) {
        self.out.push_str(instead);
        self.rest = self.rest.get(2..).unwrap_or_default();
    }

    /// A bracket expression: nothing in it is special but `]`, `^` in front, `-` between two, and
    /// `[:class:]`, `[.sign.]`, `[=sign=]`.
    fn bracket(&mut self) {
        self.has_atom(self.out.len());
        self.copy(1);
        if self.rest.starts_with('^') {
            self.copy(1);
        }
        if self.rest.starts_with(']') {
            self.out.push('\\');
            self.copy(1);
        }
        while let Some(sign) = self.rest.chars().next() {
            match sign {
                ']' => return self.copy(1),
                '[' if self.rest.starts_with("[:") => {
                    let end = self.rest.find(":]").map_or(self.rest.len(), |at| at + 2);
                    self.copy(end);
                }
                '[' if self.collating() => {}
                // For the crate these begin a class in the class, or join two.
                '[' | '&' | '~' => {
                    self.out.push('\\');
                    self.copy(1);
                }
                // The crate's own, as before; for POSIX it stands for itself.
                '\\' => match self.rest[1..].chars().next() {
                    Some(']') | None => {
                        self.out.push('\\');
                        self.copy(1);
                    }
                    Some(sign) => self.copy(1 + sign.len_utf8()),
                },
                // One in front of the end, or twice.
                '-' if self.rest.starts_with("-]") => {
                    self.out.push('\\');
                    self.copy(1);
                }
                _ => self.copy(sign.len_utf8()),
            }
        }
    }

    /// `[.a.]` and `[=a=]`, which are `a` where each sign stands for itself.
    fn collating(&mut self) -> bool {
        let mut signs = self.rest.chars().skip(1);
        let (Some(kind @ ('.' | '=')), Some(sign)) = (signs.next(), signs.next()) else {
            return false;
        };
        let whole = format!("[{kind}{sign}{kind}]");
        let Some(rest) = self.rest.strip_prefix(&whole) else {
            return false;
        };
        if !sign.is_alphanumeric() {
            self.out.push('\\');
        }
        self.out.push(sign);
        self.rest = rest;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::regex;

    /// What glibc 2.36 makes of patterns (REG_EXTENDED | REG_ICASE): where it finds a match.
    #[test]
    fn patterns_mean_what_they_mean_to_glibc() {
        for (pattern, text, found) in [
            ("a{,3}", "aaaaa", Some((0, 3))),
            ("a{,3}$", "baaaa", Some((2, 5))),
            ("^a{,3}$", "aaaa", None),
            ("^a{,3}$", "aaa", Some((0, 3))),
            ("^a{,}$", "aaaa", Some((0, 4))),
            ("^(b|a{,2})$", "AA", Some((0, 2))),
            ("^a**$", "aaa", Some((0, 3))),
            ("^a+*$", "", Some((0, 0))),
            ("a*?", "aa", Some((0, 2))),
            ("a+?", "aa", Some((0, 2))),
            ("(ab)+?", "abab", Some((0, 4))),
            ("[ab]{1,2}?", "abb", Some((0, 2))),
            ("^a{1}{2}$", "aa", Some((0, 2))),
            ("a|", "b", Some((0, 0))),
            ("()", "x", Some((0, 0))),
            ("^a)$", "a)", Some((0, 2))),
            ("(a))", "a)", Some((0, 2))),
            ("a}", "a}", Some((0, 2))),
            ("[]a]", "]", Some((0, 1))),
            ("[^]a]", "]", None),
            ("[a-]", "-", Some((0, 1))),
            ("[a\\]", "\\", Some((0, 1))),
            ("[\\]]", "\\]", Some((0, 2))),
            ("[a&&b]", "&", Some((0, 1))),
            ("[a~~b]", "~", Some((0, 1))),
            ("[[a]", "[", Some((0, 1))),
            ("[a[]", "[", Some((0, 1))),
            ("[[.a.]]", "a", Some((0, 1))),
            ("[[=a=]-c]", "b", Some((0, 1))),
            ("[[:alpha:]_]+", "a_1", Some((0, 2))),
            ("\\<foo\\>", "a foo", Some((2, 5))),
            ("\\{\\}\\_", "{}_", Some((0, 3))),
            ("b\\'", "ab", Some((1, 2))),
            ("\\`a", "ba", None),
            ("x{0}", "y", Some((0, 0))),
        ] {
            let regex = regex(pattern.as_bytes()).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            let place = regex.find(text.as_bytes()).map(|it| (it.start(), it.end()));
            assert_eq!(place, found, "{pattern} in {text}");
        }
    }

    #[test]
    fn what_glibc_refuses_is_refused() {
        for pattern in [
            "a|*b", "{", "*a", "(*a)", "+a", "a{", "{1}", "a{1", "a{x}", "a{2,1}", "a{}", "(a",
            "[a", "[z-a]", "\\", "a{99999}",
        ] {
            assert!(regex(pattern.as_bytes()).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_crates_own_notation_is_left_alone() {
        for (pattern, text) in [
            ("(?i)A\\d+(?:x|y)", "a12Y"),
            ("(?m-s)^b$", "a\nb"),
            ("(?P<name>a)[\\d\\s]", "a1"),
            ("\\x41\\bé", ""),
        ] {
            assert_eq!(super::translated(pattern), pattern);
            let regex = regex(pattern.as_bytes());
            assert!(text.is_empty() || regex.is_ok_and(|it| it.is_match(text.as_bytes())));
        }
    }
}
