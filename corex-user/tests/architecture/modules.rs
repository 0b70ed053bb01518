//! The modules of all crates of the workspace, and what a path in one of them leads to.

use std::collections::BTreeMap;

use super::paths::{self, Found, Path};

/// The text of each file, by its path from the top of the workspace.
pub type Files = BTreeMap<String, String>;

/// An index into [`Modules::all`].
pub type Id = usize;

/// One module: a file, or a part of one between braces.
#[derive(Debug)]
pub struct Module {
    /// The directory of its crate's `Cargo.toml`, with a slash at its end.
    pub package: String,
    /// The file that it stands in.
    pub file: String,
    /// Names of the files above it in its crate and its own; empty for a crate's root. A module
    /// between braces has its file's.
    pub names: Vec<String>,
    pub found: Found,
    parent: Option<Id>,
    children: BTreeMap<String, Id>,
}

/// What a path leads to.
#[derive(Debug)]
pub struct Led {
    /// The modules on the way, the last one too; the crate's root only where the path leads no
    /// further, or comes from another package.
    pub passed: Vec<Id>,
    pub last: Id,
    /// Whether it is something in `last`, not `last` itself.
    pub is_item: bool,
}

#[derive(Debug, Default)]
pub struct Modules {
    pub all: Vec<Module>,
    /// Libraries' roots, by the names that `use` knows them by.
    libraries: BTreeMap<String, Id>,
}

/// A `use` of a `use` of a `use`: more of them is a circle.
const MOST_REEXPORTS: usize = 16;

impl Modules {
    /// Follows `mod` declarations from the roots of all crates: libraries and programs, not tests
    /// and benches. What only tests are compiled with isn't reached.
    pub fn read(files: &Files) -> Self {
        let mut modules = Self::default();
        for (manifest, text) in files {
            let Some(package) = manifest.strip_suffix("Cargo.toml") else {
                continue;
            };
            let Some(name) = quoted(text, "name") else {
                continue;
            };
            for root in roots(text) {
                let root = format!("{package}{root}");
                if !files.contains_key(&root) {
                    continue;
                }
                let id = modules.add_file(files, package, &root, Vec::new(), None);
                if root.ends_with("/src/lib.rs") {
                    modules.libraries.insert(name.replace('-', "_"), id);
                }
            }
        }
        modules
    }

    /// What a path that stands in `from` leads to; nothing where that is outside of the workspace,
    /// or a name of the file's own.
    pub fn resolve(&self, from: Id, path: &Path) -> Option<Led> {
        let mut passed = Vec::new();
        let (last, is_item) = self.follow(from, &path.parts, &mut passed, 0)?;
        passed.retain(|id| {
            let module = &self.all[*id];
            module.parent.is_some() || module.package != self.all[from].package
        });
        if is_item && !passed.contains(&last) {
            passed.push(last);
        }
        Some(Led {
            passed,
            last,
            is_item,
        })
    }

    /// Whether the entry `name` of the folder `above` is a folder itself.
    pub fn is_folder(&self, package: &str, above: &[String], name: &str) -> bool {
        let depth = above.len() + 1;
        self.all.iter().any(|module| {
            let is_inside = module.names.len() > depth || module.file.ends_with("/mod.rs");
            is_inside
                && module.package == package
                && module.names.starts_with(above)
                && module.names.get(depth - 1).is_some_and(|own| own == name)
        })
    }

    fn add_file(
        &mut self,
        files: &Files,
        package: &str,
        file: &str,
        names: Vec<String>,
        parent: Option<Id>,
    ) -> Id {
        let found = paths::read(&files[file]);
        let place = Place {
            files,
            package,
            file,
            directory: children_directory(file, parent.is_none()),
        };
        self.add(&place, names, found, parent)
    }

    fn add(
        &mut self,
        place: &Place<'_>,
        names: Vec<String>,
        mut found: Found,
        parent: Option<Id>,
    ) -> Id {
        let id = self.all.len();
        let (declared, inline) = (
            std::mem::take(&mut found.files),
            std::mem::take(&mut found.inline),
        );
        self.all.push(Module {
            package: place.package.to_owned(),
            file: place.file.to_owned(),
            names: names.clone(),
            found,
            parent,
            children: BTreeMap::new(),
        });
        for name in declared {
            let base = format!("{}{name}", place.directory);
            let file = [format!("{base}.rs"), format!("{base}/mod.rs")]
                .into_iter()
                .find(|file| place.files.contains_key(file));
            let Some(file) = file else { continue };
            let names = [names.as_slice(), std::slice::from_ref(&name)].concat();
            let child = self.add_file(place.files, place.package, &file, names, Some(id));
            self.all[id].children.insert(name, child);
        }
        for (name, inner) in inline {
            let child = self.add(place, names.clone(), inner, Some(id));
            self.all[id].children.insert(name, child);
        }
        id
    }

    /// The module at the end of the path, and whether the path names something in it.
    fn follow(
        &self,
        from: Id,
        parts: &[String],
        passed: &mut Vec<Id>,
        reexports: usize,
    ) -> Option<(Id, bool)> {
        let (first, rest) = parts.split_first()?;
        let mut at = match first.as_str() {
            "crate" => self.root(from),
            "self" => from,
            "super" => self.all[from].parent?,
            name => match self.named(from, name, passed, reexports) {
                Some((module, false)) => module,
                Some(item) => return Some(item),
                None => *self.libraries.get(name)?,
            },
        };
        passed.push(at);
        for part in rest {
            at = if part == "super" {
                self.all[at].parent?
            } else {
                match self.named(at, part, passed, reexports) {
                    Some((module, false)) => module,
                    Some(item) => return Some(item),
                    None => return Some((at, true)),
                }
            };
            passed.push(at);
        }
        Some((at, false))
    }

    /// What a module's child or `use` of this name is.
    fn named(
        &self,
        module: Id,
        name: &str,
        passed: &mut Vec<Id>,
        reexports: usize,
    ) -> Option<(Id, bool)> {
        if let Some(child) = self.all[module].children.get(name) {
            return Some((*child, false));
        }
        let uses = &self.all[module].found.uses;
        let brought = uses.iter().find(|brought| brought.name == name)?;
        if reexports == MOST_REEXPORTS {
            return None;
        }
        self.follow(module, &brought.path.parts, passed, reexports + 1)
    }

    fn root(&self, mut module: Id) -> Id {
        while let Some(parent) = self.all[module].parent {
            module = parent;
        }
        module
    }
}

struct Place<'f> {
    files: &'f Files,
    package: &'f str,
    file: &'f str,
    /// Where the files of modules that `file` declares are.
    directory: String,
}

/// `src/io/` for `src/io/mod.rs` and for `src/io.rs`.
fn children_directory(file: &str, is_root: bool) -> String {
    let (directory, name) = file.rsplit_once('/').unwrap_or(("", file));
    let name = name.strip_suffix(".rs").unwrap_or(name);
    if is_root || name == "mod" {
        format!("{directory}/")
    } else {
        format!("{directory}/{name}/")
    }
}

/// The files that a crate's targets begin with.
fn roots(manifest: &str) -> Vec<String> {
    let mut roots = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
    let paths = manifest.lines().filter_map(|line| quoted(line, "path"));
    roots
        .extend(paths.filter(|path| path.starts_with("src/") || path.starts_with("fuzz_targets/")));
    roots.sort();
    roots.dedup();
    roots
}

/// The first `key = "value"` at a line's begin.
fn quoted(manifest: &str, key: &str) -> Option<String> {
    manifest.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
        let value = value.trim().strip_prefix('"')?;
        Some(value.split('"').next()?.to_owned())
    })
}
