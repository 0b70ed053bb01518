//! Blocks and statements.

use super::super::ast::{
    AssignOp, BinaryOp, Block, Call, Case, CaseLabel, Expr, ExprKind, IfArm, Name, Node, Stmt,
    StmtKind,
};
use super::super::diag::Diagnostic;
use super::super::span::Span;
use super::super::token::{Punct, TokenKind};
use super::{Failed, Parse, Parser};

/// What Kamailio lets stand without parentheses.
const BARE_CALLS: [&str; 7] = [
    "force_rport",
    "add_rport",
    "add_local_rport",
    "force_tcp_alias",
    "add_tcp_alias",
    "revert_uri",
    "userphone",
];

impl Parser<'_> {
    /// `{ … }`. Mistakes within it are reported; it fails only without its opening brace.
    pub(super) fn block(&mut self) -> Parse<Block> {
        let open = self.expect(Punct::LeftBrace)?;
        let statements = self.statements(false);
        if !self.eat(Punct::RightBrace) {
            let diagnostic = self
                .unexpected("`}`")
                .related(open, "the block that begins here is still open");
            self.push(diagnostic);
        }
        Ok(Block {
            statements,
            span: open.to(self.previous),
        })
    }

    fn at_case(&self) -> bool {
        self.is_word("case") || self.is_word("default") && self.is_at(1, Punct::Colon)
    }

    /// Statements up to what ends them: a brace, a new item, in a switch a label.
    fn statements(&mut self, in_switch: bool) -> Vec<Stmt> {
        let mut statements = Vec::new();
        loop {
            if self.at_end() || self.is(Punct::RightBrace) || self.begins_item() {
                return statements;
            }
            if in_switch && self.at_case() {
                return statements;
            }
            if self.eat(Punct::Semicolon) {
                continue;
            }
            let before = self.at;
            match self.nested(Self::statement) {
                Ok(statement) => statements.push(statement),
                Err(Failed) => self.skip_to_statement(before),
            }
        }
    }

    /// Skips to where the next statement seems to begin. `before` is where the failed one began.
    fn skip_to_statement(&mut self, before: usize) {
        if self.at == before {
            self.bump();
        }
        let mut depth = 0usize;
        while !self.at_end() && !self.begins_item() {
            if depth == 0 && (self.is(Punct::RightBrace) || self.begins_statement()) {
                return;
            }
            if self.eat(Punct::Semicolon) {
                if depth == 0 {
                    return;
                }
            } else if self.eat(Punct::LeftBrace) {
                depth += 1;
            } else if self.eat(Punct::RightBrace) {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            } else {
                self.bump();
            }
        }
    }

    /// Whether this line most likely begins a statement.
    fn begins_statement(&self) -> bool {
        if !self.starts_line() {
            return false;
        }
        match self.kind(0) {
            TokenKind::Word(word) => {
                self.is_at(1, Punct::LeftParen)
                    || matches!(
                        word.as_str(),
                        "if" | "while" | "switch" | "case" | "default"
                    )
                    || matches!(word.as_str(), "return" | "exit" | "drop" | "break")
            }
            TokenKind::Pv(_) => self.is_at(1, Punct::Assign) || self.is_at(1, Punct::AddAssign),
            _ => false,
        }
    }

    fn statement(&mut self) -> Parse<Stmt> {
        let start = self.span();
        let kind = match self.word_at(0) {
            Some("if") => self.if_statement()?,
            Some("while") => {
                self.bump();
                let condition = self.condition();
                let body = self.body()?;
                StmtKind::While { condition, body }
            }
            Some("switch") => self.switch_statement()?,
            Some("break") => {
                self.bump();
                if self.eat(Punct::LeftParen) {
                    self.expect(Punct::RightParen)?;
                }
                self.end_of_statement()?;
                StmtKind::Break
            }
            Some(word @ ("return" | "exit" | "drop")) => {
                let make = match word {
                    "return" => StmtKind::Return,
                    "exit" => StmtKind::Exit,
                    _ => StmtKind::Drop,
                };
                self.bump();
                let value = self.optional_value()?;
                self.end_of_statement()?;
                make(value)
            }
            Some("else") => {
                let diagnostic = Diagnostic::error(start, "there is no `if` for this `else`")
                    .help("a `;` between `}` and `else` ends the `if`: remove it");
                self.push(diagnostic);
                self.bump();
                // What belongs to it is read for its own mistakes.
                return self.nested(Self::statement);
            }
            Some("case" | "default") if self.at_case() => {
                let diagnostic = Diagnostic::error(start, "this label is not in a `switch`");
                return self.fail(diagnostic);
            }
            _ if self.is(Punct::LeftBrace) => StmtKind::Block(self.block()?),
            _ => self.simple_statement()?,
        };
        Ok(Stmt::new(kind, start.to(self.previous)))
    }

    /// An assignment or a call.
    fn simple_statement(&mut self) -> Parse<StmtKind> {
        if let Some(diagnostic) = self.inclusion() {
            return self.fail(diagnostic);
        }
        if let Some(word) = self.word_at(0)
            && BARE_CALLS.contains(&word)
            && self.is_at(1, Punct::Semicolon)
        {
            let name = Name::new(word.to_owned(), self.span());
            let span = name.span;
            self.bump();
            self.bump();
            let args = Vec::new();
            return Ok(StmtKind::Expr(Expr::new(
                ExprKind::Call(Call { name, args }),
                span,
            )));
        }
        let target = self.expression()?;
        let op = match self.kind(0) {
            TokenKind::Punct(Punct::Assign) => AssignOp::Set,
            TokenKind::Punct(Punct::AddAssign) => AssignOp::Add,
            _ => return self.expression_statement(target),
        };
        if !matches!(
            target.kind,
            ExprKind::Pv(_) | ExprKind::Word(_) | ExprKind::Select(_)
        ) {
            let diagnostic = Diagnostic::error(target.span, "nothing can be assigned to this")
                .label("expected a variable, as in $var(name)");
            return self.fail(diagnostic);
        }
        self.bump();
        let op = Node::new(op, self.previous);
        let value = self.expression()?;
        self.end_of_statement()?;
        Ok(StmtKind::Assign { target, op, value })
    }

    fn expression_statement(&mut self, expr: Expr) -> Parse<StmtKind> {
        let mut diagnostic = match &expr.kind {
            ExprKind::Call(_) => {
                self.end_of_statement()?;
                return Ok(StmtKind::Expr(expr));
            }
            ExprKind::Pv(_) => self.unexpected("`=` and a value"),
            ExprKind::Word(word) => self
                .unexpected("`(`")
                .help(format!("a function is called with parentheses: {word}()")),
            ExprKind::Binary { op, .. } if op.kind == BinaryOp::Equal => {
                Diagnostic::error(op.span, "this compares, and does nothing with the result")
                    .help("to assign, write `=`")
            }
            _ => Diagnostic::error(expr.span, "this is a value, not a statement")
                .label("expected a call, an assignment or a keyword"),
        };
        if self.is(Punct::Colon) && self.is_at(1, Punct::Assign) {
            diagnostic = diagnostic.help("to assign, write `=`");
        }
        self.fail(diagnostic)
    }

    /// Expects the `;`. Where it was plainly forgotten, that is reported and the parser goes on.
    fn end_of_statement(&mut self) -> Parse<()> {
        if self.eat(Punct::Semicolon) {
            return Ok(());
        }
        if self.is(Punct::RightBrace) || self.starts_line() || self.at_end() {
            let diagnostic =
                Diagnostic::error(self.previous.after(), "this statement does not end")
                    .label("expected `;`");
            self.push(diagnostic);
            return Ok(());
        }
        let diagnostic = self.unexpected("`;` or an operator");
        self.fail(diagnostic)
    }

    /// The value after `return`, `exit`, `drop`.
    fn optional_value(&mut self) -> Parse<Option<Expr>> {
        if self.is(Punct::Semicolon) || self.is(Punct::RightBrace) || self.starts_line() {
            return Ok(None);
        }
        if self.is(Punct::LeftParen) && self.is_at(1, Punct::RightParen) {
            self.bump();
            self.bump();
            return Ok(None);
        }
        self.expression().map(Some)
    }

    /// A condition. After a mistake in it the parser goes on at its body, with a stand-in.
    fn condition(&mut self) -> Expr {
        let start = self.span();
        match self.expression() {
            Ok(condition) => {
                if self.is(Punct::Assign) {
                    let diagnostic = self
                        .unexpected("a comparison")
                        .help("to compare, write `==`");
                    self.push(diagnostic);
                    self.skip_to_body();
                }
                if self.is(Punct::RightParen) {
                    let diagnostic = self
                        .unexpected("a statement or `{`")
                        .help("there is one `)` too many, or a `(` is missing before it");
                    self.push(diagnostic);
                    self.skip_to_body();
                }
                condition
            }
            Err(Failed) => {
                self.skip_to_body();
                Expr::new(ExprKind::Int(1), start)
            }
        }
    }

    fn skip_to_body(&mut self) {
        let line_left = |parser: &Self| parser.starts_line() && parser.begins_statement();
        while !self.at_end()
            && !self.is(Punct::LeftBrace)
            && !self.is(Punct::RightBrace)
            && !self.is(Punct::Semicolon)
            && !line_left(self)
            && !self.begins_item()
        {
            self.bump();
        }
    }

    /// What a condition governs: a block or one statement.
    fn body(&mut self) -> Parse<Block> {
        let start = self.span();
        if self.is(Punct::LeftBrace) {
            return self.block();
        }
        if self.eat(Punct::Semicolon) {
            return Ok(Block {
                statements: Vec::new(),
                span: start,
            });
        }
        if self.at_end() || self.is(Punct::RightBrace) || self.begins_item() {
            let diagnostic = self.unexpected("a statement or `{`");
            return self.fail(diagnostic);
        }
        let statement = self.nested(Self::statement)?;
        let span = statement.span;
        Ok(Block {
            statements: vec![statement],
            span,
        })
    }

    fn if_statement(&mut self) -> Parse<StmtKind> {
        let mut arms = Vec::new();
        loop {
            self.bump();
            let condition = self.condition();
            let body = self.body()?;
            arms.push(IfArm { condition, body });
            if !self.eat_word("else") {
                return Ok(StmtKind::If {
                    arms,
                    otherwise: None,
                });
            }
            if !self.is_word("if") {
                let otherwise = Some(self.body()?);
                return Ok(StmtKind::If { arms, otherwise });
            }
        }
    }

    fn switch_statement(&mut self) -> Parse<StmtKind> {
        self.bump();
        let subject = self.condition();
        let open = self.expect(Punct::LeftBrace)?;
        let mut cases: Vec<Case> = Vec::new();
        loop {
            if self.eat(Punct::RightBrace) {
                return Ok(StmtKind::Switch { subject, cases });
            }
            if self.at_end() || self.begins_item() {
                let diagnostic = self
                    .unexpected("`}`")
                    .related(open, "the switch that begins here is still open");
                self.push(diagnostic);
                return Ok(StmtKind::Switch { subject, cases });
            }
            if !self.at_case() {
                if self.eat(Punct::Semicolon) {
                    continue;
                }
                let before = self.at;
                let diagnostic = self.unexpected("`case`, `default` or `}`");
                self.push(diagnostic);
                self.skip_to_statement(before);
                continue;
            }
            match self.case(&cases) {
                Ok(case) => cases.push(case),
                Err(Failed) => {
                    let before = self.at;
                    self.skip_to_statement(before);
                }
            }
        }
    }

    fn case(&mut self, before: &[Case]) -> Parse<Case> {
        let start = self.span();
        let label = if self.eat_word("default") {
            self.second_default(before, start);
            CaseLabel::Default
        } else {
            self.bump();
            if self.eat(Punct::Slash) {
                let regex = self.expect_str()?;
                // Kamailio has no sign at the end; many expect one.
                self.eat(Punct::Slash);
                CaseLabel::Regex(Expr::new(ExprKind::Str(regex.kind), regex.span))
            } else {
                CaseLabel::Value(self.expression()?)
            }
        };
        let label = Node::new(label, start.to(self.previous));
        self.expect(Punct::Colon)?;
        let statements = self.statements(true);
        Ok(Case { label, statements })
    }

    fn second_default(&mut self, before: &[Case], here: Span) {
        let first = before
            .iter()
            .find(|case| case.label.kind == CaseLabel::Default);
        if let Some(first) = first {
            let diagnostic = Diagnostic::error(here, "this switch has a `default` already")
                .related(first.label.span, "it is here");
            self.push(diagnostic);
        }
    }
}
