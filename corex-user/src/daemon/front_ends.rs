//! The sockets that remote control, metrics and health are served on.

use std::{
    future::Future,
    io,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Context as _;

use super::{
    handover::{Estate, Heir, Item},
    remote::Remote,
};
use crate::{
    http::{Handler, HttpAccess, HttpLimits, Method, Request, Response, Router, Server, Token},
    rpc::{Rpc, commands, ctl, json, limits::RpcLimits},
    telemetry::metrics,
};
use corex_script::{
    Config,
    settings::control::{HostPort, JsonRpcSettings},
};

/// What a successor knows the sockets by of which there is one.
const FIFO: &str = "fifo";
const DATAGRAMS: &str = "datagrams";

/// Sockets that are open and not served yet.
#[derive(Default)]
pub struct FrontEnds {
    binrpc: Vec<(String, ctl::Listener)>,
    fifo: Option<json::Fifo>,
    datagrams: Option<json::Datagrams>,
    http: Vec<Http>,
    access: HttpAccess,
    json: JsonRpcSettings,
}

struct Http {
    /// For a successor.
    name: String,
    server: Server,
    has_rpc: bool,
    has_metrics: bool,
}

impl FrontEnds {
    /// Opens the sockets that the configuration asks for, or takes them from an heir who has them:
    /// privileges may be needed.
    ///
    /// # Errors
    /// With the socket, what keeps it from being opened.
    pub fn bind(config: &Config, mut heir: Option<&mut Heir>) -> anyhow::Result<FrontEnds> {
        let mut handed = |name: &str| heir.as_mut()?.front_end(name);
        let control = &config.settings.control;
        let program = &config.program;
        let mut ends = FrontEnds {
            json: control.json.clone(),
            ..FrontEnds::default()
        };
        if program.has_module("ctl") {
            for address in control.listeners() {
                let (access, converts) = (&control.access, control.autoconversion);
                let name = address.to_string();
                let bound = match handed(&name) {
                    Some(socket) => ctl::Listener::adopt(&address, access, converts, socket),
                    None => ctl::Listener::bind(&address, access, converts),
                };
                let bound = bound.with_context(|| format!("serve remote control on {name}"))?;
                ends.binrpc.push((name, bound));
            }
        }
        let json = &control.json;
        let has_json = program.has_module("jsonrpcs");
        if has_json && json.by_fifo() {
            let (path, access, replies) = (&json.fifo, &json.fifo_access, &json.fifo_reply_dir);
            let made = match handed(FIFO) {
                Some(pipe) => json::Fifo::adopt(path, access, replies, pipe),
                None => json::Fifo::make(path, access, replies),
            };
            let what = || format!("serve JSON-RPC by the FIFO {}", json.fifo.display());
            ends.fifo = Some(made.with_context(what)?);
        }
        if has_json && json.by_datagram() {
            let (address, access) = (&json.datagram, &json.datagram_access);
            let bound = match handed(DATAGRAMS) {
                Some(socket) => json::Datagrams::adopt(address, access, socket),
                None => json::Datagrams::bind(address, access),
            };
            ends.datagrams = Some(bound.context("serve JSON-RPC by datagrams (dgram_socket)")?);
        }
        let rpc = (has_json && json.by_http()).then_some(&json.http);
        let metrics = control.metrics.as_ref();
        let mut addresses: Vec<&HostPort> = rpc.into_iter().chain(metrics).collect();
        addresses.dedup();
        if let (Some(path), false) = (&control.http_token_file, addresses.is_empty()) {
            let token = Token::read(path)
                .with_context(|| format!("read the token in {} (http_token_file)", path.display()));
            ends.access.token = Some(token?);
        }
        ends.access.names.clone_from(&control.http_hosts);
        let is_any = |host: &str| host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
        let configured = addresses.iter().map(|address| address.host.clone());
        ends.access
            .names
            .extend(configured.filter(|host| !is_any(host)));
        for address in addresses {
            let name = format!("http:{}:{}", address.host, address.port);
            let bind = || -> io::Result<Server> { Server::bind(address.resolve()?) };
            let server = match handed(&name) {
                Some(socket) => Server::adopt(socket),
                None => bind()
                    .with_context(|| format!("serve HTTP on {}:{}", address.host, address.port))?,
            };
            ends.http.push(Http {
                name,
                server,
                has_rpc: rpc == Some(address),
                has_metrics: metrics == Some(address),
            });
        }
        Ok(ends)
    }

    /// Lets the files of sockets that were handed over go with these.
    pub fn own_files(&mut self) {
        self.binrpc
            .iter_mut()
            .for_each(|(_, listener)| listener.own_file());
        self.fifo.iter_mut().for_each(json::Fifo::own_file);
        self.datagrams
            .iter_mut()
            .for_each(json::Datagrams::own_file);
    }

    /// Names them, for a successor.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn add_to(&self, estate: &mut Estate) -> io::Result<()> {
        let mut add = |name: &str, socket: BorrowedFd<'_>| -> io::Result<()> {
            let name = name.to_owned();
            estate.add(Item::FrontEnd { name }, socket.try_clone_to_owned()?);
            Ok(())
        };
        for (name, listener) in &self.binrpc {
            add(name, listener.as_fd())?;
        }
        if let Some(fifo) = &self.fifo {
            add(FIFO, fifo.as_fd())?;
        }
        if let Some(datagrams) = &self.datagrams {
            add(DATAGRAMS, datagrams.as_fd())?;
        }
        for http in &self.http {
            add(&http.name, http.server.as_fd())?;
        }
        Ok(())
    }

    /// Serves them for as long as the runtime runs; to be called within it.
    pub fn serve(self, remote: &Arc<Remote>) {
        let rpc = Arc::new(Rpc::new(
            commands::ALL,
            Arc::clone(remote) as _,
            RpcLimits::default(),
        ));
        let pretty = self.json.pretty;
        for (_, listener) in self.binrpc {
            spawn("binrpc", listener.serve(Arc::clone(&rpc)));
        }
        if let Some(fifo) = self.fifo {
            spawn("the FIFO", fifo.serve(Arc::clone(&rpc), pretty));
        }
        if let Some(datagrams) = self.datagrams {
            let patience = Duration::from_millis(self.json.datagram_timeout.into());
            let serve = datagrams.serve(Arc::clone(&rpc), pretty, patience);
            spawn("JSON-RPC datagrams", serve);
        }
        for http in self.http {
            let mut router = Router::default();
            if http.has_rpc {
                router = router.with(Method::Post, "/RPC", json::route(Arc::clone(&rpc), pretty));
            }
            if http.has_metrics {
                router = router
                    .with(Method::Get, "/metrics", answer(remote, scrape))
                    .with_open(Method::Get, "/health", answer(remote, health))
                    .with_open(Method::Get, "/ready", answer(remote, ready));
            }
            let refusals = Arc::clone(&rpc.fronts.counters.http);
            let access = self.access.clone();
            let limits = HttpLimits::default();
            spawn("HTTP", http.server.serve(router, limits, access, refusals));
        }
    }
}

