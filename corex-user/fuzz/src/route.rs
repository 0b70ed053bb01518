//! Messages through routes: the functions of modules, and the pseudo-variables.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use corex_script::host::FileError;
use corex_script::{
    Env, Host, NetworkHook, NextHop, Outgoing, Program, Purpose, Runtime, SendError, SocketId,
    Target, load_str,
};
use corex_sip::compose::SentBy;
use corex_sip::{SipView, Transport};

/// The configuration.
pub(crate) const CONFIG: &str = include_str!("../route.cfg");

/// How many parts its request_route has.
const PARTS: u8 = 6;

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(Runtime::new(program(), 0));
}

fn program() -> Arc<Program> {
    let loaded = load_str("route.cfg", CONFIG, corex_user::module::MODULES);
    let config = loaded.config.unwrap_or_else(|| panic!("{}", loaded.report));
    config.program
}

/// Takes the input for a message, behind a byte that says which part of the configuration runs on it.
///
/// # Panics
/// When what leaves isn't SIP.
pub fn route(data: &[u8]) {
    let Some((part, message)) = data.split_first() else {
        return;
    };
    let Ok(view) = SipView::parse(message) else {
        return;
    };
    let env = Env {
        src: SocketAddr::from(([192, 0, 2, 1], 5060 + u16::from(part % PARTS))),
        dst: SocketAddr::from(([192, 0, 2, 2], 5060)),
        transport: Transport::Udp,
        socket: SocketId(0),
        connection: None,
    };
    RUNTIME.with_borrow_mut(|runtime| {
        runtime.begin_message();
        runtime.run_route(&env, &view, &mut World { local: env.dst });
    });
}

/// A host that takes all that is sent, if it is SIP.
struct World {
    local: SocketAddr,
}

impl Host for World {
    fn next_hop<'t>(
        &mut self,
        to: Target<'t>,
        transport: Option<Transport>,
        forced: Option<SocketId>,
    ) -> Result<NextHop<'t>, SendError> {
        Ok(NextHop {
            to,
            transport: transport.unwrap_or(Transport::Udp),
            socket: forced.unwrap_or(SocketId(0)),
            local: self.local,
        })
    }

    fn sent_by(&self, hop: &NextHop<'_>) -> SentBy<'_> {
        SentBy {
            host: None,
            ip: hop.local.ip(),
            port: hop.local.port(),
        }
    }

    fn send(&mut self, _: &mut dyn NetworkHook, out: Outgoing<'_>) -> Result<(), SendError> {
        assert_ne!(out.purpose, Purpose::Data);
        let sent = SipView::parse(out.payload);
        assert!(sent.is_ok(), "{}", out.payload.escape_ascii());
        Ok(())
    }

    fn consume(&mut self) {}

    fn file_read(&self, _: &Path) -> Result<Arc<[u8]>, FileError> {
        Err(FileError::Path)
    }

    fn file_write(&self, _: &Path, _: &[u8]) -> Result<(), FileError> {
        Err(FileError::Path)
    }

    fn is_myself(&self, host: &[u8], port: u16, _: Option<Transport>) -> bool {
        host == b"192.0.2.2" && matches!(port, 0 | 5060)
    }
}
