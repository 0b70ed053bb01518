//! `{s.ftime}`: a time as text, in the C locale and the machine's time zone.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use super::call::{Call, Sink};
use super::{Error, Output, text};

type Result<T> = std::result::Result<T, Error>;

const DAYS: [&[u8]; 7] = [
    b"Sunday",
    b"Monday",
    b"Tuesday",
    b"Wednesday",
    b"Thursday",
    b"Friday",
    b"Saturday",
];

const MONTHS: [&[u8]; 12] = [
    b"January",
    b"February",
    b"March",
    b"April",
    b"May",
    b"June",
    b"July",
    b"August",
    b"September",
    b"October",
    b"November",
    b"December",
];

/// Seconds since 1970-01-01 00:00 UTC, written by a format of strftime(3).
pub(super) fn ftime(call: &mut Call<'_>, zone: &TimeZone) -> Result<Output> {
    let format = call.argument(0)?;
    let seconds = text::integer(call.text);
    let Some(time) = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()) else {
        return Ok(Output::Null);
    };
    let time = time.to_zoned_datetime(zone.clone());
    Clock { time }.write(&mut call.out, format.bytes())?;
    Ok(Output::Appended)
}

struct Clock {
    time: ZonedDateTime,
}

/// How a number is filled up.
#[derive(Clone, Copy)]
enum Fill {
    Zero(usize),
    Space(usize),
}

impl Clock {
    fn write(&self, out: &mut Sink<'_>, format: &[u8]) -> Result<()> {
        let mut rest = format;
        while let [first, tail @ ..] = rest {
            rest = tail;
            if *first != b'%' {
                out.byte(*first)?;
                continue;
            }
            // Flags and modifiers of the GNU C library.
            let (mut flag, mut tail) = (None, tail);
            while let [byte @ (b'-' | b'_' | b'0' | b'^' | b'#'), after @ ..] = tail {
                flag = Some(*byte);
                tail = after;
            }
            if let [b'E' | b'O', after @ ..] = tail {
                tail = after;
            }
            let taken = rest.len() - tail.len();
            match tail {
                [directive, after @ ..] => {
                    let start = out.bytes().len();
                    if self.directive(out, *directive, flag)? {
                        let written = out.bytes_mut().get_mut(start..).unwrap_or_default();
                        match (flag, directive) {
                            (Some(b'#'), b'Z') => written.make_ascii_lowercase(),
                            (Some(b'^' | b'#'), _) => written.make_ascii_uppercase(),
                            _ => {}
                        }
                    } else {
                        // Nothing that is known stays as it is written.
                        out.byte(b'%')?;
                        out.push(rest.get(..taken + 1).unwrap_or_default())?;
                    }
                    rest = after;
                }
                [] => {
                    out.byte(b'%')?;
                    out.push(rest)?;
                    rest = tail;
                }
            }
        }
        Ok(())
    }

    /// Writes what a letter stands for; false if there is no such letter.
    fn directive(&self, out: &mut Sink<'_>, directive: u8, flag: Option<u8>) -> Result<bool> {
        use Fill::{Space, Zero};
        let time = &self.time;
        let (year, month, day) = (
            i64::from(time.year()),
            i64::from(time.month()),
            i64::from(time.day()),
        );
        let hour = i64::from(time.hour());
        let twelve = (hour + 11) % 12 + 1;
        let weekday = i64::from(time.weekday().to_sunday_zero_offset());
        let yearday = i64::from(time.day_of_year());
        let week = || time.date().iso_week_date();
        let name = |names: &[&'static [u8]], at: i64| {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            names.get(at).copied().unwrap_or(b"?")
        };
        let day_name = name(&DAYS, weekday);
        let month_name = name(&MONTHS, month - 1);
        let short = |name: &'static [u8]| name.get(..3).unwrap_or(name);
        let number = |out: &mut Sink<'_>, value, fill| pad(out, value, fill, flag);
        match directive {
            b'a' => out.push(short(day_name))?,
            b'A' => out.push(day_name)?,
            b'b' | b'h' => out.push(short(month_name))?,
            b'B' => out.push(month_name)?,
            b'c' => self.write(out, b"%a %b %e %H:%M:%S %Y")?,
            b'C' => number(out, year.div_euclid(100), Zero(2))?,
            b'd' => number(out, day, Zero(2))?,
            b'D' | b'x' => self.write(out, b"%m/%d/%y")?,
            b'e' => number(out, day, Space(2))?,
            b'F' => self.write(out, b"%Y-%m-%d")?,
            b'g' => number(out, i64::from(week().year()).rem_euclid(100), Zero(2))?,
            b'G' => number(out, week().year().into(), Zero(1))?,
            b'H' => number(out, hour, Zero(2))?,
            b'I' => number(out, twelve, Zero(2))?,
            b'j' => number(out, yearday, Zero(3))?,
            b'k' => number(out, hour, Space(2))?,
            b'l' => number(out, twelve, Space(2))?,
            b'm' => number(out, month, Zero(2))?,
            b'M' => number(out, time.minute().into(), Zero(2))?,
            b'n' => out.byte(b'\n')?,
            b'p' => out.push(if hour < 12 { b"AM" } else { b"PM" })?,
            b'P' => out.push(if hour < 12 { b"am" } else { b"pm" })?,
            b'r' => self.write(out, b"%I:%M:%S %p")?,
            b'R' => self.write(out, b"%H:%M")?,
            b's' => number(out, time.timestamp().as_second(), Zero(1))?,
            b'S' => number(out, time.second().into(), Zero(2))?,
            b't' => out.byte(b'\t')?,
            b'T' | b'X' => self.write(out, b"%H:%M:%S")?,
            b'u' => number(out, (weekday + 6) % 7 + 1, Zero(1))?,
            b'U' => number(out, (yearday + 6 - weekday) / 7, Zero(2))?,
            b'V' => number(out, week().week().into(), Zero(2))?,
            b'w' => number(out, weekday, Zero(1))?,
            b'W' => number(out, (yearday + 6 - (weekday + 6) % 7) / 7, Zero(2))?,
            b'y' => number(out, year.rem_euclid(100), Zero(2))?,
            b'Y' => number(out, year, Zero(1))?,
            b'z' => {
                let seconds = i64::from(time.offset().seconds());
                out.byte(if seconds < 0 { b'-' } else { b'+' })?;
                let minutes = seconds.abs() / 60;
                pad(out, minutes / 60 * 100 + minutes % 60, Zero(4), None)?;
            }
            b'Z' => {
                let info = time.time_zone().to_offset_info(time.timestamp());
                out.push(info.abbreviation().as_bytes())?;
            }
            b'%' => out.byte(b'%')?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A number at its width, which a flag changes: `-` for none, `_` for spaces, `0` for zeros.
fn pad(out: &mut Sink<'_>, value: i64, fill: Fill, flag: Option<u8>) -> Result<()> {
    let digits = crate::run::value::Decimal::new(value);
    let (Fill::Zero(width) | Fill::Space(width)) = fill;
    let filler = match (flag, fill) {
        (Some(b'-'), _) => None,
        (Some(b'_'), _) => Some(b' '),
        (Some(b'0'), _) | (_, Fill::Zero(_)) => Some(b'0'),
        (_, Fill::Space(_)) => Some(b' '),
    };
    if let Some(filler) = filler {
        for _ in digits.bytes().len()..width {
            out.byte(filler)?;
        }
    }
    out.push(digits.bytes())
}
