//! What stands at the top level: core parameters, modules and their parameters, route blocks.

use super::super::ast::{
    File, Item, ItemKind, ModParam, Name, Node, ParamValue, Route, RouteKind, Setting,
    SettingValue, SettingValueKind, Str,
};
use super::super::diag::Diagnostic;
use super::super::span::Span;
use super::super::token::{Punct, TokenKind};
use super::{Failed, Joined, Parse, Parser, closest};

const ROUTES: [(&str, RouteKind); 8] = [
    ("request_route", RouteKind::Request),
    ("route", RouteKind::Request),
    ("reply_route", RouteKind::Reply),
    ("onreply_route", RouteKind::Reply),
    ("failure_route", RouteKind::Failure),
    ("branch_route", RouteKind::Branch),
    ("onsend_route", RouteKind::OnSend),
    ("event_route", RouteKind::Event),
];

/// Words at the top level that are easily mistyped.
const KEYWORDS: [&str; 12] = [
    "request_route",
    "route",
    "reply_route",
    "onreply_route",
    "failure_route",
    "branch_route",
    "onsend_route",
    "event_route",
    "loadmodule",
    "loadpath",
    "mpath",
    "modparam",
];

fn route_kind(word: &str) -> Option<RouteKind> {
    ROUTES
        .iter()
        .find(|(keyword, _)| *keyword == word)
        .map(|(_, kind)| *kind)
}

/// What a boolean word says. Kamailio reads them as 1 and 0.
fn bool_word(word: &str) -> Option<bool> {
    match word {
        "yes" | "true" | "on" | "enable" => Some(true),
        "no" | "false" | "off" | "disable" => Some(false),
        _ => None,
    }
}