fn spawn(what: &'static str, serve: impl Future<Output = io::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = serve.await {
            tracing::error!(%error, "{what}: serving has ended");
        }
    });
}

fn answer(remote: &Arc<Remote>, with: fn(&Remote) -> Response) -> Handler {
    let remote = Arc::clone(remote);
    Arc::new(move |_: Request| {
        let response = with(&remote);
        Box::pin(async { response })
    })
}

fn scrape(remote: &Remote) -> Response {
    let mut books = remote.books();
    books.offenders = remote.offenders();
    match metrics::render(books) {
        Ok(text) => Response {
            status: 200,
            reason: None,
            content_type: metrics::CONTENT_TYPE,
            body: text.into_bytes(),
        },
        Err(error) => Response::text(500, &error.to_string()),
    }
}

/// That this is answered at all says that the process lives.
fn health(_: &Remote) -> Response {
    Response::text(200, "ok")
}

/// Says no more of the host than that: everybody may ask.
fn ready(remote: &Remote) -> Response {
    if !remote.is_turning.load(Ordering::Relaxed) {
        return Response::text(503, "a worker has not moved for a second");
    }
    let host = remote.host();
    if !host.is_empty() && host.iter().all(|interface| interface.state != "up") {
        let states = host.iter().map(|i| format!("{} is {}", i.name, i.state));
        let states: Vec<_> = states.collect();
        return Response::text(503, &format!("no interface is up: {}", states.join(", ")));
    }
    Response::text(200, "ready")
}
