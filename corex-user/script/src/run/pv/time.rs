//! The clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};

use super::{Names, PvDef};
use crate::run::exec::{Exec, Halt};
use crate::run::value::{StrRef, Value};

const PARTS: Names = Names::Words(&[
    "sec", "min", "hour", "mday", "mon", "year", "wday", "yday", "isdst",
]);

#[rustfmt::skip]
pub(super) const DEFS: &[PvDef] = &[
    PvDef::plain("Ts", |_| Ok(Value::Int(now().as_secs() as i64)), "Seconds since 1970-01-01 00:00 UTC."),
    PvDef::plain("TS", |_| Ok(Value::Int(now().as_secs() as i64)), "The same as $Ts."),
    PvDef::plain("Tb", |exec| Ok(Value::Int(exec.program.started)), "Seconds since 1970-01-01 00:00 UTC when corex started."),
    PvDef::plain("Tf", |exec| format(exec, "%a %b %e %H:%M:%S %Y", local()), "Local date and time, as in \"Thu Jan  1 00:00:00 1970\"."),
    PvDef::named("TV", Names::Words(&["s", "u", "sn", "un", "Sn"]), precise, "$TV(s), $TV(u): seconds and microseconds; sn, un: the same; Sn: both with a point between."),
    PvDef::named("time", PARTS, |exec, name, _| part(exec, name, local()), "$time(part): a part of the local time: sec, min, hour, mday, mon (1 to 12), year, wday (1: Sunday), yday (from 1), isdst."),
    PvDef::named("utime", PARTS, |exec, name, _| part(exec, name, utc()), "The same of UTC."),
    PvDef::named("timef", Names::Any, |exec, name, _| { let text = text_of(exec, name); format(exec, &text, local()) }, "$timef(format): local time in strftime's format."),
    PvDef::named("utimef", Names::Any, |exec, name, _| { let text = text_of(exec, name); format(exec, &text, utc()) }, "The same of UTC."),
];

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn local() -> ZonedDateTime {
    Timestamp::now().to_zoned_datetime(TimeZone::system())
}

fn utc() -> ZonedDateTime {
    Timestamp::now().to_zoned_datetime(TimeZone::UTC)
}

fn text_of(exec: &Exec<'_>, name: StrRef) -> String {
    String::from_utf8_lossy(exec.bytes(name)).into_owned()
}

/// `$null` for a format that is none.
fn format(exec: &mut Exec<'_>, format: &str, time: ZonedDateTime) -> Result<Value, Halt> {
    match jiff::fmt::strtime::format(format, &time) {
        Ok(text) => exec.text(text.as_bytes()),
        Err(_) => Ok(Value::Null),
    }
}

fn precise(exec: &mut Exec<'_>, name: StrRef, _: i64) -> Result<Value, Halt> {
    let now = now();
    match exec.bytes(name).to_ascii_lowercase().as_slice() {
        b"s" => Ok(Value::Int(now.as_secs() as i64)),
        b"u" | b"un" => Ok(Value::Int(now.subsec_micros().into())),
        // `sn` is a number, `Sn` text.
        b"sn" if exec.bytes(name).first() == Some(&b's') => Ok(Value::Int(now.as_secs() as i64)),
        _ => exec.display(format_args!("{}.{:06}", now.as_secs(), now.subsec_micros())),
    }
}

fn part(exec: &mut Exec<'_>, name: StrRef, time: ZonedDateTime) -> Result<Value, Halt> {
    let number = match exec.bytes(name).to_ascii_lowercase().as_slice() {
        b"sec" => i64::from(time.second()),
        b"min" => i64::from(time.minute()),
        b"hour" => i64::from(time.hour()),
        b"mday" => i64::from(time.day()),
        b"mon" => i64::from(time.month()),
        b"year" => i64::from(time.year()),
        b"wday" => i64::from(time.weekday().to_sunday_one_offset()),
        b"yday" => i64::from(time.day_of_year()),
        _ => i64::from(
            time.time_zone()
                .to_offset_info(time.timestamp())
                .dst()
                .is_dst(),
        ),
    };
    Ok(Value::Int(number))
}