impl Parser<'_> {
    pub(super) fn file(mut self) -> File {
        let mut file = File::default();
        while !self.at_end() {
            if self.eat(Punct::Semicolon) {
                continue;
            }
            if self.is(Punct::RightBrace) {
                let diagnostic = self
                    .unexpected("a parameter, a module or a route block")
                    .help("there is no open block here: remove this `}`, or look for one too many before it");
                self.push(diagnostic);
                self.bump();
                continue;
            }
            let before = self.at;
            match self.item() {
                Ok(item) => file.items.push(item),
                Err(Failed) => self.skip_to_item(before),
            }
        }
        file
    }

    /// Skips to the next line that begins an item. `before` is where the failed one began.
    fn skip_to_item(&mut self, before: usize) {
        if self.at == before {
            self.bump();
        }
        let mut depth = 0usize;
        while !self.at_end() && !self.begins_item() {
            if depth == 0 && self.seems_to_begin_item() {
                return;
            }
            if self.is(Punct::LeftBrace) {
                depth += 1;
            } else if self.is(Punct::RightBrace) {
                depth = depth.saturating_sub(1);
            }
            self.bump();
        }
    }

    /// Whether this line most likely begins an item, perhaps with mistakes.
    fn seems_to_begin_item(&self) -> bool {
        let Some(word) = self.word_at(0).filter(|_| self.starts_line()) else {
            return false;
        };
        let signs = [
            Punct::Assign,
            Punct::LeftBrace,
            Punct::LeftBracket,
            Punct::LeftParen,
        ];
        KEYWORDS.contains(&word)
            || matches!(self.kind(1), TokenKind::Str(_))
            || signs.iter().any(|sign| self.is_at(1, *sign))
    }

    /// Whether an item other than a setting begins on this line, in a block too: nothing of the kind can stand in
    /// a block.
    pub(super) fn begins_item(&self) -> bool {
        if !self.starts_line() {
            return false;
        }
        match self.word_at(0) {
            Some("loadmodule" | "loadpath" | "mpath") => matches!(self.kind(1), TokenKind::Str(_)),
            Some("modparam") => self.is_at(1, Punct::LeftParen),
            Some(word) => {
                route_kind(word).is_some()
                    && (self.is_at(1, Punct::LeftBrace) || self.is_at(1, Punct::LeftBracket))
            }
            None => false,
        }
    }

    fn item(&mut self) -> Parse<Item> {
        let start = self.span();
        let Some(word) = self.word_at(0).map(str::to_owned) else {
            let diagnostic = self.unexpected("a parameter, a module or a route block");
            return self.fail(diagnostic);
        };
        let kind = if self.is_at(1, Punct::Assign) || self.is_at(1, Punct::Dot) {
            ItemKind::Setting(self.setting(&word)?)
        } else if let Some(kind) = route_kind(&word) {
            ItemKind::Route(self.route(kind, &word)?)
        } else {
            match word.as_str() {
                "loadmodule" => ItemKind::LoadModule(self.quoted_operand()?),
                "loadpath" | "mpath" => ItemKind::LoadPath(self.quoted_operand()?),
                "modparam" => ItemKind::ModParam(self.modparam()?),
                _ => return self.unknown_item(&word),
            }
        };
        Ok(Item::new(kind, start.to(self.previous)))
    }

    fn unknown_item(&mut self, word: &str) -> Parse<Item> {
        let start = self.span();
        if let Some(diagnostic) = self.inclusion() {
            return self.fail(diagnostic);
        }
        if self.is_at(1, Punct::LeftBrace) || self.is_at(1, Punct::LeftBracket) {
            let mut diagnostic =
                Diagnostic::error(start, format!("there is no kind of block called `{word}`"));
            diagnostic = match closest(word, &KEYWORDS) {
                Some(known) => diagnostic.help(format!("did you mean `{known}`?")),
                None => diagnostic.help(format!("known are {}", ROUTES.map(|(w, _)| w).join(", "))),
            };
            self.push(diagnostic);
            // The block itself may hold further mistakes worth knowing.
            self.route(RouteKind::Event, word)?;
            return Err(Failed);
        }
        if self.is_at(1, Punct::LeftParen) {
            let mut diagnostic = Diagnostic::error(start, format!("`{word}` can't be called here"))
                .label("expected a parameter, a module or a route block");
            diagnostic = match closest(word, &KEYWORDS) {
                Some(known) => diagnostic.help(format!("did you mean `{known}`?")),
                None => diagnostic.help("functions are called within route blocks"),
            };
            return self.fail(diagnostic);
        }
        if let Some(known) = closest(word, &KEYWORDS) {
            let diagnostic = Diagnostic::error(start, format!("`{word}` is not known here"))
                .help(format!("did you mean `{known}`?"));
            return self.fail(diagnostic);
        }
        self.bump();
        let diagnostic = self
            .unexpected("`=`")
            .help(format!("a core parameter is written `{word} = value`"));
        self.fail(diagnostic)
    }

    /// Takes an `include_file` that the preprocessor could not follow.
    pub(super) fn inclusion(&mut self) -> Option<Diagnostic> {
        let word = self
            .word_at(0)
            .filter(|word| matches!(*word, "include_file" | "import_file"))?;
        let diagnostic = Diagnostic::error(
            self.span(),
            format!("{word} needs a file's name in double quotes"),
        )
        .help(format!("write {word} \"name\"; a #!define can't hold it"));
        self.bump();
        if matches!(self.kind(0), TokenKind::Str(_)) {
            self.bump();
        }
        Some(diagnostic)
    }

    /// `keyword "text"`, also with parentheses.
    fn quoted_operand(&mut self) -> Parse<Str> {
        self.bump();
        let open = self.span();
        if self.eat(Punct::LeftParen) {
            let text = self.expect_str()?;
            self.expect_closing(Punct::RightParen, open)?;
            return Ok(text);
        }
        self.expect_str()
    }

    fn modparam(&mut self) -> Parse<ModParam> {
        self.bump();
        let open = self.expect(Punct::LeftParen)?;
        let modules = self.expect_str()?;
        self.expect(Punct::Comma)?;
        let name = self.expect_str()?;
        self.expect(Punct::Comma)?;
        let value = self.param_value()?;
        self.expect_closing(Punct::RightParen, open)?;
        Ok(ModParam {
            modules,
            name,
            value,
        })
    }

    fn param_value(&mut self) -> Parse<Node<ParamValue>> {
        let start = self.span();
        if let Some(number) = self.signed_number() {
            return Ok(Node::new(ParamValue::Int(number), start.to(self.previous)));
        }
        if let Some(truth) = self.word_at(0).and_then(bool_word) {
            self.bump();
            return Ok(Node::new(ParamValue::Int(i64::from(truth)), start));
        }
        if matches!(self.kind(0), TokenKind::Str(_)) {
            let text = self.expect_str()?;
            return Ok(Node::new(ParamValue::Str(text.kind), text.span));
        }
        let mut diagnostic = self.unexpected("a number or a string");
        if matches!(self.kind(0), TokenKind::Word(_) | TokenKind::Pv(_)) {
            diagnostic = diagnostic.help("put it in quotation marks");
        }
        self.fail(diagnostic)
    }

    fn signed_number(&mut self) -> Option<i64> {
        let negative = self.is(Punct::Minus);
        let TokenKind::Number { value, .. } = self.kind(usize::from(negative)) else {
            return None;
        };
        let value = *value;
        if negative {
            self.bump();
        }
        self.bump();
        Some(if negative { -value } else { value })
    }

    fn setting(&mut self, word: &str) -> Parse<Setting> {
        let mut name = Name::new(word.to_owned(), self.span());
        let mut group = None;
        self.bump();
        if self.eat(Punct::Dot) {
            let Some(word) = self.word_at(0).map(str::to_owned) else {
                let diagnostic = self.unexpected("a parameter's name");
                return self.fail(diagnostic);
            };
            let member = Name::new(word, self.span());
            self.bump();
            group = Some(std::mem::replace(&mut name, member));
        }
        self.expect(Punct::Assign)?;
        let mut values = Vec::new();
        if group.is_none() && matches!(name.kind.as_str(), "listen" | "alias") {
            values.push(self.address_value()?);
            while self.further_address() {
                values.push(self.address_value()?);
            }
        } else {
            values.push(self.setting_value(&name.kind)?);
        }
        let mut description = None;
        if group.is_some() && matches!(self.word_at(0), Some("desc" | "descr" | "description")) {
            self.bump();
            description = Some(self.expect_str()?);
        }
        if !self.starts_line() && !self.at_end() && !self.is(Punct::Semicolon) {
            // A further setting on the same line is fine.
            let next = matches!(self.kind(0), TokenKind::Word(_));
            if !next {
                let diagnostic = self.unexpected("the end of the line");
                return self.fail(diagnostic);
            }
        }
        Ok(Setting {
            group,
            name,
            values,
            description,
        })
    }

    fn address_value(&mut self) -> Parse<SettingValue> {
        let listen = self.listen()?;
        Ok(Node::new(
            SettingValueKind::Address(Box::new(listen.kind)),
            listen.span,
        ))
    }

    fn setting_value(&mut self, name: &str) -> Parse<SettingValue> {
        let start = self.span();
        if self.starts_line() {
            // The value was forgotten: what stands here begins something else.
            let diagnostic = Diagnostic::error(
                self.previous.after(),
                format!("the parameter `{name}` has no value"),
            )
            .label("expected a number, a string or a word");
            return self.fail(diagnostic);
        }
        if let Some(number) = self.signed_number() {
            let kind = SettingValueKind::Int(number);
            return Ok(Node::new(kind, start.to(self.previous)));
        }
        match self.kind(0) {
            TokenKind::Str(_) => {
                let text = self.expect_str()?;
                Ok(Node::new(SettingValueKind::Str(text.kind), text.span))
            }
            TokenKind::Word(_) | TokenKind::NumberWord(_) | TokenKind::Ip { .. }
                if self.is_compound() =>
            {
                self.address_value()
            }
            TokenKind::Word(word) => {
                let kind = match bool_word(word) {
                    Some(truth) => SettingValueKind::Bool(truth),
                    None => SettingValueKind::Word(word.clone()),
                };
                self.bump();
                Ok(Node::new(kind, start))
            }
            _ => {
                let diagnostic = self.unexpected("a number, a string or a word");
                self.fail(diagnostic)
            }
        }
    }

    /// Whether the value here is more than a word: an address, or words joined by signs.
    fn is_compound(&self) -> bool {
        !matches!(self.kind(0), TokenKind::Word(_))
            || self.glued(1)
                && [Punct::Dot, Punct::Minus, Punct::Colon]
                    .iter()
                    .any(|sign| self.is_at(1, *sign))
    }

    fn route(&mut self, kind: RouteKind, word: &str) -> Parse<Route> {
        let keyword = self.span();
        self.bump();
        let mut name = None;
        let bracket = self.span();
        if self.eat(Punct::LeftBracket) {
            name = self.route_name(word, bracket);
        }
        self.check_route_name(kind, word, keyword, name.as_ref());
        if name.as_ref().is_some_and(|name| name.kind == "0")
            && matches!(kind, RouteKind::Request | RouteKind::Reply)
        {
            name = None;
        }
        if !self.is(Punct::LeftBrace) {
            let mut diagnostic = self.unexpected("`{`");
            if self.is(Punct::LeftParen) {
                diagnostic = diagnostic.help(format!(
                    "a name stands in brackets, {word}[NAME]; a block is called from within another one"
                ));
            }
            return self.fail(diagnostic);
        }
        let body = self.block()?;
        Ok(Route {
            kind: Node::new(kind, keyword),
            name,
            body,
        })
    }

    /// The name up to the closing bracket. A mistake in it is reported, and the block read nevertheless.
    fn route_name(&mut self, word: &str, bracket: Span) -> Option<Name> {
        let mut joined = Joined::default();
        while !self.starts_line() && !self.is(Punct::RightBracket) && !self.is(Punct::LeftBrace) {
            let kind = self.kind(0);
            let fits = match kind {
                TokenKind::Punct(punct) => {
                    matches!(punct, Punct::Minus | Punct::Colon | Punct::Dot)
                }
                TokenKind::Str(_) => true,
                other => other.name_text().is_some(),
            };
            if !fits || joined.span.is_some() && !self.glued(0) {
                break;
            }
            match &self.bump() {
                TokenKind::Str(text) => joined.push_text(text, self.previous),
                other => joined.push(other.name_text().unwrap_or("").as_bytes(), self.previous),
            }
        }
        let empty = joined.value.is_empty();
        if empty || !self.is(Punct::RightBracket) {
            let expected = if empty { "a name" } else { "`]`" };
            let diagnostic = self
                .unexpected(expected)
                .related(bracket, "the name's bracket opens here")
                .help(format!("write {word}[NAME] {{ … }}"));
            self.push(diagnostic);
            while !self.at_end() && !self.starts_line() && !self.is(Punct::LeftBrace) {
                self.bump();
            }
            return None;
        }
        self.bump();
        let text = joined.finish();
        match text.kind.as_str() {
            Some(name) => Some(Name::new(name.to_owned(), text.span)),
            None => {
                self.push(Diagnostic::error(
                    text.span,
                    "this name has bytes that are not text",
                ));
                None
            }
        }
    }

    fn check_route_name(
        &mut self,
        kind: RouteKind,
        word: &str,
        keyword: Span,
        name: Option<&Name>,
    ) {
        // `KEYWORDS` holds the words that are right; others were reported already.
        if !KEYWORDS.contains(&word) {
            return;
        }
        match name {
            None if kind == RouteKind::Event && !self.previous_is_bracketed(keyword) => {
                let diagnostic = Diagnostic::error(keyword, "an event_route needs a name")
                    .help("write event_route[network:msg] { … }, with the event's name");
                self.push(diagnostic);
            }
            Some(name) if kind == RouteKind::Event && !name.kind.contains(':') => {
                let diagnostic = Diagnostic::error(name.span, "this is not an event's name")
                    .label("expected module:event, as in network:msg");
                self.push(diagnostic);
            }
            Some(name) if matches!(word, "request_route" | "reply_route") => {
                let other = if word == "request_route" {
                    "route"
                } else {
                    "onreply_route"
                };
                let diagnostic = Diagnostic::error(name.span, format!("a {word} has no name"))
                    .help(format!("write {other}[{}] {{ … }}", name.kind));
                self.push(diagnostic);
            }
            _ => {}
        }
    }

    /// Whether something in brackets was read after the keyword; then its mistake was reported.
    fn previous_is_bracketed(&self, keyword: Span) -> bool {
        self.previous != keyword
    }
}
