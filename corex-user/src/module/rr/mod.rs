//! The module `rr`: Record-Route and loose routing (RFC 3261 §16.4, §16.6, §16.12).

mod direction;
mod loose;
mod record;
mod route;

use corex_script::function::{
    self, Function, Handler, Module, Param, ParamKind, Parameter, ParameterKind, Routes, value,
};
use corex_script::settings::DoubleRecordRoute;

pub(super) static MODULE: Module = Module {
    name: "rr",
    doc: "Record-Route and loose routing: dialogs stay on the way that they began on.",
    functions: FUNCTIONS,
    parameters: PARAMETERS,
    ..Module::NONE
};

const REGEX: Param = Param {
    name: "regex",
    kind: ParamKind::Lines,
};

const DIRECTION: Param = Param {
    name: "direction",
    kind: ParamKind::Checked(direction::check),
};

const fn function(
    name: &'static str,
    forms: &'static [&'static [Param]],
    handler: Handler,
    doc: &'static str,
) -> Function {
    function::function(name, forms, Routes::REQUEST, handler, doc)
}

#[rustfmt::skip]
const FUNCTIONS: &[Function] = &[
    function("record_route", &[&[], &[value("parameters")]], record::record, "Has forward() put a Record-Route with our address on top of the request, with parameters (each begins with a semicolon); and a second one with the socket that the request came by, where it leaves by another. Once for each request."),
    function("record_route_preset", &[&[value("host")], &[value("host"), value("second")]], record::preset, "The same with a host:port of the script's, which may have parameters behind it; and with a second one below."),
    function("record_route_advertised_address", &[&[value("host")]], record::advertised, "The same with a host:port of the script's; transport and r2=on are added, and there are two, where the request leaves by another transport."),
    function("add_rr_param", &[&[value("parameters")]], record::add_parameters, "Adds parameters to Record-Route, whether it is there already or is yet to come: at most 512 bytes."),
    function("remove_record_route", &[&[]], record::remove, "Takes back what record_route() and its kind did. They can't be called again."),
    function("loose_route", &[&[]], loose::route, "Routes a request by its Route: takes ours off the top, sets $du to the next one, or to nothing where there is none, and $fs to the socket that the second of two of ours names. A strict router behind gets what it wants in the request URI, what one in front of us took there is put back. 1: the request goes on by what is set. -1: there is no Route that can be used. -3: ours was the only Route of a request outside of a dialog (a preloaded one)."),
    function("loose_route_mode", &[&[value("mode")]], loose::route_mode, "The same; mode 1 does nothing for strict routers in front of us."),
    function("loose_route_preloaded", &[&[]], loose::route_preloaded, "The same, and true for what loose_route() returns -3 for, and for nothing else."),
    function("rr_next_hop_route", &[&[]], loose::has_next_hop, "Whether loose_route() found another Route behind ours."),
    function("check_route_param", &[&[REGEX]], direction::check_parameters, "Whether the parameters of our Route match a regular expression. They begin with a semicolon."),
    function("is_direction", &[&[DIRECTION]], direction::is_direction, "Whether a request goes downstream, as the one that began its dialog, or upstream. Needs append_fromtag."),
];

/// An integer that is 0 or something else.
const fn switch(
    name: &'static str,
    set: fn(&mut corex_script::settings::Settings, i64),
    doc: &'static str,
) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 1,
            set,
        },
        doc,
    }
}

#[rustfmt::skip]
const PARAMETERS: &[Parameter] = &[
    switch("append_fromtag", |settings, on| settings.record_route.append_fromtag = on != 0, "Whether Record-Route has the From tag, as ftag; is_direction(), $rdir, $fti and $tti go by it. Default: 1."),
    Parameter {
        name: "enable_double_rr",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 2,
            set: |settings, value| settings.record_route.double = match value {
                0 => DoubleRecordRoute::Off,
                1 => DoubleRecordRoute::IfDifferent,
                _ => DoubleRecordRoute::Always,
            },
        },
        doc: "1: two Record-Routes, one for each side, where the request leaves by another socket, address or transport than it came by. 2: always. 0: one. Default: 1.",
    },
    switch("enable_full_lr", |settings, on| settings.record_route.full_lr = on != 0, "Whether Record-Route has lr=on instead of lr, for user agents that can't read the latter. Default: 0."),
    switch("add_username", |settings, on| settings.record_route.add_username = on != 0, "Whether Record-Route has the user of the request URI. Default: 0."),
    switch("force_send_socket", |settings, on| settings.record_route.force_send_socket = on != 0, "Whether loose_route() sets $fs by a single Route of ours; by the second one of two it does in any case. Default: 0."),
    switch("ignore_sips", |settings, on| settings.record_route.ignore_sips = on != 0, "Whether Record-Route has sip: where the request URI has sips:, too. Default: 0."),
    switch("sockname_mode", |settings, on| settings.record_route.socket_names = on != 0, "Whether Record-Route has the name of the listen line, as sn, and loose_route() goes by it. Default: 0."),
    Parameter {
        name: "loose_route_mode",
        aliases: &[],
        kind: ParameterKind::Int {
            min: 0,
            max: 3,
            set: |settings, value| settings.record_route.loose_only = value & 1 != 0,
        },
        doc: "What loose_route() does, as loose_route_mode(). Default: 0.",
    },
    Parameter {
        name: "enable_socket_mismatch_warning",
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: "Whether a second Route that names no socket is logged; here it isn't.",
    },
];
