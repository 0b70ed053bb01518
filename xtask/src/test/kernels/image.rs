//! A kernel and what starts it: fetched from Debian, unpacked, never installed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use corex_lab::process::output_of;

use super::{Kernel, succeed};
use crate::{apt, ui};

/// Modules that the guest starts with; what they need comes along. The rest of the machine comes by 9P.
const MODULES: [&str; 20] = [
    "virtio_pci",
    "9p",
    "9pnet_virtio",
    "overlay",
    "veth",
    "sch_ingress",
    "cls_bpf",
    "act_bpf",
    "cls_u32",
    "act_mirred",
    "cls_matchall",
    "af_packet",
    "xsk_diag",
    "bridge",
    "macvlan",
    "nf_tables",
    "nft_compat",
    "virtio_net",
    "e1000e",
    "vmxnet3",
];

/// What a guest boots.
pub struct Image {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its first root file system.
    pub initrd: PathBuf,
}

impl Kernel {
    /// Where Debian has it, and the parts that it is in: packages whose names begin so, with the version
    /// behind. The newest version of the first part is taken.
    fn source(self) -> (&'static str, &'static [&'static str], &'static str) {
        const ONE: &[&str] = &["linux-image-"];
        match self {
            Kernel::V5_10 => ("bullseye-security", ONE, "5.10.0-"),
            Kernel::V6_1 => ("bookworm-security", ONE, "6.1.0-"),
            Kernel::V6_12 => ("bookworm-security", ONE, "6.12."),
            Kernel::V7 => (
                "trixie-backports",
                &["linux-binary-", "linux-modules-"],
                "7.",
            ),
        }
    }
}

/// Fetches a kernel, once, and makes its first root file system.
///
/// # Errors
/// No network, or no such kernel.
pub fn fetch(kernel: Kernel, folder: &Path) -> Result<Image> {
    let root = folder.join(kernel.name());
    if !root.join("complete").exists() {
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
        }
        fs::create_dir_all(&root).with_context(|| format!("make {}", root.display()))?;
        download(kernel, folder, &root)?;
        fs::write(root.join("complete"), "").context("mark what is complete")?;
    }
    let release = release(&root)?;
    let initrd = root.join("initrd.img");
    make_initrd(&root, &release, &initrd)?;
    let places = [
        format!("boot/vmlinuz-{release}"),
        format!("lib/modules/{release}/vmlinuz"),
    ];
    let mut places = places.map(|place| root.join(place)).into_iter();
    let kernel = places.find(|place| place.exists());
    Ok(Image {
        kernel: kernel.with_context(|| format!("{} has no kernel", root.display()))?,
        initrd,
    })
}

/// The release of the kernel in a folder, as in 6.1.0-40-amd64.
fn release(root: &Path) -> Result<String> {
    let modules = root.join("lib/modules");
    let entry = fs::read_dir(&modules)
        .with_context(|| format!("read {}", modules.display()))?
        .flatten()
        .next()
        .with_context(|| format!("{} is empty", modules.display()))?;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

/// apt-get with lists of its own, so that the machine's stay as they are.
fn apt_get(folder: &Path) -> Command {
    let state = folder.join("apt");
    let mut command = Command::new("apt-get");
    command
        .arg("-o")
        .arg(format!("Dir::State={}", state.join("state").display()))
        .arg("-o")
        .arg(format!("Dir::Cache={}", state.join("cache").display()))
        .arg("-o")
        .arg(format!(
            "Dir::Etc::sourcelist={}",
            state.join("sources.list").display()
        ))
        .args([
            "-o",
            "Dir::Etc::sourceparts=-",
            "-o",
            "APT::Sandbox::User=root",
            "--quiet",
        ])
        .stdin(Stdio::null());
    command
}

fn download(kernel: Kernel, folder: &Path, root: &Path) -> Result<()> {
    let state = folder.join("apt");
    for below in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(state.join(below)).context("make apt's folders")?;
    }
    // One archive has the security updates of all suites, another one all else.
    let suites = [
        ("bullseye-security", "bookworm-security"),
        ("bookworm-security", "bookworm-security"),
        ("trixie-backports", "bookworm"),
    ];
    let mut lines = String::new();
    for (suite, of_archive) in suites {
        let archive = apt::mirror(of_archive)?;
        lines += &format!(
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {archive} {suite} main\n"
        );
    }
    fs::write(state.join("sources.list"), lines).context("write apt's sources")?;
    ui::say("Fetching it from Debian.");
    succeed(apt_get(folder).arg("update"))?;
    let packages = newest(kernel, folder)?;
    let fetched = folder.join("fetched");
    if fetched.exists() {
        fs::remove_dir_all(&fetched).context("remove what was fetched before")?;
    }
    fs::create_dir_all(&fetched).context("make a folder")?;
    succeed(
        apt_get(folder)
            .arg("download")
            .args(&packages)
            .current_dir(&fetched),
    )?;
    for file in fs::read_dir(&fetched)?.flatten() {
        succeed(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(file.path())
                .arg(root),
        )?;
    }
    // From Debian 13 on, packages have nothing in /lib, which is a link there.
    if !root.join("lib").exists() {
        symlink("usr/lib", root.join("lib")).context("make a link for /lib")?;
    }
    fs::remove_dir_all(&fetched).context("remove what was fetched")?;
    let release = release(root)?;
    succeed(
        Command::new("depmod")
            .arg("--basedir")
            .arg(root)
            .arg(release),
    )
}

