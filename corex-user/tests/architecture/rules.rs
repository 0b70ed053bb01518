//! What is compared: the imports with the table, and the imports with each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    document::{DOCUMENT, Room},
    graph,
    modules::{Id, Led, Module, Modules},
};

/// How many files that draw an arrow a message names.
const MOST_FILES: usize = 4;

/// By their ends: where in the source arrows are drawn.
type Arrows = BTreeMap<(String, String), Vec<Place>>;

/// A path in the source.
struct Place {
    file: String,
    line: usize,
    path: String,
}

/// The rooms' arrows must be those of the table.
pub fn known(modules: &Modules, rooms: &[Room]) -> Vec<String> {
    let arrows = arrows_of_rooms(modules, rooms);
    let mut faults = Vec::new();
    for ((from, to), places) in &arrows {
        let is_known = rooms
            .iter()
            .any(|room| room.name == *from && room.knows.contains(to));
        if !is_known {
            faults.push(format!(
                "{from} -> {to}, but {DOCUMENT} doesn't say that {from} knows {to}:\n{}\
                 \x20 Move what is needed to a room that both may know, or have it passed in. Only \
                 if the arrow points down: add {to} to what {from} knows.",
                listed(places)
            ));
        }
    }
    for room in rooms {
        for name in &room.knows {
            let at = format!("{DOCUMENT}:{}", room.line);
            if rooms.iter().all(|other| other.name != *name) {
                faults.push(format!(
                    "{at}: {} knows {name}, which is no room",
                    room.name
                ));
            } else if !arrows.contains_key(&(room.name.clone(), name.clone())) {
                faults.push(format!(
                    "{at}: {} knows {name}, but imports nothing from it: take {name} out",
                    room.name
                ));
            }
        }
    }
    faults
}

/// What the table says must be possible: no circle, no name twice.
pub fn table(rooms: &[Room]) -> Vec<String> {
    let mut faults = Vec::new();
    for room in rooms {
        if rooms.iter().filter(|other| other.name == room.name).count() > 1 {
            faults.push(format!(
                "{DOCUMENT}:{}: another room is called {}, too",
                room.line, room.name
            ));
        }
    }
    let knows = rooms.iter().flat_map(|room| {
        room.knows
            .iter()
            .map(|name| (room.name.as_str(), name.as_str()))
    });
    for circle in graph::circles(&knows.collect()) {
        faults.push(format!(
            "{DOCUMENT}: rooms know each other in a circle: {}. One of the arrows must go.",
            circle.join(" -> ")
        ));
    }
    faults
}

/// Each folder has a row, and each row a folder.
pub fn rows(modules: &Modules, rooms: &[Room]) -> Vec<String> {
    let files: BTreeSet<&str> = modules
        .all
        .iter()
        .map(|module| module.file.as_str())
        .collect();
    let missing: BTreeSet<&str> = files
        .iter()
        .filter(|file| has_no_row(rooms, file))
        .map(|file| file.rsplit_once('/').map_or(*file, |(folder, _)| folder))
        .collect();
    let mut faults: Vec<String> = missing
        .iter()
        .map(|folder| format!("{folder}/ has no row in the table of {DOCUMENT}: write one"))
        .collect();
    for room in rooms {
        if !files.iter().any(|file| room.contains(file)) {
            faults.push(format!(
                "{DOCUMENT}:{}: {} has no source that is compiled: take the row out, or correct it",
                room.line, room.path
            ));
        }
    }
    faults
}

/// Whether a file is in no room; or in one that has rooms inside, and in a folder that is none of
/// these.
fn has_no_row(rooms: &[Room], file: &str) -> bool {
    let Some(inner) = rooms_of(rooms, file).pop() else {
        return true;
    };
    let is_divided = rooms
        .iter()
        .any(|other| other.path != inner.path && other.path.starts_with(&inner.path));
    let inside = file[inner.path.len().min(file.len())..].trim_start_matches("src/");
    is_divided && inside.contains('/')
}

/// No circle goes through a folder. In each folder, its files and the folders in it are the ends
/// of arrows; a folder is one end with all that is below it.
pub fn folders(modules: &Modules) -> Vec<String> {
    let mut folders: BTreeMap<String, Arrows> = BTreeMap::new();
    for from in 0..modules.all.len() {
        for import in imports(modules, from) {
            if let Some((folder, ends)) = ends(modules, from, &import) {
                let arrows = folders.entry(folder).or_default();
                arrows.entry(ends).or_default().push(import.place);
            }
        }
    }
    let mut faults = Vec::new();
    for (folder, arrows) in folders {
        let pairs = arrows.keys().map(|(from, to)| (from.as_str(), to.as_str()));
        for circle in graph::circles(&pairs.collect()) {
            if circle.iter().all(|end| !end.ends_with('/')) {
                continue;
            }
            let mut fault = format!("a circle in {folder}:\n");
            for step in circle.windows(2) {
                let places = &arrows[&(step[0].to_owned(), step[1].to_owned())];
                fault += &format!("  {} -> {}\n{}", step[0], step[1], listed(places));
            }
            fault +=
                "  Turn one arrow round: move what both need to a file of its own, or pass it in.";
            faults.push(fault);
        }
    }
    faults
}

