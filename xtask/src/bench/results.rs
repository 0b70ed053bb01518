//! What a run of the benchmark found, as it is kept in a file: `--json FILE`. docs/performance.md
//! documents it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of the format. Files with another one aren't read.
pub const SCHEMA: u32 = 1;

/// Name of the limit of what a program in the driver can do.
pub const LIMIT_XDP: &str = "bare XDP reflector";
/// Name of the limit of what AF_XDP can do.
pub const LIMIT_AF_XDP: &str = "bare AF_XDP loop";

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The command that made it.
    pub command: String,
    /// Where and with what.
    pub machine: Machine,
    /// How it was measured.
    pub settings: Settings,
    /// The devices, in the order in which they are shown.
    pub rows: Vec<Row>,
    /// What packets cost that aren't ours.
    pub foreign: Vec<Foreign>,
    /// How cost grows.
    pub growth: Vec<Series>,
}

/// The machine and the versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// When the run began, UTC, as RFC 3339 writes it.
    pub date: String,
    /// The commit; with `+` where files differ from it.
    pub commit: String,
    /// What the processor calls itself.
    pub processor: String,
    /// CPUs.
    pub cpus: usize,
    /// The kernel's release.
    pub kernel: String,
    /// Kamailio's version.
    pub kamailio: String,
    /// The load average of the minute before: near 0 on a quiet machine.
    pub load: f64,
}

/// How long and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Turns: each device is started, measured and stopped so often.
    pub turns: u32,
    /// Seconds for the sustained rate.
    pub seconds: f64,
    /// Messages on their way at most, for the sustained rate.
    pub window: u64,
    /// Bytes of each message, but for the mix.
    pub size: usize,
    /// Steps of the bisection.
    pub steps: u32,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A program of the benchmark, without any proxy: a limit.
    Bare,
    /// corex.
    Corex,
    /// The real Kamailio.
    Kamailio,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its line in the table.
    pub name: String,
    /// What it does; devices with the same work may be compared.
    pub work: String,
    /// Who does it.
    pub by: By,
    /// What each turn gave.
    pub turns: Vec<Turn>,
}

/// One turn of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Messages each second that came back with a full window.
    pub rate: f64,
    /// Of these, how many were lost in all.
    pub lost: u64,
    /// The highest rate tried at which none was lost.
    pub loss_free: Option<f64>,
    /// At half of the rate without loss.
    pub half: Option<Load>,
    /// At a tenth of it.
    pub tenth: Option<Load>,
}

/// What a device does at a given rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Messages each second that were asked for.
    pub rate: f64,
    /// Messages sent.
    pub sent: u64,
    /// Messages lost.
    pub lost: u64,
    /// Messages that the generator didn't send since it was late.
    pub held_back: u64,
    /// How long messages took. Nothing where that couldn't be told.
    pub latency: Option<Latency>,
    /// CPU time of the device's processes for each message, in microseconds.
    pub own_cpu: Option<f64>,
    /// Busy time of the device's CPU for each message, in microseconds: the above, and what the
    /// kernel does to receive and send.
    pub whole_cpu: Option<f64>,
}

/// Times from sent to back, in microseconds; to 3 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99 % take no longer.
    pub p99: f64,
    /// 99.9 % take no longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// What a packet costs that a program in the kernel leaves alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Foreign {
    /// Which packet, and which program.
    pub name: String,
    /// Nanoseconds by BPF_PROG_TEST_RUN, for each turn.
    pub nanoseconds: Vec<f64>,
}

/// How the sustained rate changes with something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// With what.
    pub name: String,
    /// From few to many; ratios are to the first.
    pub points: Vec<Point>,
}

/// One point of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// How many.
    pub x: u64,
    /// Messages each second, for each turn.
    pub rates: Vec<f64>,
}

