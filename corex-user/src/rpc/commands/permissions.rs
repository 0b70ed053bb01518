//! `permissions.*`: addresses, peers and rules of the module permissions.

use std::sync::Arc;
use std::time::Instant;

use crate::access::Permissions;
use crate::access::permissions::Entry;
use crate::rpc::command::{
    Answer, Call, CommandGroup, Handler, Kind, Outcome, RpcCommand, required,
};
use crate::rpc::fault::Fault;
use crate::rpc::later::Later;
use crate::rpc::value::{Name, Reply, Value};

/// The most entries that a dump shows.
const MOST: usize = 20_000;

pub(super) const COMMANDS: CommandGroup = CommandGroup {
    name: "permissions",
    doc: "Addresses, trusted peers and rules of the module permissions. As in Kamailio.",
    commands: &[
        RpcCommand {
            name: "permissions.addressDump",
            doc: &["Shows the single addresses of address_file, 20,000 at most."],
            params: &[],
            result: Answer::Many(Kind::Struct),
            handler: Handler::Now(address_dump),
        },
        RpcCommand {
            name: "permissions.addressReload",
            doc: &[
                "Reads address_file again. If it has mistakes, all stays as it was, and the log has them.",
            ],
            params: &[],
            result: Answer::One(Kind::Str),
            handler: Handler::Wait(|call| reload(call, "permissions.address")),
        },
        RpcCommand {
            name: "permissions.allowUri",
            doc: TEST_URI,
            params: TEST_URI_PARAMS,
            result: Answer::One(Kind::Str),
            handler: Handler::Now(test_uri),
        },
        RpcCommand {
            name: "permissions.domainDump",
            doc: &["Shows the host names of address_file, 20,000 at most."],
            params: &[],
            result: Answer::One(Kind::Struct),
            handler: Handler::Now(domain_dump),
        },
        RpcCommand {
            name: "permissions.subnetDump",
            doc: &["Shows the networks of address_file, 20,000 at most."],
            params: &[],
            result: Answer::Many(Kind::Struct),
            handler: Handler::Now(subnet_dump),
        },
        RpcCommand {
            name: "permissions.testUri",
            doc: TEST_URI,
            params: TEST_URI_PARAMS,
            result: Answer::One(Kind::Str),
            handler: Handler::Now(test_uri),
        },
        RpcCommand {
            name: "permissions.trustedDump",
            doc: &["Shows the peers of trusted_file."],
            params: &[],
            result: Answer::One(Kind::Struct),
            handler: Handler::Now(trusted_dump),
        },
        RpcCommand {
            name: "permissions.trustedReload",
            doc: &[
                "Reads trusted_file again. If it has mistakes, all stays as it was, and the log has them.",
            ],
            params: &[],
            result: Answer::One(Kind::Str),
            handler: Handler::Wait(|call| reload(call, "permissions.trusted")),
        },
    ],
};

const TEST_URI: &[&str] = &[
    "Tells whether the files of rules of a name allow a pair of URIs: Allowed or Denied.",
    "Those that no call in the configuration names deny everything.",
];
const TEST_URI_PARAMS: &[crate::rpc::command::ParamDef] = &[
    required("basename", Kind::Str),
    required("uri", Kind::Str),
    required("contact", Kind::Str),
];

fn permissions(call: Call<'_>) -> Result<Arc<Permissions>, Fault> {
    let permissions = call.daemon.access().permissions;
    permissions.ok_or(Fault::failed("The module permissions is not loaded"))
}

fn reload<'a>(call: Call<'a>, what: &'static str) -> Later<'a, Outcome> {
    Box::pin(async move {
        if !permissions(call)?.may_reload(Instant::now()) {
            return Err(Fault::failed("ongoing reload"));
        }
        // The log has the reason.
        let reloaded = call.daemon.reload_scripts(what).await;
        reloaded.map_err(|_| Fault::failed("Reload failed."))?;
        Ok(Reply::one("Reload OK"))
    })
}

