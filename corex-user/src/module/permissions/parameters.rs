//! What `modparam("permissions", …)` sets.

use std::time::Duration;

use corex_script::function::{Parameter, ParameterKind};
use corex_script::settings::Settings;

const NO_DATABASE: &str = "Databases: there are none here. What their tables have stands in address_file \
                           and trusted_file.";

const fn ignored(name: &'static str) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind: ParameterKind::Ignored,
        doc: NO_DATABASE,
    }
}

const fn file(
    name: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
    doc: &'static str,
) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind: ParameterKind::Text {
            set,
            help: "it is the name of a file, beside the configuration where it has no slash",
        },
        doc,
    }
}

const fn number(
    name: &'static str,
    max: i64,
    set: fn(&mut Settings, i64),
    doc: &'static str,
) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind: ParameterKind::Int { min: 0, max, set },
        doc,
    }
}

fn named(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains('\n') {
        true => Err("this names no file".to_owned()),
        false => Ok(text.to_owned()),
    }
}

pub(super) const PARAMETERS: &[Parameter] = &[
    file(
        "address_file",
        |settings, text| {
            settings.permissions.address_file = Some(named(text)?);
            Ok(())
        },
        "A file with addresses, networks and host names by group, a line each: GROUP ADDRESS [MASK [PORT \
         [TAG]]]. MASK is a number of bits; 0 or none: one address. PORT 0 or none: any. `#` begins a \
         comment. Beside the configuration where the name has no slash. The RPC command \
         permissions.addressReload reads it again.",
    ),
    file(
        "trusted_file",
        |settings, text| {
            settings.permissions.trusted_file = Some(named(text)?);
            Ok(())
        },
        "Not in Kamailio, which has a table: a file with trusted peers, a line each: ADDRESS PROTO \
         FROM_PATTERN [RURI_PATTERN [TAG [PRIORITY]]]. PROTO is any, udp, tcp, tls, sctp, ws, wss or none; \
         patterns are regular expressions, in quotation marks where they have white space; - stands for \
         none. The highest priority is asked first. permissions.trustedReload reads it again.",
    ),
    file(
        "default_allow_file",
        |settings, text| {
            settings.permissions.allow_file = named(text)?;
            Ok(())
        },
        "What allow_routing() without arguments is allowed by. Where it isn't there, there are no rules. \
         Default: permissions.allow, beside the configuration.",
    ),
    file(
        "default_deny_file",
        |settings, text| {
            settings.permissions.deny_file = named(text)?;
            Ok(())
        },
        "What it is denied by. Default: permissions.deny, beside the configuration.",
    ),
    file(
        "allow_suffix",
        |settings, text| {
            settings.permissions.allow_suffix = text.to_owned();
            Ok(())
        },
        "What is appended to the name that a function is given. Default: .allow.",
    ),
    file(
        "deny_suffix",
        |settings, text| {
            settings.permissions.deny_suffix = text.to_owned();
            Ok(())
        },
        "The same for what denies. Default: .deny.",
    ),
    number(
        "check_all_branches",
        1,
        |settings, value| settings.permissions.checks_all_branches = value != 0,
        "Whether allow_routing() looks at all destinations. Default: 1.",
    ),
    number(
        "max_subnets",
        1_000_000,
        |settings, value| settings.permissions.max_subnets = value as u32,
        "The most networks of address_file; more are an error. Default: 512.",
    ),
    number(
        "load_backends",
        0xffff,
        |settings, value| settings.permissions.backends = value as u32,
        "Which files are read, the sum of: 1 address_file, 2 trusted_file, 4 default_allow_file, 8 \
         default_deny_file. Default: all.",
    ),
    number(
        "reload_delta",
        3600,
        |settings, value| {
            settings.permissions.reload_delta = Duration::from_secs(value.unsigned_abs());
        },
        "Between two reloads by remote control there must be so many seconds. Default: 5.",
    ),
    Parameter {
        name: "peer_tag_avp",
        aliases: &[],
        kind: ParameterKind::Text {
            set: |settings, text| {
                let is_avp = text.starts_with("$avp(") && text.ends_with(')');
                if !is_avp {
                    return Err("this is no AVP".to_owned());
                }
                settings.permissions.tag_avp = Some(text.to_owned());
                Ok(())
            },
            help: "its form is \"$avp(name)\"",
        },
        doc: "The AVP that gets the tag of what matched. Default: none.",
    },
    number(
        "peer_tag_mode",
        1,
        |settings, value| settings.permissions.finds_all_peers = value != 0,
        "0: allow_trusted() ends at the first peer that fits; 1: it takes the tags of all. Default: 0.",
    ),
    number(
        "guard_group",
        u32::MAX as i64,
        |settings, value| settings.permissions.guard_group = Some(value as u32),
        "Not in Kamailio. The addresses and networks of this group of address_file that are for any port are \
         on the guard's list of those allowed: nothing that it has blocks them, pike neither. The guard must \
         be on. Default: none.",
    ),
    number(
        "trusted_group",
        u32::MAX as i64,
        |settings, value| settings.permissions.trusted_group = value as u32,
        "Not in Kamailio. The addresses and networks of this group of address_file that are for any port, and \
         the addresses of trusted_file, are trusted: neither rates nor pike have the guard block them, and \
         with `overload` they are known peers. 0: those of trusted_file only. Default: 1.",
    ),
    ignored("db_url"),
    ignored("db_mode"),
    ignored("trusted_table"),
    ignored("source_col"),
    ignored("proto_col"),
    ignored("from_col"),
    ignored("ruri_col"),
    ignored("tag_col"),
    ignored("priority_col"),
    ignored("address_table"),
    ignored("grp_col"),
    ignored("ip_addr_col"),
    ignored("mask_col"),
    ignored("port_col"),
    ignored("trusted_cleanup_interval"),
];