/// What `cargo xtask bench hiccups` found: minutes at half of the rate without loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hiccups {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The command that made it.
    pub command: String,
    /// Where and with what.
    pub machine: Machine,
    /// Messages each second.
    pub rate: u64,
    /// What corex was asked meanwhile by remote control, in all.
    pub commands: u64,
    /// How often of these to read its configuration anew.
    pub reloads: u64,
    /// The bare loop and corex.
    pub devices: Vec<Endured>,
}

/// Minutes of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Endured {
    /// Its name.
    pub name: String,
    /// How long.
    pub seconds: f64,
    /// Messages sent.
    pub sent: u64,
    /// Messages lost.
    pub lost: u64,
    /// Messages that the generator didn't send since it was late.
    pub held_back: u64,
    /// Messages that took longer than 10 ms.
    pub hiccups: u64,
    /// How long messages took.
    pub latency: Latency,
}

/// What `cargo xtask bench guard` found: calls through attacks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attacks {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The command that made it.
    pub command: String,
    /// Where and with what.
    pub machine: Machine,
    /// Each device under each attack.
    pub rows: Vec<Attacked>,
}

/// What became of one device under one attack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attacked {
    /// Its name.
    pub device: String,
    /// Who attacked.
    pub attack: String,
    /// How long the calls took.
    pub seconds: f64,
    /// Datagrams that the attacker sent.
    pub offered: u64,
    /// Datagrams that the XDP program dropped, of whomever.
    pub dropped_in_xdp: u64,
    /// Datagrams that came to the device's processes.
    pub reached_user_space: u64,
    /// CPU time of the device's processes, in percent of the time that the calls took.
    pub cpu_percent: f64,
    /// Calls that were begun.
    pub calls: u64,
    /// Calls that came to their end.
    pub completed: u64,
    /// Messages that the callers sent again.
    pub retransmissions: u64,
}

/// A result that is kept in a file.
pub trait Kept: Serialize + DeserializeOwned {
    /// The command that makes one, up to the file's name.
    const COMMAND: &str;

    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read, or is none that this program writes; with what to do.
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        parse(&text).with_context(|| {
            format!(
                "{} isn't a result that this version can read; `{} {}` makes one",
                path.display(),
                Self::COMMAND,
                path.display()
            )
        })
    }

    /// Writes a file, in one step.
    ///
    /// # Errors
    /// What the file system says.
    fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        let beside = path.with_extension("json.new");
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        folder
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&beside, text))
            .and_then(|()| fs::rename(&beside, path))
            .with_context(|| format!("write {}", path.display()))
    }
}

impl Kept for Run {
    const COMMAND: &str = "cargo xtask bench --json";
}

impl Kept for Hiccups {
    const COMMAND: &str = "cargo xtask bench hiccups --json";
}

impl Kept for Attacks {
    const COMMAND: &str = "cargo xtask bench guard --json";
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let Version { schema } = serde_json::from_str(text)?;
    ensure!(schema == SCHEMA, "its schema is {schema}, not {SCHEMA}");
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A turn with figures that are easy to relate.
    fn turn(rate: f64, p99: f64) -> Turn {
        Turn {
            rate,
            lost: 1,
            loss_free: Some(rate * 0.8),
            half: Some(Load {
                rate: rate * 0.4,
                sent: 1000,
                latency: Some(Latency {
                    p50: p99 / 2.0,
                    p99,
                    p999: p99 * 2.0,
                    max: p99 * 3.0,
                }),
                own_cpu: Some(1e6 / rate / 2.0),
                whole_cpu: Some(1e6 / rate),
                ..Load::default()
            }),
            tenth: None,
        }
    }

    fn row(name: &str, work: &str, by: By, rates: [f64; 3], p99: f64) -> Row {
        Row {
            name: name.to_owned(),
            work: work.to_owned(),
            by,
            turns: rates.map(|rate| turn(rate, p99)).into(),
        }
    }

