//! Statements.

use super::Checker;
use crate::run::node::{Binary, Block, Expr, Label, Line, Stmt, StmtKind};
use crate::syntax::ast::{self, AssignOp, CaseLabel, ExprKind, StmtKind as Ast};
use crate::syntax::diag::Diagnostic;

impl Checker {
    pub(super) fn block(&mut self, statements: &[ast::Stmt]) -> Block {
        let mut block = Vec::new();
        for statement in statements {
            // One with a mistake is left out: then nothing runs anyway.
            if let Some(kind) = self.statement(statement) {
                let number = self
                    .report
                    .location(statement.span)
                    .map_or(0, |place| place.line as u32);
                let line = Line {
                    file: statement.span.file.index(),
                    number,
                };
                block.push(Stmt { line, kind });
            }
        }
        block.into()
    }

    fn statement(&mut self, statement: &ast::Stmt) -> Option<StmtKind> {
        match &statement.kind {
            Ast::Block(block) => Some(StmtKind::Block(self.block(&block.statements))),
            Ast::If { arms, otherwise } => {
                let mut compiled = Vec::new();
                for arm in arms {
                    let condition = self.expr(&arm.condition);
                    let body = self.block(&arm.body.statements);
                    compiled.push(condition.map(|condition| (condition, body)));
                }
                let otherwise = otherwise
                    .as_ref()
                    .map(|block| self.block(&block.statements));
                let arms: Option<Box<[_]>> = compiled.into_iter().collect();
                Some(StmtKind::If {
                    arms: arms?,
                    otherwise,
                })
            }
            Ast::While { condition, body } => {
                let condition = self.expr(condition);
                self.loops += 1;
                let body = self.block(&body.statements);
                self.loops -= 1;
                Some(StmtKind::While {
                    condition: condition?,
                    body,
                })
            }
            Ast::Switch { subject, cases } => self.switch(subject, cases),
            Ast::Break => {
                if self.loops == 0 {
                    self.report(
                        Diagnostic::error(statement.span, "there is no while or switch to leave")
                            .help("to leave the route block, write return;"),
                    );
                }
                Some(StmtKind::Break)
            }
            Ast::Return(value) => match value {
                None => Some(StmtKind::Return(None)),
                Some(value) => Some(StmtKind::Return(Some(self.expr(value)?))),
            },
            Ast::Exit(value) => {
                // Its value has no reader; what is wrong with it is worth knowing.
                value.as_ref().map(|value| self.expr(value));
                Some(StmtKind::Exit)
            }
            Ast::Drop(value) => {
                value.as_ref().map(|value| self.expr(value));
                Some(StmtKind::Drop)
            }
            Ast::Assign { target, op, value } => {
                let value = self.expr(value);
                let ExprKind::Pv(pv) = &target.kind else {
                    self.report(
                        Diagnostic::error(target.span, "nothing can be assigned to this")
                            .label("expected a variable, as in $var(name)"),
                    );
                    return None;
                };
                let written = self.target(pv)?;
                let value = match op.kind {
                    AssignOp::Set => value?,
                    AssignOp::Add => {
                        let before = self.pv_expr(pv)?;
                        Expr::Binary(Binary::Add, Box::new((before, value?)))
                    }
                };
                Some(StmtKind::Assign {
                    target: written,
                    value,
                })
            }
            Ast::Expr(expr) => Some(StmtKind::Eval(self.expr(expr)?)),
        }
    }

    fn switch(&mut self, subject: &ast::Expr, cases: &[ast::Case]) -> Option<StmtKind> {
        let subject = self.expr(subject);
        let mut labels = Vec::new();
        let mut default = None;
        let mut body: Vec<Stmt> = Vec::new();
        self.loops += 1;
        for case in cases {
            match &case.label.kind {
                CaseLabel::Value(value) => {
                    if let Some(value) = self.expr(value) {
                        labels.push((Label::Value(value), body.len()));
                    }
                }
                CaseLabel::Regex(pattern) => {
                    if let Some(pattern) = self.pattern(pattern) {
                        labels.push((Label::Regex(pattern), body.len()));
                    }
                }
                CaseLabel::Default => default = Some(body.len()),
            }
            body.extend(self.block(&case.statements));
        }
        self.loops -= 1;
        Some(StmtKind::Switch {
            subject: subject?,
            labels: labels.into(),
            default,
            body: body.into(),
        })
    }
}
