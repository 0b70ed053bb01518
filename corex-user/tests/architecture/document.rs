//! What docs/architecture.md says: the table of rooms, and where `unsafe` may stand.

/// Its path from the top of the workspace.
pub const DOCUMENT: &str = "docs/architecture.md";

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Room {
    /// From the top of the workspace: a folder with a slash at its end, a file, or `*.rs` in a
    /// folder for the files directly in it.
    pub path: String,
    /// The path's last part that says something: `io` for `corex-user/src/io/`.
    pub name: String,
    /// Names of rooms.
    pub knows: Vec<String>,
    /// The row's line in the document.
    pub line: usize,
}

impl Room {
    /// Whether a file is in this room or in one inside of it.
    pub fn contains(&self, file: &str) -> bool {
        match self.path.strip_suffix("*.rs") {
            Some(folder) => file
                .strip_prefix(folder)
                .is_some_and(|name| !name.contains('/')),
            None => file.starts_with(&self.path),
        }
    }
}

/// Begins the table.
const HEADING: &str = "| Room | Its one job | Knows |";

/// Begins the sentence that names the places of `unsafe`.
const UNSAFE: &str = "`unsafe` stands in ";

/// The rows of the table of rooms, or what is wrong with it.
pub fn rooms(document: &str) -> Result<Vec<Room>, String> {
    let lines = || document.lines().enumerate();
    let Some((heading, _)) = lines().find(|(_, line)| *line == HEADING) else {
        return Err(format!("{DOCUMENT}: no table begins with `{HEADING}`"));
    };
    let rows = lines()
        .skip(heading + 2)
        .take_while(|(_, line)| line.starts_with('|'));
    rows.map(|(at, row)| {
        room(row, at + 1).ok_or(format!(
            "{DOCUMENT}:{}: a row has three cells: a path in backticks, a job, and names of rooms \
             with commas between them, or `nothing`",
            at + 1
        ))
    })
    .collect()
}

/// The paths in backticks in the sentence about `unsafe`, which may go on over some lines.
pub fn places_of_unsafe(document: &str) -> Vec<String> {
    let Some(at) = document.find(UNSAFE) else {
        return Vec::new();
    };
    let sentence = &document[at + UNSAFE.len()..];
    let sentence = sentence.split("\n\n").next().unwrap_or_default();
    let quoted = sentence.split('`').skip(1).step_by(2);
    quoted
        .filter(|text| text.contains('/'))
        .map(str::to_owned)
        .collect()
}

fn room(row: &str, line: usize) -> Option<Room> {
    let mut cells = row.strip_prefix('|')?.strip_suffix('|')?.split('|');
    let path = cells.next()?.trim().strip_prefix('`')?.strip_suffix('`')?;
    let _job = cells.next()?;
    let knows = cells.next()?.trim();
    if cells.next().is_some() || knows.is_empty() {
        return None;
    }
    let knows = match knows {
        "nothing" => Vec::new(),
        names => names.split(", ").map(str::to_owned).collect(),
    };
    Some(Room {
        path: path.to_owned(),
        name: name(path)?,
        knows,
        line,
    })
}

/// The files directly in `corex-user/src/` are the program corex.
fn name(path: &str) -> Option<String> {
    if path == "corex-user/src/*.rs" {
        return Some("corex".to_owned());
    }
    let path = path.strip_suffix('/').or(path.strip_suffix(".rs"))?;
    let mut parts = path.rsplit('/').filter(|part| *part != "src");
    parts.next().map(str::to_owned)
}
