//! Numbers as people read them, in few columns.

use std::time::Duration;

/// A count or a rate in at most six columns: `0`, `7.5`, `950`, `12.3k`, `4.56M`.
pub fn amount(value: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    if value < 9_999.5 {
        let is_whole = (value - value.round()).abs() < 0.05;
        return if is_whole || value >= 99.95 {
            format!("{value:.0}")
        } else {
            format!("{value:.1}")
        };
    }
    let unit = UNITS
        .into_iter()
        .find(|(unit, _)| value >= *unit * 0.99995)
        .unwrap_or((1.0, ""));
    three_digits(value / unit.0) + unit.1
}

/// A number with three digits, or as many as it has before the point.
fn three_digits(value: f64) -> String {
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}")
}

/// A time in nanoseconds in at most six columns: `500ns`, `64.0us`, `2.05ms`, `1.02s`.
pub fn time(nanos: u64) -> String {
    let nanos = nanos as f64;
    if nanos < 1e3 {
        return format!("{nanos}ns");
    }
    let (unit, name) = if nanos < 1e6 {
        (1e3, "us")
    } else if nanos < 1e9 {
        (1e6, "ms")
    } else {
        (1e9, "s")
    };
    three_digits(nanos / unit) + name
}

/// A span of time: `1:02:03`, with days in front where there are any: `3d 1:02:03`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let clock = format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    if days > 0 {
        format!("{days}d {clock}")
    } else {
        clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_take_six_columns_at_most() {
        for (value, expected) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (7.0, "7"),
            (99.94, "99.9"),
            (99.96, "100"),
            (9_999.4, "9999"),
            (9_999.6, "10.0k"),
            (12_345.0, "12.3k"),
            (999_949.0, "1000k"),
            (999_960.0, "1.00M"),
            (4_560_000.0, "4.56M"),
            (7.2e10, "72.0G"),
        ] {
            assert_eq!(amount(value), expected);
        }
        let mut value = 0.01;
        while value < 1e15 {
            assert!(amount(value).len() <= 6, "{value}");
            value *= 1.07;
        }
    }

    #[test]
    fn times_take_six_columns_at_most() {
        for (nanos, expected) in [
            (500, "500ns"),
            (1_000, "1.00us"),
            (64_000, "64.0us"),
            (512_000, "512us"),
            (2_048_000, "2.05ms"),
            (1_024_000_000, "1.02s"),
        ] {
            assert_eq!(time(nanos), expected);
        }
    }

    #[test]
    fn spans_are_read_like_a_clock() {
        assert_eq!(span(Duration::from_secs(59)), "0:00:59");
        assert_eq!(span(Duration::from_secs(3_723)), "1:02:03");
        assert_eq!(span(Duration::from_secs(262_923)), "3d 1:02:03");
    }
}
