//! What is wrong with a configuration, and how that is shown: place, line, caret, remedy.

use super::span::{Location, Sources, Span, char_boundary_before};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::fmt;
use std::ops::Range;

/// How many diagnostics a [`Report`] keeps. Further ones are counted only: after so many mistakes
/// the rest are echoes as a rule, and hostile input must not make the report grow without bound.
pub const MAX_DIAGNOSTICS: usize = 100;

/// Longer lines are shown around the place in question only, in characters.
const MAX_LINE_SHOWN: usize = 240;

/// Whether a diagnostic keeps the configuration from being used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Severity {
    /// The configuration can't be used.
    Error,
    /// It can, but the author should know.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a diagnostic is shown only after it was pushed into a report"]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The place; [`Span::NONE`] when it has none, as when a file can't be read.
    pub span: Span,
    /// What is wrong, in a short sentence without a full stop.
    pub message: String,
    /// What stands beside the caret: what was expected there, as a rule.
    pub label: Option<String>,
    /// Other places that explain it, each with its words: where a block began.
    pub related: Vec<(Span, String)>,
    /// Remedies: what to write instead.
    pub help: Vec<String>,
}

impl Diagnostic {
    fn new(severity: Severity, span: Span, message: String) -> Diagnostic {
        Diagnostic {
            severity,
            span,
            message,
            label: None,
            related: Vec::new(),
            help: Vec::new(),
        }
    }

    /// An error.
    pub fn error(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, span, message.into())
    }

    /// A warning.
    pub fn warning(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, span, message.into())
    }

    /// Puts words beside the caret.
    pub fn label(mut self, text: impl Into<String>) -> Diagnostic {
        self.label = Some(text.into());
        self
    }

    /// Points at another place that explains it.
    pub fn related(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.related.push((span, text.into()));
        self
    }

    /// Adds a remedy.
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help.push(text.into());
        self
    }
}

/// All that was found in a configuration, with the source texts it was found in.
#[derive(Clone, Default, Debug)]
pub struct Report {
    /// The texts that spans point into.
    pub sources: Sources,
    diagnostics: Vec<Diagnostic>,
    /// How many more than [`MAX_DIAGNOSTICS`] are kept.
    beyond: usize,
    errors: usize,
    warnings: usize,
}

impl Report {
    /// An empty report.
    pub fn new() -> Report {
        Report::default()
    }

    /// Adds a diagnostic. A second error that begins at the same place is left out: it is an echo of
    /// the first. Beyond [`MAX_DIAGNOSTICS`] only the count grows.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let echo = diagnostic.severity == Severity::Error
            && !diagnostic.span.is_none()
            && self.diagnostics.iter().any(|known| {
                known.severity == Severity::Error
                    && known.span.file == diagnostic.span.file
                    && known.span.start == diagnostic.span.start
            });
        if echo {
            return;
        }
        match diagnostic.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        if self.diagnostics.len() < MAX_DIAGNOSTICS + self.beyond {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Has so many more than [`MAX_DIAGNOSTICS`] kept from now on.
    pub fn keep_beyond(&mut self, more: usize) {
        self.beyond = more;
    }

    /// Whether there is an error: then the configuration can't be used.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Number of errors, those that were not kept included.
    pub fn error_count(&self) -> usize {
        self.errors
    }

    /// Number of warnings, those that were not kept included.
    pub fn warning_count(&self) -> usize {
        self.warnings
    }

    /// The diagnostics that were kept, in the order in which they came.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Where a span begins, if it names a place.
    pub fn location(&self, span: Span) -> Option<Location<'_>> {
        self.sources.location(span)
    }

