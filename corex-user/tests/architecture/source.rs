//! Rust source as words and signs: no comments, no literals, no code of tests.

/// A word, a sign, or `::`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// As it is written; of a raw identifier what follows `r#`.
    pub text: &'a str,
    /// From 1 on.
    pub line: usize,
}

impl Token<'_> {
    /// Whether it is an identifier or a keyword, neither number nor sign.
    pub fn is_word(&self) -> bool {
        self.text.starts_with(begins_word)
    }
}

/// Divides source into tokens. Comments, strings, characters and lifetimes are left out.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (len, text) = if let Some(len) = skipped(rest) {
            (len, None)
        } else if begins_word(first) || first.is_ascii_digit() {
            let raw = if rest.starts_with("r#") { 2 } else { 0 };
            let end = raw + word_len(&rest[raw..]);
            (end, Some(&rest[raw..end]))
        } else if rest.starts_with("::") {
            (2, Some("::"))
        } else {
            let len = first.len_utf8();
            (len, (!first.is_whitespace()).then_some(&rest[..len]))
        };
        tokens.extend(text.map(|text| Token { text, line }));
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

/// Leaves out what only tests are compiled with: the items, fields and statements behind
/// `#[cfg(test)]`.
pub fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let Some(end) = attribute_end(tokens, at) else {
            kept.push(tokens[at]);
            at += 1;
            continue;
        };
        if is_cfg_test(&tokens[at..end]) {
            at = annotated_end(tokens, end);
        } else {
            kept.extend_from_slice(&tokens[at..end]);
            at = end;
        }
    }
    kept
}

/// The index behind the bracket that closes the one at `open`, or the end.
pub fn group_end(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

fn begins_word(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn word_len(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

/// The length of the comment, literal or lifetime that `text` begins with.
fn skipped(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment_len(text));
    }
    let prefix = if begins_word(text.chars().next()?) {
        word_len(text)
    } else {
        0
    };
    let (prefix, literal) = text.split_at(prefix);
    let len = match prefix {
        "" | "b" | "c" if literal.starts_with('"') => quoted_len(literal, '"'),
        "" | "b" if literal.starts_with('\'') => character_or_lifetime_len(literal),
        "r" | "br" | "cr" => raw_string_len(literal)?,
        _ => return None,
    };
    Some(prefix.len() + len)
}

/// Block comments contain block comments.
fn block_comment_len(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn character_or_lifetime_len(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    let (first, second) = (chars.next(), chars.next());
    if first == Some('\\') || second == Some('\'') {
        quoted_len(text, '\'')
    } else {
        1 + word_len(&text[1..])
    }
}

/// `"…"` or `#"…"#`, behind its `r`; nothing where that begins a raw identifier.
fn raw_string_len(text: &str) -> Option<usize> {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let body = text[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let len = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(hashes + 1 + len)
}

/// The index behind the attribute that begins at `at`.
fn attribute_end(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let is = |at: usize, text| tokens.get(at).is_some_and(|token| token.text == text);
    (is(at, "#") && is(at + 1, "[")).then(|| group_end(tokens, at + 1))
}

/// `#[cfg(test)]`, `#[cfg(all(test, …))]`; not `#[cfg(not(test))]`.
fn is_cfg_test(attribute: &[Token<'_>]) -> bool {
    let has = |text| attribute.iter().any(|token| token.text == text);
    attribute.get(2).is_some_and(|token| token.text == "cfg") && has("test") && !has("not")
}

/// The index behind what the attributes before `at` belong to.
fn annotated_end(tokens: &[Token<'_>], mut at: usize) -> usize {
    while let Some(end) = attribute_end(tokens, at) {
        at = end;
    }
    // An item ends with its braces or a semicolon, a declaration of names with the semicolon, a
    // field or an arm with a comma; what contains them may end first.
    let mut is_item = false;
    let mut is_use = false;
    while let Some(token) = tokens.get(at) {
        match token.text {
            "fn" | "mod" | "struct" | "enum" | "impl" | "trait" | "union" | "macro_rules" => {
                is_item = true;
            }
            "use" => is_use = true,
            ";" => return at + 1,
            "," if !is_item => return at + 1,
            ")" | "]" | "}" => return at,
            "{" => {
                let end = group_end(tokens, at);
                if !is_use {
                    return end;
                }
                at = end;
                continue;
            }
            "(" | "[" => {
                at = group_end(tokens, at);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    at
}
