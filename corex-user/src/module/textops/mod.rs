//! The module `textops`: text of the message, searched and changed. The message itself stays as
//! it is: changes are made when it leaves by forward(), by Via or as a reply of our own.

mod body;
mod compare;
mod header;
mod search;

use corex_script::function::{Effect, Function, Module, Param, ParamKind, Routes, function, value};

pub(super) static MODULE: Module = Module {
    name: "textops",
    doc: "Text operations on headers and body, made when the message leaves.",
    functions: FUNCTIONS,
    parameters: &[],
    effects: &[("is_method", Effect::IsMethod)],
    ..Module::NONE
};

const SIP: Routes = Routes::REQUEST.or(Routes::REPLY);
const REGEX: Param = Param {
    name: "regex",
    kind: ParamKind::Lines,
};
const SUBST: Param = Param {
    name: "/regex/replacement/flags",
    kind: ParamKind::Substitution,
};
const TEXT: Param = value("text");
const NAME: Param = value("header");

#[rustfmt::skip]
const FUNCTIONS: &[Function] = &[
    function("search", &[&[REGEX]], SIP, search::search, "Whether headers or body match a regular expression, in any case; ^ and $ are a line's ends."),
    function("search_body", &[&[REGEX]], SIP, search::search_body, "The same in the body alone."),
    function("search_append", &[&[REGEX, TEXT]], SIP, search::search_append, "Puts text behind the first match in headers and body."),
    function("search_append_body", &[&[REGEX, TEXT]], SIP, search::search_append_body, "The same in the body alone."),
    function("replace", &[&[REGEX, TEXT]], SIP, search::replace, "Replaces the first match in headers and body."),
    function("replace_all", &[&[REGEX, TEXT]], SIP, search::replace_all, "Replaces every match in headers and body."),
    function("replace_body", &[&[REGEX, TEXT]], SIP, search::replace_body, "Replaces the first match in the body."),
    function("replace_body_all", &[&[REGEX, TEXT]], SIP, search::replace_body_all, "Replaces every match in the body."),
    function("subst", &[&[SUBST]], SIP, search::subst, "Replaces in headers and body: flags are i (any case), g (every match), s (the whole as one line); \\1 to \\9 and pseudo-variables stand for themselves in the replacement."),
    function("subst_body", &[&[SUBST]], SIP, search::subst_body, "The same in the body alone."),
    function("subst_hf", &[&[NAME, SUBST, value("f|l|a")]], SIP, search::subst_header, "The same in the value of the first header of a name (f), the last (l) or all (a)."),
    function("subst_uri", &[&[SUBST]], Routes::REQUEST, search::subst_uri, "The same in the request URI."),
    function("subst_user", &[&[SUBST]], Routes::REQUEST, search::subst_user, "The same in the request URI's user."),
    function("append_hf", &[&[TEXT], &[TEXT, NAME]], SIP, header::append, "Adds header lines behind all others, or behind the first header of a name."),
    function("insert_hf", &[&[TEXT], &[TEXT, NAME]], SIP, header::insert, "Adds header lines in front of all others, or in front of the first header of a name."),
    function("append_to_reply", &[&[TEXT]], Routes::REQUEST, header::append_to_reply, "Adds header lines to our own reply."),
    function("remove_hf", &[&[NAME]], SIP, header::remove, "Removes every header of a name. False if there is none."),
    function("remove_hf_re", &[&[REGEX]], SIP, header::remove_matching, "Removes every header whose name matches a regular expression. False if there is none."),
    function("is_present_hf", &[&[NAME]], SIP, header::is_present, "Whether there is a header of a name, in its full or its compact form."),
    function("is_present_hf_re", &[&[REGEX]], SIP, header::is_present_matching, "Whether there is a header whose name matches a regular expression."),
    function("append_time", &[&[]], SIP, header::append_time, "Adds a Date header to our own reply."),
    function("has_body", &[&[], &[value("type")]], SIP, body::has, "Whether there is a body, of a media type."),
    function("set_body", &[&[TEXT, value("type")]], SIP, body::set, "Replaces the body and its media type."),
    function("remove_body", &[&[]], SIP, body::remove, "Takes the body away, and its media type."),
    function("is_method", &[&[value("METHOD|…")]], SIP, compare::is_method, "Whether the message's method, or the one in a reply's CSeq, is among those."),
    function("cmp_str", &[&[value("a"), value("b")]], Routes::ANY, compare::equal, "Whether two strings are equal."),
    function("cmp_istr", &[&[value("a"), value("b")]], Routes::ANY, compare::equal_ignoring_case, "Whether two strings are equal but for case."),
    function("starts_with", &[&[TEXT, value("start")]], Routes::ANY, compare::starts_with, "Whether a string starts with another."),
    function("in_list", &[&[TEXT, value("list"), value("separator")]], Routes::ANY, compare::in_list, "Whether a string is an element of a list."),
];
