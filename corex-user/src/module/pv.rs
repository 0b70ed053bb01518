//! The module `pv`: in Kamailio it brings the pseudo-variables, which are always there here.

use super::Module;

pub(super) static MODULE: Module = Module {
    name: "pv",
    doc: "Pseudo-variables. They are built in: the module can be loaded and needn't be.",
    functions: &[],
    parameters: &[],
};
