//! Files of rules, which pairs of URIs are compared with: From and request URI, To and Contact.

use std::path::Path;

use regex::bytes::Regex;

use crate::access::text::{self, Field, Line, Mistake};

/// The longest expression and the longest URI that is compared; Kamailio's.
pub const MAX_EXPRESSION: usize = 256;
/// The most expressions of a file.
const MAX_EXPRESSIONS: usize = 4096;

const FORM: &str = "a line is: LIST [EXCEPT LIST] : LIST [EXCEPT LIST]; a list is ALL, or \"expressions\" with commas between them";

/// The rules of a file, in order.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    left: Side,
    right: Side,
}

#[derive(Clone, Debug, Default)]
struct Side {
    /// `None`: ALL.
    any: Option<Vec<Regex>>,
    except: Vec<Regex>,
}

impl Side {
    fn fits(&self, text: &[u8]) -> bool {
        let is_in = |list: &[Regex]| list.iter().any(|regex| regex.is_match(text));
        self.any.as_deref().is_none_or(is_in) && !is_in(&self.except)
    }

    fn len(&self) -> usize {
        self.any.as_ref().map_or(0, Vec::len) + self.except.len()
    }
}

impl Rules {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(file: &Path) -> Result<Rules, Mistake> {
        Rules::parse(file, &text::read(file)?)
    }

    /// As [`Self::read`], of a file that has been read already.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Rules, Mistake> {
        let mut rules = Rules::default();
        let mut expressions = 0;
        for line in text::lines(file, bytes) {
            let Some(rule) = rule(line.checked()?)? else {
                continue;
            };
            expressions += rule.left.len() + rule.right.len();
            if expressions > MAX_EXPRESSIONS {
                let what = format!("these are more than {MAX_EXPRESSIONS} expressions");
                return Err(line.mistake(0, what, "join some of them by `|`"));
            }
            rules.0.push(rule);
        }
        Ok(rules)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a rule fits both.
    pub fn fit(&self, left: &[u8], right: &[u8]) -> bool {
        self.0
            .iter()
            .any(|rule| rule.left.fits(left) && rule.right.fits(right))
    }
}

/// The rule of a line; `None` where it has none.
fn rule(line: Line<'_>) -> Result<Option<Rule>, Mistake> {
    let end = outside(line.text, |rest| rest.first() == Some(&b'#')).next();
    let text = line
        .text
        .get(..end.unwrap_or(line.text.len()))
        .unwrap_or_default();
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    if text.iter().filter(|byte| **byte == b'"').count() % 2 != 0 {
        let at = text.iter().rposition(|byte| *byte == b'"').unwrap_or(0);
        return Err(line.mistake(at, "this quotation mark has no partner", FORM));
    }
    // As in Kamailio, the last one counts.
    let colon = outside(text, |rest| rest.first() == Some(&b':')).last();
    let Some(colon) = colon else {
        return Err(line.mistake(
            text.len(),
            "there is no `:` outside of quotation marks",
            FORM,
        ));
    };
    let part = |at: usize, end: usize| Field {
        at,
        text: text.get(at..end).unwrap_or_default(),
    };
    Ok(Some(Rule {
        left: side(line, part(0, colon))?,
        right: side(line, part(colon + 1, text.len()))?,
    }))
}

fn side(line: Line<'_>, field: Field<'_>) -> Result<Side, Mistake> {
    const EXCEPT: &[u8] = b" EXCEPT ";
    let except = outside(field.text, |rest| rest.starts_with(EXCEPT)).next();
    let (any, except) = match except {
        None => (field, None),
        Some(at) => {
            let (any, rest) = field.text.split_at_checked(at).unwrap_or((field.text, &[]));
            let except = Field {
                at: field.at + at + EXCEPT.len(),
                text: rest.get(EXCEPT.len()..).unwrap_or_default(),
            };
            (
                Field {
                    at: field.at,
                    text: any,
                },
                Some(except),
            )
        }
    };
    Ok(Side {
        any: match any.text.trim_ascii() {
            b"ALL" => None,
            _ => Some(list(line, any)?),
        },
        except: except.map_or(Ok(Vec::new()), |except| list(line, except))?,
    })
}

fn list(line: Line<'_>, field: Field<'_>) -> Result<Vec<Regex>, Mistake> {
    let commas = outside(field.text, |rest| rest.first() == Some(&b','));
    let mut begin = 0;
    let mut list = Vec::new();
    for end in commas.chain([field.text.len()]) {
        let part = field.text.get(begin..end).unwrap_or_default();
        let blank = part.len() - part.trim_ascii_start().len();
        let at = field.at + begin + blank;
        begin = end + 1;
        let text = part.trim_ascii();
        let bare = text.strip_prefix(b"\"").unwrap_or(text);
        let bare = bare.strip_suffix(b"\"").unwrap_or(bare);
        if bare.is_empty() {
            return Err(line.mistake(at, "an expression is missing here", FORM));
        }
        if bare.len() >= MAX_EXPRESSION {
            let what = format!("the expression has {MAX_EXPRESSION} bytes or more");
            return Err(line.mistake(at, what, "divide it into several"));
        }
        let regex = corex_script::regex(bare).map_err(|reason| {
            let what = format!("this is no regular expression: {reason}");
            line.mistake(
                at,
                what,
                "it is a POSIX extended one, as in \"^sip:[0-9]+@\"",
            )
        })?;
        list.push(regex);
    }
    Ok(list)
}

/// Places outside of quotation marks whose rest of the text is of a kind.
fn outside<'a>(
    text: &'a [u8],
    is_it: impl Fn(&[u8]) -> bool + 'a,
) -> impl Iterator<Item = usize> + 'a {
    let mut is_quoted = false;
    text.iter().enumerate().filter_map(move |(at, byte)| {
        if *byte == b'"' {
            is_quoted = !is_quoted;
        }
        (!is_quoted && is_it(text.get(at..).unwrap_or_default())).then_some(at)
    })
}
