//! Steps of the interpreter: routes with nothing but the language in them.

use std::{hint::black_box, net::SocketAddr, path::Path, sync::Arc};

use corex_script::{
    Env, FileError, Host, NetworkHook, NextHop, Outgoing, Runtime, SendError, SocketId, Target,
    function::Modules, load_str,
};
use corex_sip::{SipView, Transport, compose::SentBy};
use criterion::Criterion;

use crate::INVITE;

/// Names, and what is in the request route.
const ROUTES: [(&str, &str); 7] = [
    ("nothing", ""),
    ("assignment", "$var(a) = 1;"),
    ("comparison of numbers", "if ($var(a) == 1) $var(a) = 2;"),
    (
        "comparison with a header",
        "if ($rm == \"INVITE\") $var(a) = 1;",
    ),
    ("concatenation", "$var(a) = $fU + \"@\" + $rd;"),
    ("transformation", "$var(a) = $(ci{s.len});"),
    (
        "loop of 100",
        "$var(i) = 0; while ($var(i) < 100) { $var(i) = $var(i) + 1; }",
    ),
];

/// Nothing is sent.
struct Nobody;

impl Host for Nobody {
    fn next_hop<'t>(
        &mut self,
        to: Target<'t>,
        _: Option<Transport>,
        _: Option<SocketId>,
    ) -> Result<NextHop<'t>, SendError> {
        Ok(NextHop {
            to,
            transport: Transport::Udp,
            socket: SocketId(0),
            local: env().dst,
        })
    }

    fn sent_by(&self, hop: &NextHop<'_>) -> SentBy<'_> {
        SentBy {
            host: None,
            ip: hop.local.ip(),
            port: hop.local.port(),
        }
    }

    fn consume(&mut self) {}

    fn file_read(&self, _: &Path) -> Result<Arc<[u8]>, FileError> {
        Err(FileError::Path)
    }

    fn file_write(&self, _: &Path, _: &[u8]) -> Result<(), FileError> {
        Err(FileError::Path)
    }

    fn send(&mut self, _: &mut dyn NetworkHook, _: Outgoing<'_>) -> Result<(), SendError> {
        Ok(())
    }

    fn is_myself(&self, _: &[u8], _: u16, _: Option<Transport>) -> bool {
        false
    }
}

fn env() -> Env {
    Env {
        src: SocketAddr::from(([192, 0, 2, 1], 5060)),
        dst: SocketAddr::from(([192, 0, 2, 2], 5060)),
        transport: Transport::Udp,
        socket: SocketId(0),
        connection: None,
    }
}

pub fn bench(criterion: &mut Criterion) {
    let view = SipView::parse(INVITE).expect("a SIP message");
    let env = env();
    let mut group = criterion.benchmark_group("script");
    for (name, body) in ROUTES {
        let text = format!("listen=udp:192.0.2.2:5060\nrequest_route {{ {body} }}\n");
        let loaded = load_str("micro.cfg", &text, Modules::new(&[]));
        let config = loaded.config;
        let config = config.unwrap_or_else(|| panic!("{}", loaded.report));
        let mut runtime = Runtime::new(config.program, 0);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime.begin_message();
                black_box(runtime.run_route(&env, &view, &mut Nobody))
            });
        });
    }
    group.finish();
}
