//! The functions that scripts can call and the parameters that configure them, by module, as in
//! Kamailio. The checker, the interpreter and the documentation all go by the tables here.

mod app_lua;
mod app_perl;
mod codec;
mod core;
mod corex;
mod ctl;
mod destination;
mod htable;
mod jsonrpcs;
mod loops;
mod maxfwd;
mod permissions;
mod pike;
mod pv;
mod ratelimit;
mod sanity;
mod secfilter;
mod siptrace;
mod siputils;
mod sl;
mod textops;
mod xlog;

#[cfg(test)]
mod tests;

use corex_script::function::Modules;

/// All modules.
pub static MODULES: Modules = Modules::new(&[
    &core::MODULE,
    &corex::MODULE,
    &xlog::MODULE,
    &pv::MODULE,
    &sl::MODULE,
    &textops::MODULE,
    &siputils::MODULE,
    &maxfwd::MODULE,
    &htable::MODULE,
    &codec::MODULE,
    &siptrace::MODULE,
    &permissions::MODULE,
    &ratelimit::MODULE,
    &secfilter::MODULE,
    &pike::MODULE,
    &sanity::MODULE,
    &ctl::MODULE,
    &jsonrpcs::MODULE,
    &app_lua::MODULE,
    &app_perl::MODULE,
]);

/// What xlog() makes of bytes.
#[cfg(test)]
pub(crate) fn xlog_line(bytes: &[u8]) -> String {
    crate::telemetry::line::Line(bytes).to_string()
}
