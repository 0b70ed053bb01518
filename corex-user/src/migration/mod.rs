//! `corex check --from-kamailio`: what of a configuration of Kamailio's runs here as it is, block by
//! block, what is to be changed, and what stays with the server behind.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use corex_script::function::Modules;
use corex_script::syntax::ast::{File, Item, ItemKind, Route, RouteKind};
use corex_script::syntax::diag::{Diagnostic, Report, Severity};
use corex_script::syntax::span::Span;

#[cfg(test)]
mod tests;

/// What there is to say of a configuration.
#[derive(Debug)]
pub struct Migration {
    /// The report, for people.
    pub text: String,
    /// Whether all of it runs here as it is.
    pub runs: bool,
}

/// Reads a configuration of Kamailio's, its `#!define` and `#!ifdef` as the file has them.
pub fn examine(path: &Path, modules: Modules) -> Migration {
    let (file, report) = corex_script::examine(path, modules);
    describe(&path.display().to_string(), &file, &report, modules)
}

/// What becomes of a block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Runs,
    Changes,
    Stays,
}

fn describe(name: &str, file: &File, report: &Report, modules: Modules) -> Migration {
    let mut sections = Sections {
        report,
        modules,
        out: format!("{name}, for corex\n"),
        told: vec![false; report.diagnostics().len()],
    };
    sections.globals(file);
    sections.modules(file);
    sections.parameters(file);
    let fates = sections.routes(file);
    sections.rest();
    let count = |fate| fates.iter().filter(|it| **it == fate).count();
    let (runs, changes, stays) = (count(Fate::Runs), count(Fate::Changes), count(Fate::Stays));
    let mut text = sections.out;
    // Writing to memory can't fail.
    let _ = writeln!(
        text,
        "\nOf {} route blocks {runs} run here as they are, {changes} are to be changed, {stays} \
         stay with the server behind.",
        fates.len()
    );
    let hidden = report.error_count() + report.warning_count() - report.diagnostics().len();
    if hidden > 0 {
        let _ = writeln!(text, "{hidden} further remarks are left out.");
    }
    if report.has_errors() {
        text.push_str(
            "docs/migration.md shows how the parts go together; `corex check -f FILE` says when \
             nothing is left to change.\n",
        );
    }
    Migration {
        text,
        runs: !report.has_errors(),
    }
}

struct Sections<'a> {
    report: &'a Report,
    modules: Modules,
    out: String,
    /// Which of the diagnostics stand in a section already.
    told: Vec<bool>,
}

fn contains(outer: Span, inner: Span) -> bool {
    outer.file == inner.file
        && outer.start <= inner.start
        && inner.start < outer.end.max(outer.start + 1)
}

/// How a block is called.
fn title(route: &Route) -> String {
    let kind = match route.kind.kind {
        RouteKind::Request if route.name.is_some() => "route",
        RouteKind::Request => "request_route",
        RouteKind::Reply => "reply_route",
        RouteKind::Failure => "failure_route",
        RouteKind::Branch => "branch_route",
        RouteKind::OnSend => "onsend_route",
        RouteKind::Event => "event_route",
    };
    match &route.name {
        Some(name) => format!("{kind}[{}]", name.kind),
        None => kind.to_owned(),
    }
}

/// Whether a block runs for a transaction, which the server behind has.
fn is_transactions(route: &Route) -> bool {
    match route.kind.kind {
        RouteKind::Failure | RouteKind::Branch => true,
        RouteKind::Reply => route.name.as_ref().is_some_and(|name| name.kind != "0"),
        RouteKind::Request | RouteKind::OnSend | RouteKind::Event => false,
    }
}

/// The name of a module as `loadmodule` has it.
fn module_name(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let file = text.rsplit('/').next().unwrap_or_default();
    file.strip_suffix(".so").unwrap_or(file).to_owned()
}

