//! Manual pages: the commands' from clap, corex.cfg(5) from the catalogue.

use std::{fs, io, path::Path};

use clap::Command;
use corex_user::catalogue::{self, Chapter};
use roff::{Inline, Roff, bold, italic, roman};

/// Writes corex.1 and a page for each subcommand into the subfolder man1, and corex.cfg.5 into man5.
///
/// # Errors
/// A page can't be written.
pub fn write(command: Command, folder: &Path) -> io::Result<()> {
    let commands = folder.join("man1");
    let formats = folder.join("man5");
    fs::create_dir_all(&commands)?;
    fs::create_dir_all(&formats)?;
    clap_mangen::generate_to(command, &commands)?;
    let mut page = Vec::new();
    configuration().to_writer(&mut page)?;
    fs::write(formats.join("corex.cfg.5"), page)
}

/// corex.cfg(5).
fn configuration() -> Roff {
    let mut page = Roff::new();
    page.control(
        "TH",
        [
            "COREX.CFG",
            "5",
            "",
            concat!("corex ", env!("CARGO_PKG_VERSION")),
            "File Formats",
        ],
    );
    // Names are long: lines that end where they must, rather than gaps in them.
    page.control("ad", ["l"]);
    page.control("SH", ["NAME"]);
    page.text([roman(
        "corex.cfg - configuration of corex, in the language of Kamailio",
    )]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "A configuration sets parameters, loads modules, and has routes that run for messages. \
         Each instance of the service corex@NAME reads /etc/corex/NAME.cfg.",
    )]);
    page.control("PP", []);
    page.text([
        roman("What follows is everything that a configuration can use beyond the syntax of "),
        italic("kamailio.cfg"),
        roman("; where something differs from Kamailio 5.6, it is said. "),
        bold("corex check"),
        roman(" names what is wrong with a configuration, with its place and a remedy."),
    ]);
    for (chapter, title) in [
        (Chapter::Modules, "MODULES"),
        (Chapter::Parameters, "PARAMETERS"),
        (Chapter::Routes, "ROUTES"),
        (Chapter::Functions, "FUNCTIONS"),
        (Chapter::Variables, "PSEUDO-VARIABLES"),
        (Chapter::Transformations, "TRANSFORMATIONS"),
        (Chapter::Absent, "FUNCTIONS OF KAMAILIO THAT AREN'T HERE"),
    ] {
        page.control("SH", [title]);
        let mut module = "";
        for entry in catalogue::entries(chapter) {
            if chapter.is_by_module() && entry.module != module {
                module = entry.module;
                page.control("SS", [module]);
            }
            page.control("TP", []);
            page.text([bold(entry.form)]);
            page.text(paragraph(entry.doc, entry.differs));
        }
    }
    page.control("SH", ["FILES"]);
    page.control("TP", []);
    page.text([italic("/etc/corex/NAME.cfg")]);
    page.text([roman("the configuration of the service corex@NAME")]);
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("corex"),
        roman("(1), "),
        bold("corex-check"),
        roman("(1), "),
        bold("corex-list"),
        roman("(1)"),
    ]);
    page
}

fn paragraph(doc: &str, differs: Option<&str>) -> Vec<Inline> {
    let mut words = vec![roman(doc.replace('\n', " "))];
    if let Some(differs) = differs {
        words.push(italic(" Differs from Kamailio: "));
        words.push(roman(differs.replace('\n', " ")));
    }
    words
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn each_command_and_the_configuration_have_a_page() {
        let folder = std::env::temp_dir().join(format!("corex-manual-{}", std::process::id()));
        write(Cli::command(), &folder).expect("pages");
        let page = |name: &str| fs::read_to_string(folder.join(name)).expect(name);
        assert!(page("man1/corex.1").contains("Exit status"));
        assert!(page("man1/corex-run.1").contains("take\\-over"));
        assert!(page("man1/corex-dictionary-train.1").contains("Captures"));
        assert!(!folder.join("man1/corex-help.1").exists());
        let configuration = page("man5/corex.cfg.5");
        for name in ["min_msg_len", "send_tcp", "$mb"] {
            assert!(configuration.contains(name), "{name}");
        }
        fs::remove_dir_all(&folder).expect("clean up");
    }
}
