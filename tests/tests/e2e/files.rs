//! Files that scripts write, and must not write.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use corex_lab::{WorkDir, corex::CorexOptions, topology::Relay, wait};

const LIMIT: Duration = Duration::from_secs(10);

fn config(parameters: &str) -> String {
    format!(
        "listen=udp:10.0.1.1:5060\nloadmodule \"corex.so\"\nloadmodule \"sl.so\"\n\
         loadmodule \"pv.so\"\nloadmodule \"textops.so\"\n{parameters}\
         request_route {{\n  if (file_write(\"$rU\", \"$rb\")) sl_send_reply(\"200\", \"Written\");\n  \
         else sl_send_reply(\"500\", \"Not written\");\n}}\n"
    )
}

/// What the status line says when a stranger writes `body` to the file `name`.
fn write(relay: &Relay, name: &str, body: &str) -> Result<String> {
    let socket = relay.uac.udp("10.0.1.2:0".parse()?)?;
    let port = socket.local_addr()?.port();
    let message = format!(
        "OPTIONS sip:{name}@10.0.1.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.2:{port};branch=z9hG4bK{name}\r\n\
         To: <sip:a@b>\r\nFrom: <sip:c@d>;tag=1\r\nCall-ID: {name}@x\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.send_to(message.as_bytes(), Relay::USER_SIDE.sip())?;
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer)?;
    let reply = String::from_utf8_lossy(&buffer[..len]).into_owned();
    Ok(reply.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn a_stranger_can_not_replace_the_configuration() -> Result<()> {
    // By default; and although the operator named the folder.
    for named in [false, true] {
        let (work, relay) = (WorkDir::new()?, Relay::new()?);
        let state = work.join("state");
        fs::create_dir(&state)?;
        let parameters = if named {
            format!(
                "modparam(\"corex\", \"file_root\", \"{}\")\n",
                work.path().display()
            )
        } else {
            String::new()
        };
        let text = config(&parameters);
        let path = work.write("edge.cfg", &text)?;
        work.write("beside.lua", "-- a script")?;
        let mut command = relay.corex.command("env");
        command
            .arg(format!("STATE_DIRECTORY={}", state.display()))
            .arg(corex_lab::corex::binary()?);
        let corex = CorexOptions::new(&path)
            .engine("socket")
            .spawn(command, work.path(), "corex")?
            .ready()?;
        for name in ["edge.cfg", "beside.lua", "new"] {
            let status = write(&relay, name, "request_route { exit; }")?;
            let expected = if named {
                "SIP/2.0 500 Not written"
            } else {
                "SIP/2.0 200 Written"
            };
            // A slow disk may tell later than the worker waits.
            ensure!(status == expected || named, "{name}: {status}");
            if !named {
                wait::until("it is written in corex's own folder", LIMIT, || {
                    Ok(state.join(name).exists().then_some(()))
                })?;
            }
        }
        corex.stop()?;
        ensure!(fs::read_to_string(&path)? == text);
        ensure!(fs::read_to_string(work.join("beside.lua"))? == "-- a script");
        ensure!(!work.join("new").exists());
    }
    Ok(())
}
