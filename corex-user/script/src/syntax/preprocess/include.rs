//! `include_file` and `import_file`.

use super::super::diag::Diagnostic;
use super::super::lexer::Lexer;
use super::super::read::{ReadFile, decode, not_utf8};
use super::super::span::{FileId, MAX_SOURCE_LEN, Source, Span};
use super::super::token::Include;
use super::{Preprocessor, Read};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How deep files may include each other, as in Kamailio.
const MAX_DEPTH: usize = 10;

/// How many files may be included altogether.
const MAX_INCLUSIONS: usize = 1000;

/// Texts of files that were read once.
pub(super) struct Files<'a> {
    read_file: &'a ReadFile<'a>,
    texts: HashMap<PathBuf, FileText>,
}

#[derive(Clone)]
struct FileText {
    text: Arc<str>,
    /// The first byte that is not UTF-8; the text has a stand-in there.
    invalid: Option<std::ops::Range<usize>>,
}

impl<'a> Files<'a> {
    /// None yet.
    pub(super) fn new(read_file: &'a ReadFile<'a>) -> Files<'a> {
        Files {
            read_file,
            texts: HashMap::new(),
        }
    }

    fn get(&mut self, path: &Path) -> io::Result<FileText> {
        if let Some(known) = self.texts.get(path) {
            return Ok(known.clone());
        }
        // A pipe or a device could keep us waiting, or never end.
        match std::fs::metadata(path) {
            Ok(kind) if kind.is_dir() => return Err(ErrorKind::IsADirectory.into()),
            Ok(kind) if !kind.is_file() => return Err(io::Error::other("not a regular file")),
            // Who reads the file may be more than we are.
            Err(error) if error.kind() != ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
        let (text, invalid) = decode((self.read_file)(path)?);
        let text = FileText {
            text: text.into(),
            invalid,
        };
        self.texts.insert(path.to_owned(), text.clone());
        Ok(text)
    }
}

/// Why a file can't be had.
struct Unreadable {
    /// The paths that were tried.
    tried: Vec<PathBuf>,
    /// What the system said about one that is there.
    error: Option<io::Error>,
}

impl Preprocessor<'_, '_> {
    /// Reads the file `path` in place of the line that names it; `place` is that of the path.
    pub(super) fn include(
        &mut self,
        lexer: &mut Lexer<'_>,
        include: Include,
        path: &str,
        place: Span,
    ) -> Read {
        self.diagnostics.append(&mut lexer.diagnostics);
        let name = self.substituted_bytes(path.as_bytes(), place);
        let name = PathBuf::from(OsString::from_vec(name.into_owned()));
        if self.stopped {
            return Ok(());
        }
        if name.as_os_str().is_empty() {
            self.report(
                Diagnostic::error(place, "the file's name is empty")
                    .label("expected the path of a file"),
            );
            return Ok(());
        }
        if self.included.len() >= MAX_DEPTH {
            self.too_deep(&name, place);
            self.stopped = true;
            return Ok(());
        }
        self.inclusions += 1;
        if self.inclusions > MAX_INCLUSIONS {
            self.report(Diagnostic::error(
                place,
                format!("more than {MAX_INCLUSIONS} files are included"),
            ));
            self.stopped = true;
            return Ok(());
        }
        match self.find(&name, place.file) {
            Ok((path, text)) => self.read_included(path, text, place),
            Err(unreadable) => {
                self.unreadable(include, unreadable, place);
                Ok(())
            }
        }
    }

    fn read_included(&mut self, path: PathBuf, file: FileText, place: Span) -> Read {
        let FileText { text, invalid } = file;
        self.total = self.total.saturating_add(text.len());
        let name = path.display().to_string();
        let source = Source::new(name, text)
            .with_path(path)
            .asked_for("included from", place);
        let id = (self.total <= MAX_SOURCE_LEN)
            .then(|| self.sources.add_source(source).ok())
            .flatten();
        let Some(id) = id else {
            let most = MAX_SOURCE_LEN >> 20;
            self.report(Diagnostic::error(
                place,
                format!("with this file, what is included is larger than {most} MiB"),
            ));
            self.stopped = true;
            return Ok(());
        };
        if let Some(range) = invalid {
            self.report(not_utf8(id, range));
            return Ok(());
        }
        self.included.push(id);
        let outcome = self.text(id);
        self.included.pop();
        outcome
    }

