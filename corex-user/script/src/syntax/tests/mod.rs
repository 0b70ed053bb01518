//! Tests of the front end as a whole.

mod constructs;
mod examples;
mod inclusion;
mod preprocessor;
mod properties;
mod reports;
mod substitution;

use super::ast::{Block, Expr, File, Item, ItemKind, Route, Stmt, StmtKind};
use super::{Parsed, parse_str};

/// Parses a text that is right.
fn good(text: &str) -> File {
    let Parsed { file, report } = parse_str("test.cfg", text);
    assert!(report.diagnostics().is_empty(), "{report}");
    file
}

/// The only item of a text that is right.
fn item(text: &str) -> ItemKind {
    let mut file = good(text);
    assert_eq!(file.items.len(), 1, "{file:?}");
    let Item { kind, .. } = file.items.remove(0);
    kind
}

fn route(text: &str) -> Route {
    match item(text) {
        ItemKind::Route(route) => route,
        other => panic!("no route: {other:?}"),
    }
}

/// The statements of a block in which a text stands.
fn statements(text: &str) -> Vec<Stmt> {
    let Block { statements, .. } = route(&format!("request_route {{ {text} }}")).body;
    statements
}

fn statement(text: &str) -> StmtKind {
    let mut all = statements(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).kind
}

/// The value in `$var(x) = value;`.
fn expression(text: &str) -> Expr {
    match statement(&format!("$var(x) = {text};")) {
        StmtKind::Assign { value, .. } => value,
        other => panic!("no assignment: {other:?}"),
    }
}

/// An expression with all its parentheses, to see how it was grouped.
fn grouped(text: &str) -> String {
    fn show(expr: &Expr) -> String {
        use super::ast::ExprKind;
        match &expr.kind {
            ExprKind::Binary { op, left, right } => {
                format!("({} {} {})", show(left), op.kind.text(), show(right))
            }
            ExprKind::Unary { op, operand } => format!("[{} {}]", op.kind.text(), show(operand)),
            _ => expr.to_string(),
        }
    }
    show(&expression(text))
}
