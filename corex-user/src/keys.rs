//! `corex keys`: what servers open enrolments with, and what their devices get.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use corex_codec::enrol::{EnrolmentKeyError, Generated, ServerKey};
use corex_codec::{KeySource, SecretFile, SecretReader};

/// The exit status when there is no key.
const NO_KEY: u8 = 1;

const EXAMPLES: &str = "\
Examples:
  corex keys x25519 --output /etc/corex/enrol.pem > enrol.pub
      a key pair for HPKE: the server's file, and what devices get
  corex keys psk --output /etc/corex/enrol.psk
      a secret that server and devices share
  corex keys public /etc/corex/enrol.pem
      the public key once more; also that of RSA, as openssl genpkey makes it

Exit status:
  0  done
  1  a file can't be read or written, or holds no such key; the message says which
  2  the command line is wrong";

/// `corex keys`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key pair of X25519 for HPKE, and print the public key
    #[command(after_help = EXAMPLES)]
    X25519(OutputArgs),
    /// Make a secret of 32 bytes that server and devices share
    #[command(after_help = EXAMPLES)]
    Psk(OutputArgs),
    /// Print the public key of a private one: X25519, or RSA
    #[command(after_help = EXAMPLES)]
    Public(PublicArgs),
}

/// `corex keys x25519`, `corex keys psk`
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Where it goes, with mode 0600; a file that is there already is left alone
    #[arg(long, short = 'o', value_name = "FILE")]
    output: PathBuf,
}

/// `corex keys public`
#[derive(Debug, Args)]
pub struct PublicArgs {
    /// The private key, in PEM (PKCS#8)
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Makes a key, or shows one.
pub fn run(command: &KeysCommand) -> ExitCode {
    let done = match command {
        KeysCommand::X25519(args) => make(Generated::x25519(), &args.output),
        KeysCommand::Psk(args) => make(Generated::psk(), &args.output),
        KeysCommand::Public(args) => public(&args.file),
    };
    match done {
        Ok(text) => {
            // A closed pipe is the reader's choice.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "corex: {error:#}");
            ExitCode::from(NO_KEY)
        }
    }
}

fn make(made: Result<Generated, EnrolmentKeyError>, path: &Path) -> anyhow::Result<String> {
    let made = made?;
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options
        .open(path)
        .with_context(|| format!("write {}", path.display()))?;
    file.write_all(made.private.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("write {}", path.display()))?;
    Ok(made.public.unwrap_or_default())
}

fn public(path: &Path) -> anyhow::Result<String> {
    let secret = SecretFile {
        name: String::new(),
        id: 1,
        source: KeySource::File(path.to_owned()),
    };
    let reader = SecretReader {
        open: &|path| File::open(path),
        user: nix::unistd::Uid::effective().as_raw(),
    };
    let key = ServerKey::new(&secret.read(&reader)?)
        .with_context(|| format!("read {}", path.display()))?;
    key.public_pem().with_context(|| {
        format!(
            "{} is a shared secret: devices need it itself, there is nothing public",
            path.display()
        )
    })
}
