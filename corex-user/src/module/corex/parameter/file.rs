//! What file_read() and file_write() may do.

use corex_script::function::{Parameter, ParameterKind, absolute};

pub(super) const FILE_ROOT: Parameter = Parameter {
    name: "file_root",
    aliases: &[],
    kind: ParameterKind::Text {
        set: |settings, text| {
            settings.corex.file_roots.push(absolute(text)?);
            Ok(())
        },
        help: "write a directory, as in \"/var/lib/corex\"",
    },
    doc: "A directory that file_read() and file_write() may use, with all that is below it; \
          file_write() not where the configuration, its scripts, or files that it names \
          lie, nor below such a place. May be set many times. Default: to read, the \
          configuration's directory and the one for temporary files; to write, a directory \
          that corex makes for itself: $STATE_DIRECTORY, else /var/lib/corex/INSTANCE, else \
          corex-UID-INSTANCE in the one for temporary files.",
};

pub(super) const FILE_MAX_SIZE: Parameter = Parameter {
    name: "file_max_size",
    aliases: &[],
    kind: ParameterKind::Int {
        min: 1,
        max: 1 << 20,
        set: |settings, value| settings.corex.file_max_size = value as u32,
    },
    doc: "The most bytes of a file that file_read() and file_write() take. Default: 65535.",
};
