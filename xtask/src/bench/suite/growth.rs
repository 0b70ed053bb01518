//! How the sustained rate changes with what a site has many of: corex's send by AF_XDP, where one
//! thing after the other grows.

use anyhow::{Context as _, Result, ensure};

use crate::bench::{
    generator::Generator,
    lab::{Lab, Reader},
    protocol::{Order, Traffic},
    results::{Point, Series, Settings},
};

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Bytes of a message.
    Size,
    /// Addresses that messages come from.
    Peers,
    /// Listen sockets.
    Listeners,
    /// Hosts that are `myself`, which the script asks for.
    Aliases,
    /// Queues of the interface, all served by one worker; messages come by one of them.
    Queues,
    /// Workers that share what comes by one queue, on the CPUs of device and generator.
    Workers,
}

const SERIES: [(What, &str, &[u64]); 6] = [
    (What::Size, "message size in bytes", &[380, 700, 1100, 1400]),
    (What::Peers, "peers", &[1, 100, 1_000, 10_000]),
    (What::Listeners, "listeners", &[1, 10, 40]),
    (What::Aliases, "aliases", &[1, 1_000, 100_000]),
    (What::Queues, "queues of one worker", &[1, 2, 4]),
    (What::Workers, "workers for one source, gzip hook", &[1, 2]),
];

/// Queues of the interface where workers share a source.
const WORKERS: u32 = 2;

/// Empty series, to be filled turn by turn: those with `filter` in their name.
pub fn series(filter: &str) -> Vec<Series> {
    let point = |x: &u64| Point {
        x: *x,
        rates: Vec::new(),
    };
    SERIES
        .iter()
        .filter(|(_, name, _)| name.contains(filter))
        .map(|(_, name, points)| Series {
            name: (*name).to_owned(),
            points: points.iter().map(point).collect(),
        })
        .collect()
}

/// Measures each point once. Says which before.
///
/// # Errors
/// corex doesn't start, or nothing comes back.
pub fn turn(
    lab: &Lab,
    udp: &mut Generator,
    settings: &Settings,
    series: &mut [Series],
    mut say: impl FnMut(&str),
) -> Result<()> {
    for series in series {
        let kind = SERIES.iter().find(|(_, name, _)| *name == series.name);
        let (what, ..) = kind.context("a series of this program")?;
        for point in &mut series.points {
            say(&format!("{}: {}", series.name, point.x));
            let rate = match what {
                What::Queues => {
                    let lab = Lab::new(lab.programs.clone(), point.x as u32)?;
                    let mut udp = lab.udp_generator()?;
                    measure(&lab, &mut udp, settings, *what, point.x)
                }
                What::Workers => {
                    let lab = Lab::new(lab.programs.clone(), WORKERS)?;
                    let mut udp = lab.modest_udp_generator()?;
                    measure(&lab, &mut udp, settings, *what, point.x)
                }
                _ => measure(lab, udp, settings, *what, point.x),
            };
            let rate = rate.with_context(|| format!("{}: {}", series.name, point.x))?;
            point.rates.push(rate);
        }
    }
    Ok(())
}

fn measure(lab: &Lab, udp: &mut Generator, settings: &Settings, what: What, x: u64) -> Result<f64> {
    let name = match what {
        What::Workers => "gzip",
        _ => "send",
    };
    let text = with(&lab.configuration(name, Reader::Corex)?, what, x);
    let corex = match what {
        What::Workers => lab.corex_of("growth", &text, x)?,
        _ => lab.corex("growth", &text, "xdp")?,
    };
    lab.place()?;
    let plain = settings.sustained(Traffic::Options);
    let order = match what {
        What::Size => Order {
            size: x as usize,
            ..plain
        },
        What::Peers => Order { peers: x, ..plain },
        _ => plain,
    };
    udp.measure(&Order {
        seconds: settings.warm_up(),
        ..order
    })?;
    let outcome = udp.measure(&order)?;
    ensure!(outcome.returned > 0, "nothing came back: {}", corex.log());
    corex.stop()?;
    Ok(outcome.returned as f64 / outcome.seconds)
}

/// The configuration with so many of what grows.
fn with(text: &str, what: What, x: u64) -> String {
    let lines = |from: u64, line: fn(u64) -> String| (from..x).map(line).collect::<String>();
    match what {
        What::Size | What::Peers | What::Queues => text.to_owned(),
        What::Workers => text.replace(
            "request_route {",
            "modparam(\"corex\", \"shard\", \"on\")\nrequest_route {",
        ),
        What::Listeners => lines(1, |n| format!("listen=udp:10.77.0.1:{}\n", 6000 + n)) + text,
        What::Aliases => {
            let asked = text.replace(
                "request_route {",
                "request_route {\n    if (uri != myself) exit;",
            );
            lines(0, |n| format!("alias=host{n}.example.org\n")) + &asked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_as_many_as_are_asked_for() {
        let text = "listen=udp:10.77.0.1:5060\nrequest_route {\n}\n";
        for x in [1, 40] {
            let listeners = with(text, What::Listeners, x);
            assert_eq!(listeners.matches("listen=").count() as u64, x);
            let aliases = with(text, What::Aliases, x);
            assert_eq!(aliases.matches("alias=").count() as u64, x);
            assert!(aliases.contains("myself"));
        }
        assert_eq!(with(text, What::Size, 1400), text);
        assert!(with(text, What::Workers, 2).contains("\"shard\", \"on\""));
    }
}
