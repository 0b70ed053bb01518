//! The softphone baresip.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use crate::{namespace::Namespace, process::Process};

/// What it needs: one codec, and audio that needs no device.
const CONFIG: &str = "\
sip_trans_def udp
audio_player aubridge,loop
audio_source ausine,440
audio_alert aubridge,loop
ausrc_srate 48000
auplay_srate 8000
ausrc_channels 2
auplay_channels 1
module_path /usr/lib/baresip/modules
module g711.so
module aubridge.so
module ausine.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app contact.so
";

/// What became of a phone's registration and call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhoneReport {
    /// The registrar accepted it.
    pub registered: bool,
    /// The call was answered.
    pub established: bool,
    /// It ended the call.
    pub terminated: bool,
    /// All that it said.
    pub log: String,
}

/// Lets the phone of `user` register with the proxy at `proxy`, call `callee` there, and hang up
/// after some seconds. Its files are in `directory`.
///
/// # Errors
/// It isn't installed, or doesn't end.
pub fn call(
    namespace: &Namespace,
    directory: &Path,
    (user, local): (&str, SocketAddr),
    (callee, proxy): (&str, SocketAddr),
    talk: Duration,
) -> Result<PhoneReport> {
    let home = directory.join(format!("{user}.baresip"));
    fs::create_dir_all(&home)?;
    fs::write(home.join("config"), format!("sip_listen {local}\n{CONFIG}"))?;
    let host = proxy.ip();
    fs::write(
        home.join("accounts"),
        format!("<sip:{user}@{host}>;auth_pass=none;regint=60\n"),
    )?;
    fs::write(home.join("contacts"), "")?;
    let home = home.to_str().context("a path")?;
    let dial = format!("/dial sip:{callee}@{host}");
    let seconds = talk.as_secs().to_string();
    let log = directory.join(format!("{user}.log"));
    let arguments = ["-f", home, "-t", &seconds, "-e", &dial];
    let phone: Process = namespace.spawn("baresip", &arguments, &log)?;
    // It unregisters before it ends.
    let status = phone.wait(talk + Duration::from_secs(15));
    let log = phone.log();
    status.with_context(|| log.clone())?;
    Ok(PhoneReport {
        registered: log.contains("200 OK") && log.contains("[1 binding]"),
        established: log.contains("Call established"),
        terminated: log.contains("terminated (duration"),
        log,
    })
}