    /// A small run: corex is half as fast as the bare loop and eight times as fast as Kamailio.
    pub fn sample() -> Run {
        Run {
            schema: SCHEMA,
            command: "cargo xtask bench --json run.json".to_owned(),
            machine: Machine {
                date: "2026-11-30T12:00:00Z".to_owned(),
                commit: "0123abc".to_owned(),
                processor: "a processor".to_owned(),
                cpus: 2,
                kernel: "6.18".to_owned(),
                kamailio: "5.6.3".to_owned(),
                load: 0.25,
            },
            settings: Settings {
                turns: 3,
                seconds: 0.3,
                window: 512,
                size: 380,
                steps: 6,
            },
            rows: vec![
                row(
                    "bare AF_XDP loop",
                    "limit",
                    By::Bare,
                    [400e3, 800e3, 400e3],
                    20.0,
                ),
                row(
                    "corex send, AF_XDP",
                    "send",
                    By::Corex,
                    [200e3, 400e3, 200e3],
                    40.0,
                ),
                row(
                    "Kamailio send",
                    "send",
                    By::Kamailio,
                    [25e3, 50e3, 25e3],
                    160.0,
                ),
            ],
            foreign: vec![Foreign {
                name: "RTP".to_owned(),
                nanoseconds: vec![40.0, 44.0, 42.0],
            }],
            growth: vec![Series {
                name: "listeners".to_owned(),
                points: vec![
                    Point {
                        x: 1,
                        rates: vec![200e3, 400e3],
                    },
                    Point {
                        x: 40,
                        rates: vec![100e3, 200e3],
                    },
                ],
            }],
        }
    }

    /// Two minutes of corex with one hiccup.
    pub fn hiccups() -> Hiccups {
        let endured = |name: &str, hiccups| Endured {
            name: name.to_owned(),
            seconds: 120.0,
            sent: 1000,
            hiccups,
            ..Endured::default()
        };
        Hiccups {
            schema: SCHEMA,
            command: "cargo xtask bench hiccups --json hiccups.json".to_owned(),
            machine: Machine::default(),
            rate: 100_000,
            commands: 600,
            reloads: 40,
            devices: vec![endured(LIMIT_AF_XDP, 0), endured("corex send, AF_XDP", 1)],
        }
    }

    /// One attack on two devices.
    pub fn attacks() -> Attacks {
        let attacked = |device: &str, completed| Attacked {
            device: device.to_owned(),
            attack: "forged sources".to_owned(),
            seconds: 20.0,
            offered: 1_000_000,
            calls: 100,
            completed,
            ..Attacked::default()
        };
        Attacks {
            schema: SCHEMA,
            command: "cargo xtask bench guard --json guard.json".to_owned(),
            machine: Machine::default(),
            rows: vec![attacked("corex", 100), attacked("Kamailio, pike", 3)],
        }
    }

    #[test]
    fn results_are_read_as_they_were_written() {
        let folder = corex_lab::WorkDir::new().unwrap();
        let path = folder.join("new/run.json");
        let run = sample();
        run.write(&path).unwrap();
        assert_eq!(Run::read(&path).unwrap(), run);
        let hiccups = hiccups();
        hiccups.write(&path).unwrap();
        assert_eq!(Hiccups::read(&path).unwrap(), hiccups);
        assert!(Run::read(&path).is_err());
        let attacks = attacks();
        attacks.write(&path).unwrap();
        assert_eq!(Attacks::read(&path).unwrap(), attacks);
    }

    #[test]
    fn a_file_of_another_schema_or_none_at_all_is_refused_with_the_remedy() {
        let mut run = sample();
        run.schema = SCHEMA + 1;
        let folder = corex_lab::WorkDir::new().unwrap();
        let path = folder.join("run.json");
        run.write(&path).unwrap();
        let newer = format!("{:#}", Run::read(&path).unwrap_err());
        assert!(
            newer.contains("its schema is 2, not 1") && newer.contains("--json"),
            "{newer}"
        );
        fs::write(&path, "{}").unwrap();
        assert!(Run::read(&path).is_err());
        assert!(Run::read(&folder.join("absent.json")).is_err());
    }
}