    /// Looks for a file: from the working directory, then from the folder of the file that includes it.
    fn find(&mut self, path: &Path, from: FileId) -> Result<(PathBuf, FileText), Unreadable> {
        let mut candidates = vec![path.to_owned()];
        let including = self.sources.get(from).and_then(Source::path);
        if let Some(folder) = including.and_then(Path::parent)
            && path.is_relative()
            && !folder.as_os_str().is_empty()
        {
            candidates.push(folder.join(path));
        }
        let mut error = None;
        for candidate in &candidates {
            match self.files.get(candidate) {
                Ok(text) => return Ok((candidate.clone(), text)),
                Err(why) if is_absent(&why) => {}
                Err(why) => error = error.or(Some((candidate.clone(), why))),
            }
        }
        Err(match error {
            Some((path, error)) => Unreadable {
                tried: vec![path],
                error: Some(error),
            },
            None => Unreadable {
                tried: candidates,
                error: None,
            },
        })
    }

    fn unreadable(&mut self, include: Include, why: Unreadable, place: Span) {
        let tried: Vec<String> = why
            .tried
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let tried = tried.join(" and ");
        let diagnostic = match (include, why.error) {
            (Include::Optional, None) => return,
            (Include::Optional, Some(error)) => {
                Diagnostic::warning(place, format!("{tried} can't be read, so it is left out: {error}"))
            }
            (Include::Required, Some(error)) => {
                Diagnostic::error(place, format!("{tried} can't be read: {error}"))
            }
            (Include::Required, None) => Diagnostic::error(place, "there is no such file")
                .label(format!("looked for {tried}"))
                .help("a relative path starts at the working directory, or at the folder of the file that includes")
                .help("import_file leaves out a file that isn't there"),
        };
        self.report(diagnostic);
    }

    /// Reports that files nest too deep. Files that include each other are the likely reason, and shown as such.
    fn too_deep(&mut self, path: &Path, place: Span) {
        let here = self
            .find(path, place.file)
            .map_or_else(|_| path.to_owned(), |(found, _)| found);
        let Some(main) = self.included.first().and_then(|first| {
            let origin = self.sources.get(*first)?.origin()?;
            Some(origin.place.file)
        }) else {
            return;
        };
        // The chain of files, each with the place that asked for it.
        let mut chain: Vec<(PathBuf, Span)> = std::iter::once(main)
            .chain(self.included.iter().copied())
            .filter_map(|file| {
                let source = self.sources.get(file)?;
                let path = source.path().unwrap_or(Path::new(source.name()));
                let asked = source.origin().map_or(Span::NONE, |origin| origin.place);
                Some((path.to_owned(), asked))
            })
            .collect();
        chain.push((here, place));
        let identity = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let ids: Vec<PathBuf> = chain.iter().map(|(path, _)| identity(path)).collect();
        let circle = ids.iter().enumerate().find_map(|(last, id)| {
            let first = ids.iter().take(last).position(|earlier| earlier == id)?;
            Some((first, last))
        });
        let diagnostic = match circle.and_then(|(first, last)| chain.get(first..=last)) {
            Some(circle) => {
                let names: Vec<String> = circle
                    .iter()
                    .map(|(path, _)| path.display().to_string())
                    .collect();
                let (asked, name) = circle
                    .last()
                    .map_or((place, String::new()), |(path, asked)| {
                        (*asked, path.display().to_string())
                    });
                Diagnostic::error(asked, format!("{name} includes itself without end"))
                    .label(names.join(" -> "))
                    .help("remove one of the inclusions, or put the file's text between `#!ifndef NAME`, `#!define NAME` and `#!endif`")
            }
            None => Diagnostic::error(
                place,
                format!("files include each other more than {MAX_DEPTH} levels deep"),
            ),
        };
        self.report(diagnostic);
    }
}

/// Whether there is no file of that name.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