/// `unsafe` stands in the given places, and in each of them.
pub fn unsafes(modules: &Modules, places: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut unused: BTreeSet<&String> = places.iter().collect();
    for module in &modules.all {
        let Some(line) = module.found.unsafe_lines.first() else {
            continue;
        };
        match places.iter().find(|place| module.file.starts_with(*place)) {
            Some(place) => {
                unused.remove(place);
            }
            None => faults.push(format!(
                "{}:{line}: `unsafe` outside of {}: use a safe crate's function, or move it to \
                 one of these",
                module.file,
                places.join(", ")
            )),
        }
    }
    faults.extend(unused.iter().map(|place| {
        format!("{DOCUMENT}: no `unsafe` is left in {place}: take it out of the sentence")
    }));
    faults
}

struct Import {
    place: Place,
    led: Led,
    /// Whether it only goes on to others.
    reexport: bool,
}

/// All that a module's `use` declarations and paths lead to, within the workspace.
fn imports(modules: &Modules, from: Id) -> Vec<Import> {
    let module = &modules.all[from];
    let declared = module.found.uses.iter().map(|brought| {
        let reexport = brought.public && !module.found.words.contains(&brought.name);
        (&brought.path, reexport)
    });
    let written = module.found.paths.iter().map(|path| (path, false));
    let imports = declared.chain(written).filter_map(|(path, reexport)| {
        let led = modules.resolve(from, path)?;
        let place = Place {
            file: module.file.clone(),
            line: path.line,
            path: path.parts.join("::"),
        };
        Some(Import {
            place,
            led,
            reexport,
        })
    });
    imports.collect()
}

fn arrows_of_rooms(modules: &Modules, rooms: &[Room]) -> Arrows {
    let mut arrows = Arrows::new();
    for from in 0..modules.all.len() {
        let file = &modules.all[from].file;
        for import in imports(modules, from) {
            let mut passed = import.led.passed.iter();
            let ends = passed.find_map(|id| between(rooms, file, &modules.all[*id].file));
            if let Some((from, to)) = ends {
                let ends = (from.name.clone(), to.name.clone());
                arrows.entry(ends).or_default().push(import.place);
            }
        }
    }
    arrows
}

/// The folder in which an import is an arrow, and the arrow's ends there: names of files, or of
/// folders with a slash behind. Nothing where both ends are the same, or in different crates.
fn ends(modules: &Modules, from: Id, import: &Import) -> Option<(String, (String, String))> {
    let (source, target) = (&modules.all[from], &modules.all[import.led.last]);
    if source.package != target.package || import.reexport {
        return None;
    }
    // To name a folder that one is in is no import: what is named in it is.
    if !import.led.is_item && source.names.starts_with(&target.names) {
        return None;
    }
    let common = source
        .names
        .iter()
        .zip(&target.names)
        .take_while(|(a, b)| a == b)
        .count();
    let above = &source.names[..common];
    let end = |module: &Module| match module.names.get(common) {
        Some(name) if modules.is_folder(&module.package, above, name) => format!("{name}/"),
        Some(name) => format!("{name}.rs"),
        None => module
            .file
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    let folder = format!(
        "{}src/{}",
        source.package,
        above
            .iter()
            .map(|name| format!("{name}/"))
            .collect::<String>()
    );
    let ends = (end(source), end(target));
    (ends.0 != ends.1).then_some((folder, ends))
}

/// The rooms that a file is in, the outermost first.
fn rooms_of<'r>(rooms: &'r [Room], file: &str) -> Vec<&'r Room> {
    let mut around: Vec<&Room> = rooms.iter().filter(|room| room.contains(file)).collect();
    around.sort_by_key(|room| room.path.len());
    around
}

/// The rooms between which an arrow from a file to another one is drawn: the outermost that only
/// one of them is in. What an outer room knows is known inside of it, and a file that is in no
/// inner room may know them all.
fn between<'r>(rooms: &'r [Room], from: &str, to: &str) -> Option<(&'r Room, &'r Room)> {
    let (from, to) = (rooms_of(rooms, from), rooms_of(rooms, to));
    let mut pairs = from.into_iter().zip(to);
    pairs.find(|(from, to)| from.path != to.path)
}

/// One line for each file, up to a number of them.
fn listed(places: &[Place]) -> String {
    let files: BTreeMap<&str, &Place> = places
        .iter()
        .rev()
        .map(|place| (place.file.as_str(), place))
        .collect();
    let shown = files.values().take(MOST_FILES);
    let mut list: String = shown
        .map(|place| format!("    {}:{}: {}\n", place.file, place.line, place.path))
        .collect();
    if files.len() > MOST_FILES {
        list += &format!("    and in {} other files\n", files.len() - MOST_FILES);
    }
    list
}