/// The packages with the newest kernel of a version.
fn newest(kernel: Kernel, folder: &Path) -> Result<Vec<String>> {
    let (suite, parts, version) = kernel.source();
    let beginning = format!("{}{version}", parts[0]);
    let lists = folder.join("apt/state/lists");
    let mut names: Vec<(Vec<u64>, String)> = Vec::new();
    for entry in fs::read_dir(&lists)?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.contains(suite) && name.contains("binary-amd64_Packages")) {
            continue;
        }
        // Compressed or not, as apt is set up.
        let text = output_of(
            Command::new("/usr/lib/apt/apt-helper")
                .arg("cat-file")
                .arg(entry.path()),
        )?;
        names.extend(text.lines().filter_map(|line| {
            let package = line.strip_prefix("Package: ")?;
            let rest = package.strip_prefix(&beginning)?.strip_suffix("-amd64")?;
            // No -rt, no -cloud, none without a signature.
            let numbers: Vec<u64> = rest
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect();
            let is_plain = !["rt", "cloud", "dbg", "unsigned"]
                .iter()
                .any(|word| rest.contains(word));
            is_plain.then(|| (numbers, format!("{version}{rest}-amd64")))
        }));
    }
    names.sort();
    match names.pop() {
        Some((_, version)) => Ok(parts
            .iter()
            .map(|part| format!("{part}{version}"))
            .collect()),
        None => bail!("{suite} has no {beginning}*-amd64"),
    }
}

/// busybox and the modules that mount the machine's root file system by 9P.
fn make_initrd(root: &Path, release: &str, initrd: &Path) -> Result<()> {
    let tree = root.join("initrd");
    if tree.exists() {
        fs::remove_dir_all(&tree).context("remove the old initrd")?;
    }
    for below in ["bin", "mods", "proc", "sys", "dev", "new", "lower", "rw"] {
        fs::create_dir_all(tree.join(below)).context("make the initrd's folders")?;
    }
    let busybox = corex_lab::process::which("busybox").context("busybox is not installed")?;
    fs::copy(busybox, tree.join("bin/busybox")).context("copy busybox")?;
    let mut order: Vec<String> = Vec::new();
    for module in MODULES {
        // Built in, or not in this kernel: nothing is printed.
        let shown = Command::new("modprobe")
            .arg("--dirname")
            .arg(root)
            .args(["--set-version", release, "--show-depends", module])
            .output()
            .context("run modprobe")?;
        for line in String::from_utf8_lossy(&shown.stdout).lines() {
            let Some(path) = line
                .strip_prefix("insmod ")
                .and_then(|rest| rest.split(' ').next())
            else {
                continue;
            };
            let name = Path::new(path)
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            let plain = name
                .trim_end_matches(".xz")
                .trim_end_matches(".zst")
                .to_owned();
            if order.contains(&plain) {
                continue;
            }
            unpack(Path::new(path), &tree.join("mods").join(&plain))?;
            order.push(plain);
        }
    }
    fs::write(tree.join("mods/order"), order.join("\n") + "\n")
        .context("write the modules' order")?;
    fs::write(tree.join("init"), include_str!("init.sh")).context("write init")?;
    succeed(
        Command::new("chmod")
            .arg("755")
            .arg(tree.join("init"))
            .arg(tree.join("bin/busybox")),
    )?;
    succeed(
        Command::new("sh")
            .args(["-c", "find . | cpio -o -H newc --quiet | gzip -1 > \"$0\""])
            .arg(initrd)
            .current_dir(&tree),
    )
}

/// Copies a module, unpacked: busybox can't.
fn unpack(from: &Path, to: &Path) -> Result<()> {
    let tool = match from.extension().and_then(|end| end.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => {
            fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
            return Ok(());
        }
    };
    let file = fs::File::create(to).with_context(|| format!("make {}", to.display()))?;
    let status = Command::new(tool)
        .args(["--decompress", "--stdout", "--quiet"])
        .arg(from)
        .stdout(file)
        .status()
        .with_context(|| format!("run {tool}"))?;
    if !status.success() {
        bail!("{tool} can't unpack {}", from.display());
    }
    Ok(())
}
