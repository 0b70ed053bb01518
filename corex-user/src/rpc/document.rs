//! The table of commands as text: `docs/rpc.md`, the table in README.md, and what
//! `corex list commands` shows.

use std::fmt::Write as _;

use super::command::{Answer, CommandTable, Kind, ParamDef, RpcCommand};

/// The group whose commands readers can't know from Kamailio.
const OWN: &str = "corex";

const INTRODUCTION: &str = "\
# Commands of remote control

Everything that a running corex can be asked, made from the table that serves it
(`corex list commands --markdown` prints this document). `corex rpc`, `kamcmd` and JSON-RPC reach
the same commands: `corex rpc cfg.seti corex min_msg_len 40`. A parameter in brackets may be left
out, with all that follow it. The types are those that `system.methodSignature` names; a list
is an array in JSON, also when it has one entry or none.

";

/// All commands as a document.
pub fn markdown(table: CommandTable) -> String {
    let mut text = INTRODUCTION.to_owned() + &overview(table);
    for group in table.0 {
        // Writing to a String can't fail.
        let _ = writeln!(text, "\n## {}\n\n{}", group.name, group.doc);
        for command in group.commands {
            let _ = write!(
                text,
                "\n**`{}`**  \n{}\n{}*Answers:* {}.\n",
                form(command),
                command.doc.join("  \n"),
                takes(command.params),
                answers(command.result)
            );
        }
    }
    text
}

/// A table of the commands that only corex has, and of the groups of the others.
fn overview(table: CommandTable) -> String {
    let mut text = "| Command | |\n|---|---|\n".to_owned();
    let (own, others): (Vec<_>, Vec<_>) = table.0.iter().partition(|group| group.name == OWN);
    let own = own.iter().flat_map(|group| group.commands);
    let own = own.map(|command| {
        (
            form(command),
            command.doc.first().copied().unwrap_or_default(),
        )
    });
    let others = others
        .iter()
        .map(|group| (format!("{}.*", group.name), group.doc));
    for (form, doc) in own.chain(others) {
        // Writing to a String can't fail.
        let _ = writeln!(text, "| `{form}` | {doc} |");
    }
    text
}

/// A command with its parameters, as in `cfg.get group [name]`.
pub fn form(command: &RpcCommand) -> String {
    let mut form = command.name.to_owned();
    for param in command.params {
        form.push(' ');
        form.push_str(&match param.optional {
            false => param.name.to_owned(),
            true => format!("[{}]", param.name),
        });
    }
    form
}

fn takes(params: &[ParamDef]) -> String {
    let kinds: Vec<String> = params
        .iter()
        .map(|param| format!("`{}` {}", param.name, param.kind.name()))
        .collect();
    match kinds.as_slice() {
        [] => "\n".to_owned(),
        kinds => format!("\n*Takes:* {}.  \n", kinds.join(", ")),
    }
}

fn answers(answer: Answer) -> String {
    match answer {
        Answer::Nothing => "nothing".to_owned(),
        Answer::One(Kind::Any) => "a value of any type".to_owned(),
        Answer::One(kind) => kind.name().to_owned(),
        Answer::Many(Kind::Any) => "a list".to_owned(),
        Answer::Many(kind) => format!("a list of {}s", kind.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::commands;

    fn file(name: &str) -> String {
        let path = format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn the_document_is_what_the_table_says() {
        assert!(
            file("docs/rpc.md") == markdown(commands::ALL),
            "docs/rpc.md isn't what the table says: \
             run `cargo run --bin corex list commands --markdown > docs/rpc.md`"
        );
    }

    #[test]
    fn the_readme_has_the_table_that_the_document_begins_with() {
        let readme = file("README.md");
        let part = readme
            .split_once("<!-- commands: from docs/rpc.md -->\n\n")
            .and_then(|(_, rest)| rest.split_once("\n<!-- end of commands -->\n"));
        let table = part.map(|(table, _)| table);
        assert!(
            table == Some(&overview(commands::ALL)),
            "README.md's table of commands isn't the one that docs/rpc.md begins with: copy it"
        );
    }

    #[test]
    fn parameters_stand_in_their_order_and_those_that_may_lack_in_brackets() {
        let form = |name| commands::ALL.find(name).map(form).unwrap();
        assert_eq!(form("core.version"), "core.version");
        assert_eq!(form("cfg.get"), "cfg.get group [name]");
        assert_eq!(
            form("corex.trace"),
            "corex.trace [filter] [count] [seconds]"
        );
    }

    #[test]
    fn markdown_takes_every_text_as_it_is() {
        for group in commands::ALL.0 {
            let docs = group.commands.iter().flat_map(|command| command.doc);
            for doc in docs.chain([&group.doc]) {
                let outside_of_code: String = doc.split('`').step_by(2).collect();
                // An underscore within a word is no mark.
                let marks = ['\\', '*', '<', '>', '[', ']', '#', '|'];
                assert!(!outside_of_code.contains(marks), "{doc}");
                assert!(!doc.contains('|'), "it ends a cell: {doc}");
            }
        }
    }
}
