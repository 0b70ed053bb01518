//! The example in C, compiled and run against a server of devices.

#![allow(clippy::unwrap_used)]

#[path = "../../tests/server/mod.rs"]
mod server;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use server::Server;

const CHAIN: &str = "zstd(sip) | aead(chacha20-poly1305, key=device)";

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The library as this test's build made it.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.with_file_name("libcorexclient.a")
}

/// Compiles the example; `None` where there is no compiler for C.
fn compiled(folder: &Path) -> Option<PathBuf> {
    let program = folder.join("options");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-Wall", "-Wextra", "-Werror", "-std=c11", "-D_GNU_SOURCE"])
        .arg(own("examples/options.c"))
        .arg("-I")
        .arg(own("include"))
        .arg(library())
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program);
    let status = match compiler.status() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("no cc here: {error}");
            return None;
        }
    };
    assert!(status.success());
    Some(program)
}

#[test]
fn a_program_in_c_enrols_and_is_answered() {
    let folder = std::env::temp_dir().join(format!("corex-c-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let Some(program) = compiled(&folder) else {
        return;
    };
    let (mut server, public) = Server::new(CHAIN);
    let key = folder.join("enrol.pub");
    std::fs::write(&key, public).unwrap();
    let wire = UdpSocket::bind("127.0.0.1:0").unwrap();
    wire.set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut example = Command::new(&program)
        .arg(wire.local_addr().unwrap().to_string())
        .arg(CHAIN)
        .arg(format!("5:file:{}", key.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut room = vec![0; 65_535];
    let mut heard = Vec::new();
    let status = loop {
        if let Some(status) = example.try_wait().unwrap() {
            break status;
        }
        let Ok((len, peer)) = wire.recv_from(&mut room) else {
            thread::yield_now();
            continue;
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        server.take(peer, &room[..len], now.unwrap());
        for answer in server.answers.drain(..) {
            wire.send_to(&answer, peer).unwrap();
        }
        for message in server.messages.drain(..) {
            heard = message;
            let mut out = Vec::new();
            let reply = b"SIP/2.0 200 OK\r\n\r\n";
            server
                .chain
                .encode_for(Some(peer), reply, &mut out, 65_535)
                .unwrap();
            wire.send_to(&out, peer).unwrap();
        }
    };
    assert!(status.success());
    assert!(heard.starts_with(b"OPTIONS sip:127.0.0.1:"));
    let said = example.wait_with_output().unwrap().stdout;
    assert_eq!(said, b"SIP/2.0 200 OK\r\n\r\n");
}

#[test]
fn a_program_in_c_is_told_what_is_wrong() {
    let folder = std::env::temp_dir().join(format!("corex-c-wrong-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let Some(program) = compiled(&folder) else {
        return;
    };
    for (server, chain, said) in [
        ("127.0.0.1:9", "zip", "there is no codec `zip`"),
        ("127.0.0.1:99999", "hex", "is no ADDRESS:PORT"),
    ] {
        let output = Command::new(&program)
            .args([server, chain, "file:/no/such/key"])
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(said), "{error}");
        assert_eq!(output.status.code(), Some(1));
    }
}