fn tag(entry: &Entry, none: &'static str) -> Value {
    match entry.tag.as_deref() {
        Some(tag) if !tag.is_empty() => Value::Str(tag.to_vec()),
        _ => none.into(),
    }
}

fn address_dump(call: Call<'_>) -> Outcome {
    let permissions = permissions(call)?;
    let addresses = permissions
        .addresses()
        .ok_or(Fault::failed("No address table"))?;
    let all = addresses.hosts().into_iter().take(MOST);
    Ok(all
        .map(|(slot, ip, entry)| {
            Value::fields([
                ("table", slot.into()),
                ("group", entry.group.into()),
                (
                    "item",
                    Value::fields([
                        ("ip", ip.to_string().into()),
                        ("port", Value::Int(entry.port.into())),
                        ("tag", tag(entry, "NULL")),
                    ]),
                ),
            ])
        })
        .collect())
}

fn subnet_dump(call: Call<'_>) -> Outcome {
    let permissions = permissions(call)?;
    let addresses = permissions
        .addresses()
        .ok_or(Fault::failed("No subnet table"))?;
    let all = (0u32..).zip(addresses.networks()).take(MOST);
    Ok(all
        .map(|(id, (network, entry))| {
            Value::fields([
                ("id", id.into()),
                ("group", entry.group.into()),
                (
                    "item",
                    Value::fields([
                        ("ip", network.ip.to_string().into()),
                        ("mask", Value::Int(network.bits.into())),
                        ("port", Value::Int(entry.port.into())),
                        ("tag", tag(entry, "")),
                    ]),
                ),
            ])
        })
        .collect())
}

/// Kamailio's dumps of names and peers are one struct, with names that come again and again.
fn domain_dump(call: Call<'_>) -> Outcome {
    let permissions = permissions(call)?;
    let addresses = permissions
        .addresses()
        .ok_or(Fault::failed("No domain list table"))?;
    let mut fields = Vec::new();
    for (slot, name, entry) in addresses.names().into_iter().take(MOST) {
        let item = Value::fields([
            ("domain_name", Value::Str(name.to_vec())),
            ("port", Value::Int(entry.port.into())),
            ("tag", tag(entry, "NULL")),
        ]);
        fields.push((Name::Borrowed("table"), slot.into()));
        fields.push((Name::Borrowed("group"), entry.group.into()));
        fields.push((Name::Borrowed("item"), item));
    }
    Ok(Reply::one(Value::Struct(fields)))
}

fn trusted_dump(call: Call<'_>) -> Outcome {
    let permissions = permissions(call)?;
    let trusted = permissions
        .trusted()
        .ok_or(Fault::failed("No trusted table"))?;
    let text = |text: Option<&[u8]>| Value::Str(text.unwrap_or(b"NULL").to_vec());
    let mut fields = Vec::new();
    for (slot, address, peer) in trusted.peers() {
        let item = Value::fields([
            ("ip", Value::Str(address.to_vec())),
            ("proto", peer.proto.number().into()),
            ("pattern", text(peer.from.as_ref().map(|p| &*p.text))),
            (
                "ruri_pattern",
                text(peer.request_uri.as_ref().map(|p| &*p.text)),
            ),
            ("tag", text(peer.tag.as_deref())),
            ("priority", Value::Int(peer.priority.into())),
        ]);
        fields.push((Name::Borrowed("table"), slot.into()));
        fields.push((Name::Borrowed("item"), item));
    }
    Ok(Reply::one(Value::Struct(fields)))
}

fn test_uri(call: Call<'_>) -> Outcome {
    let missing = || Fault::failed("Not enough parameters (basename, URI and contact)");
    let text = |at| call.params.opt_str(at).ok_or_else(missing);
    let (name, uri, contact) = (text(0)?, text(1)?, text(2)?);
    let is_allowed = permissions(call)?.test(&name, &uri, &contact) == Some(true);
    Ok(Reply::one(if is_allowed { "Allowed" } else { "Denied" }))
}