impl Sections<'_> {
    /// The diagnostics in a part of the configuration, in the order of the text.
    fn inside(&mut self, span: Span) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (diagnostic, told) in self.report.diagnostics().iter().zip(&mut self.told) {
            if contains(span, diagnostic.span) {
                *told = true;
                found.push(diagnostic.clone());
            }
        }
        found.sort_by_key(|diagnostic| diagnostic.span.start);
        found
    }

    fn heading(&mut self, text: &str) {
        // Writing to memory can't fail.
        let _ = writeln!(self.out, "\n{text}");
    }

    /// One line of a part: its place, what is wrong, and the remedy.
    fn remark(&mut self, diagnostic: &Diagnostic) {
        let place = self.report.location(diagnostic.span);
        let place = place.map_or(String::new(), |at| format!("{}:{}: ", at.line, at.column));
        let kind = match diagnostic.severity {
            Severity::Error => "",
            Severity::Warning => "(may stay) ",
        };
        let _ = write!(self.out, "    {place}{kind}{}", diagnostic.message);
        for help in &diagnostic.help {
            let _ = write!(self.out, "; {help}");
        }
        self.out.push('\n');
    }

    fn globals(&mut self, file: &File) {
        let mut counts = [0, 0];
        let mut remarks = Vec::new();
        for item in &file.items {
            if !matches!(item.kind, ItemKind::Setting(_) | ItemKind::LoadPath(_)) {
                continue;
            }
            let found = self.inside(item.span);
            let is_wrong = found.iter().any(|it| it.severity == Severity::Error);
            if let Some(count) = counts.get_mut(usize::from(is_wrong)) {
                *count += 1;
            }
            remarks.extend(found);
        }
        let [runs, wrong] = counts;
        self.heading(&format!(
            "Global parameters: {runs} are taken as they are, {wrong} are to be changed"
        ));
        for remark in &remarks {
            self.remark(remark);
        }
    }

    fn modules(&mut self, file: &File) {
        let mut here = Vec::new();
        let mut behind: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut out: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for Item { kind, span } in &file.items {
            let ItemKind::LoadModule(name) = kind else {
                continue;
            };
            self.inside(*span);
            let name = module_name(&name.kind.value);
            match (self.modules.find(&name), self.modules.elsewhere(&name)) {
                (Some(module), _) => here.push(module.name),
                (None, Some(known)) if known.stays => behind.entry(known.why).or_default().push(name),
                (None, Some(known)) => out.entry(known.why).or_default().push(name),
                (None, None) => out
                    .entry("corex has no such module; what it does stays with the server behind, or in Lua or Perl")
                    .or_default()
                    .push(name),
            }
        }
        self.heading("Modules");
        let _ = writeln!(self.out, "  run here: {}", list_of(&here));
        for (title, group) in [
            ("stay with the server behind", behind),
            ("to be taken out", out),
        ] {
            if group.is_empty() {
                continue;
            }
            let _ = writeln!(self.out, "  {title}:");
            for (why, names) in group {
                let _ = writeln!(self.out, "    {}: {why}", names.join(", "));
            }
        }
    }

    fn parameters(&mut self, file: &File) {
        let (mut runs, mut stays) = (0, 0);
        let mut remarks = Vec::new();
        for item in &file.items {
            let ItemKind::ModParam(param) = &item.kind else {
                continue;
            };
            let found = self.inside(item.span);
            let modules = param.modules.kind.as_str().unwrap_or_default();
            let is_here = modules
                .split('|')
                .any(|name| self.modules.find(name).is_some());
            let is_wrong = found.iter().any(|it| it.severity == Severity::Error);
            if !is_here {
                stays += 1;
                continue;
            }
            runs += usize::from(!is_wrong);
            remarks.extend(found);
        }
        self.heading(&format!(
            "Parameters of modules: {runs} are taken as they are, {stays} go with their modules"
        ));
        for remark in &remarks {
            self.remark(remark);
        }
    }

    fn routes(&mut self, file: &File) -> Vec<Fate> {
        self.heading("Routes");
        let mut fates = Vec::new();
        for item in &file.items {
            let ItemKind::Route(route) = &item.kind else {
                continue;
            };
            let found = self.inside(item.span.to(route.body.span));
            let wrong = found
                .iter()
                .filter(|it| it.severity == Severity::Error)
                .count();
            let fate = match (is_transactions(route), wrong) {
                (true, _) => Fate::Stays,
                (false, 0) => Fate::Runs,
                (false, _) => Fate::Changes,
            };
            let line = self.report.location(item.span).map_or(0, |at| at.line);
            let title = title(route);
            let words = match fate {
                Fate::Runs => "runs here as it is".to_owned(),
                Fate::Changes if wrong == 1 => "1 to change".to_owned(),
                Fate::Changes => format!("{wrong} to change"),
                Fate::Stays => {
                    "stays with the server behind, which has the transactions".to_owned()
                }
            };
            let _ = writeln!(self.out, "  {title} (line {line}): {words}");
            if fate != Fate::Stays {
                for remark in &found {
                    self.remark(remark);
                }
            }
            fates.push(fate);
        }
        fates
    }

    /// What stands in no part: in the preprocessor's lines, in included files, in what can't be read.
    fn rest(&mut self) {
        let rest: Vec<Diagnostic> = self
            .report
            .diagnostics()
            .iter()
            .zip(&self.told)
            .filter(|(_, told)| !**told)
            .map(|(diagnostic, _)| diagnostic.clone())
            .collect();
        if rest.is_empty() {
            return;
        }
        self.heading("Elsewhere");
        for remark in &rest {
            if let Some(place) = self.report.location(remark.span) {
                let _ = writeln!(self.out, "  {}", place.file);
            }
            self.remark(remark);
        }
    }
}

fn list_of(names: &[&str]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}
