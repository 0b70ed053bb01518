//! data_file: rules as in Kamailio's table `secfilter`, a line for a row.

use std::path::Path;

use corex_script::settings::{RuleKind, RuleList, SecfilterRule};

use super::{MAX_DATA, MAX_RULES};
use crate::access::text::{self, Line, Mistake};

const FORM: &str = "a line is: ACTION TYPE DATA; actions are 0 blacklist, 1 whitelist, 2 destination; \
                    types 0 ua, 1 country, 2 domain, 3 ip, 4 user; numbers or words";

/// Reads a file, and hands its rules to `take`, which says whether there is room for them.
///
/// # Errors
/// What is wrong with it.
pub fn read(file: &Path, take: impl FnMut(&SecfilterRule) -> bool) -> Result<(), Mistake> {
    parse(file, &text::read(file)?, take)
}

/// As [`read`], of a file that has been read already.
///
/// # Errors
/// As [`read`].
pub fn parse(
    file: &Path,
    bytes: &[u8],
    mut take: impl FnMut(&SecfilterRule) -> bool,
) -> Result<(), Mistake> {
    for line in text::lines(file, bytes) {
        let line = line.checked()?;
        let Some(rule) = of_line(line)? else {
            continue;
        };
        if !take(&rule) {
            let what = format!("these are more than {MAX_RULES} rules");
            return Err(line.mistake(0, what, "block networks by the guard's lists instead"));
        }
    }
    Ok(())
}

fn of_line(line: Line<'_>) -> Result<Option<SecfilterRule>, Mistake> {
    let mut fields = line.fields();
    let Some(action) = fields.next() else {
        return Ok(None);
    };
    let Some(list) = list(action.text) else {
        return Err(line.mistake(action.at, "this is no action", FORM));
    };
    let Some(kind) = fields.next() else {
        return Err(line.mistake(fields.place(), "the type is missing", FORM));
    };
    let Some(known) = self::kind(kind.text) else {
        return Err(line.mistake(kind.at, "this is no type", FORM));
    };
    let data = fields.rest();
    let made = rule(list, known, data.text);
    made.map(Some)
        .map_err(|what| line.mistake(data.at, what, FORM))
}

fn list(word: &[u8]) -> Option<RuleList> {
    Some(match word {
        b"0" | b"blacklist" => RuleList::Black,
        b"1" | b"whitelist" => RuleList::White,
        b"2" | b"destination" => RuleList::Destination,
        _ => return None,
    })
}

fn kind(word: &[u8]) -> Option<RuleKind> {
    let number = match word {
        [digit @ b'0'..=b'4'] => Some(usize::from(digit - b'0')),
        _ => None,
    };
    match number {
        Some(number) => RuleKind::ALL.get(number).copied(),
        None => RuleKind::parse(word),
    }
}

/// A rule of this text.
///
/// # Errors
/// Why it can't be one.
pub fn rule(list: RuleList, kind: RuleKind, data: &[u8]) -> Result<SecfilterRule, String> {
    if data.is_empty() {
        return Err(
            "the text is missing: an empty one would be the beginning of everything".into(),
        );
    }
    if data.len() > MAX_DATA {
        return Err(format!("the text has more than {MAX_DATA} bytes"));
    }
    Ok(SecfilterRule {
        list,
        kind,
        data: data.into(),
    })
}

/// The rule of a parameter, `KIND:TEXT`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_rule(list: RuleList, text: &str) -> Result<SecfilterRule, String> {
    let (word, data) = text.split_once(':').unwrap_or((text, ""));
    let known = kind(word.trim().as_bytes())
        .ok_or_else(|| format!("`{}` is none of ua, country, domain, ip, user", word.trim()))?;
    rule(list, known, data.trim().as_bytes())
}