    /// The whole report as text for people, in the order of the source, ending with a line that
    /// counts; empty when there is nothing to say. `colour` adds ANSI escapes.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut sorted: Vec<&Diagnostic> = self.diagnostics.iter().collect();
        sorted.sort_by_key(|diagnostic| (diagnostic.span.file, diagnostic.span.start));
        let mut out = String::new();
        for diagnostic in sorted {
            out.push_str(&renderer.render(&[self.group(diagnostic)]));
            out.push_str("\n\n");
        }
        out.push_str(&self.summary());
        out
    }

    fn summary(&self) -> String {
        let count = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {what}")),
            n => Some(format!("{n} {what}s")),
        };
        let counts: Vec<String> = [count(self.errors, "error"), count(self.warnings, "warning")]
            .into_iter()
            .flatten()
            .collect();
        if counts.is_empty() {
            return String::new();
        }
        let hidden = self.errors + self.warnings - self.diagnostics.len();
        let rest = if hidden > 0 {
            format!(" ({hidden} not shown)")
        } else {
            String::new()
        };
        format!("{}{rest}\n", counts.join(", "))
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()));
        if let Some(window) = self.window(diagnostic.span) {
            let mut primary = AnnotationKind::Primary.span(window.marked.clone());
            if let Some(label) = &diagnostic.label {
                primary = primary.label(label.as_str());
            }
            let mut here = Snippet::source(window.text)
                .line_start(window.location.line)
                .annotation(primary);
            if window.whole_line {
                here = here.path(window.location.file);
            } else {
                // The snippet would count its columns from where it was cut.
                let origin = Origin::path(window.location.file)
                    .line(window.location.line)
                    .char_column(window.location.column);
                group = group.element(origin);
            }
            group = group.element(here);
        } else if let Some(label) = &diagnostic.label {
            group = group.element(Level::NOTE.message(label.as_str()));
        }
        for (span, text) in &diagnostic.related {
            match self.window(*span) {
                Some(window) => {
                    group = group.element(Level::NOTE.message(format!(
                        "{text} ({}:{}:{})",
                        window.location.file, window.location.line, window.location.column
                    )));
                    group = group.element(
                        Snippet::source(window.text)
                            .line_start(window.location.line)
                            .annotation(AnnotationKind::Context.span(window.marked)),
                    );
                }
                None => group = group.element(Level::NOTE.message(text.as_str())),
            }
        }
        for origin in self.sources.origins(diagnostic.span.file) {
            if let Some(place) = self.location(origin.place) {
                group = group.element(Level::NOTE.message(format!("{} {place}", origin.how)));
            }
        }
        for help in &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }

    /// The line in which `span` begins, or the part of it around the span, without its line end.
    /// What the span covers of further lines is left out.
    fn window(&self, span: Span) -> Option<Window<'_>> {
        let source = self.sources.get(span.file)?;
        let location = source.location(span.start);
        let line = source.line_range(location.line - 1);
        let text = source.text().get(line.clone())?;
        let text = text.trim_end_matches(['\n', '\r']);
        let start = (span.start as usize).clamp(line.start, line.start + text.len()) - line.start;
        let end = (span.end as usize).clamp(line.start, line.start + text.len()) - line.start;
        let start = char_boundary_before(text, start);
        let mut end = end.max(start);
        while !text.is_char_boundary(end) {
            end += 1;
        }

        if text.len() <= MAX_LINE_SHOWN {
            return Some(Window {
                location,
                text,
                marked: start..end,
                whole_line: true,
            });
        }
        let from = char_boundary_before(text, start.saturating_sub(MAX_LINE_SHOWN / 3));
        let upto = char_boundary_before(text, from + MAX_LINE_SHOWN);
        Some(Window {
            location,
            text: text.get(from..upto)?,
            marked: start - from..end.min(upto) - from,
            whole_line: false,
        })
    }
}

impl fmt::Display for Report {
    /// Writes [`Report::render`] without colour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// What is shown of a source text.
struct Window<'a> {
    location: Location<'a>,
    text: &'a str,
    /// The bytes of `text` that the caret marks.
    marked: Range<usize>,
    whole_line: bool,
}
