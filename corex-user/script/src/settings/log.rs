//! Where logs go.

/// Where logs go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogSettings {
    /// `log_stderror`, if it is set.
    pub to_stderr: Option<bool>,
    /// `log_facility`, if it is set.
    pub facility: Option<Facility>,
    /// `log_name`, if it is set.
    pub name: Option<String>,
}

impl LogSettings {
    /// Whether logs go to the system's log: a configuration that names a facility means it.
    pub fn is_syslog(&self) -> bool {
        self.to_stderr
            .map_or(self.facility.is_some(), |to_stderr| !to_stderr)
    }

    /// The facility that lines carry.
    pub fn facility(&self) -> Facility {
        self.facility.unwrap_or(Facility::DAEMON)
    }
}

/// What of the system it comes from: RFC 5424, table 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facility(u8);

impl Facility {
    /// Kamailio's default.
    pub const DAEMON: Facility = Facility(3);

    /// The names that `log_facility` takes, and their numbers.
    const NAMES: [(&'static str, u8); 20] = [
        ("LOG_KERN", 0),
        ("LOG_USER", 1),
        ("LOG_MAIL", 2),
        ("LOG_DAEMON", 3),
        ("LOG_AUTH", 4),
        ("LOG_SYSLOG", 5),
        ("LOG_LPR", 6),
        ("LOG_NEWS", 7),
        ("LOG_UUCP", 8),
        ("LOG_CRON", 9),
        ("LOG_AUTHPRIV", 10),
        ("LOG_FTP", 11),
        ("LOG_LOCAL0", 16),
        ("LOG_LOCAL1", 17),
        ("LOG_LOCAL2", 18),
        ("LOG_LOCAL3", 19),
        ("LOG_LOCAL4", 20),
        ("LOG_LOCAL5", 21),
        ("LOG_LOCAL6", 22),
        ("LOG_LOCAL7", 23),
    ];

    /// The facility of this name, as in `LOG_LOCAL0`.
    pub fn parse(name: &str) -> Option<Facility> {
        let mut names = Facility::NAMES.into_iter();
        names.find_map(|(known, number)| (known == name).then_some(Facility(number)))
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Facility::NAMES.into_iter().map(|(name, _)| name)
    }

    /// Its number in RFC 5424, table 1.
    pub fn code(self) -> u8 {
        self.0
    }
}
