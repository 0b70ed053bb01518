//! What names, numbers and headers are made of.

pub(super) use crate::random::Random;

impl Random {
    fn text(&mut self, alphabet: &str, len: usize) -> String {
        let letters = alphabet.as_bytes();
        (0..len).map(|_| char::from(self.pick(letters))).collect()
    }

    pub fn hex(&mut self, len: usize) -> String {
        self.text("0123456789abcdef", len)
    }

    pub fn upper_hex(&mut self, len: usize) -> String {
        self.text("0123456789ABCDEF", len)
    }

    pub fn digits(&mut self, len: usize) -> String {
        self.text("0123456789", len)
    }

    /// Letters and digits.
    pub fn word(&mut self, len: usize) -> String {
        const ALL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        self.text(ALL, len)
    }

    pub fn lower(&mut self, len: usize) -> String {
        self.text("abcdefghijklmnopqrstuvwxyz0123456789", len)
    }

    pub fn uuid(&mut self) -> String {
        let parts = [8, 4, 4, 4, 12].map(|len| self.hex(len));
        parts.join("-")
    }

    /// Base64 of so many characters, which are a multiple of 4 with the padding.
    pub fn base64(&mut self, len: usize) -> String {
        const ALL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        self.text(ALL, len)
    }

    pub fn private_ip(&mut self) -> String {
        let (a, b) = (self.below(256), self.between(1, 255));
        match self.below(4) {
            0 => format!("10.{}.{a}.{b}", self.below(256)),
            1 => format!("172.{}.{a}.{b}", self.between(16, 32)),
            _ => format!("192.168.{a}.{b}"),
        }
    }

    pub fn ip(&mut self) -> String {
        let parts = [
            self.between(23, 223),
            self.below(256),
            self.below(256),
            self.between(1, 255),
        ];
        parts.map(|part| part.to_string()).join(".")
    }

    pub fn port(&mut self) -> u64 {
        match self.below(3) {
            0 => 5060,
            1 => self.between(1024, 65_000),
            _ => self.between(5060, 5090),
        }
    }

    /// `address`, or `address:port`.
    pub fn socket(&mut self) -> String {
        let ip = if self.once_in(2) {
            self.ip()
        } else {
            self.private_ip()
        };
        format!("{ip}:{}", self.port())
    }

    fn syllables(&mut self, least: u64, most: u64) -> String {
        const ALL: &[&str] = &[
            "ka", "lo", "mir", "ten", "vo", "sal", "ber", "ni", "dor", "ex", "ul", "fa", "rim",
            "go", "zen", "pi", "hal", "qua", "bo", "wyn", "ri", "tor", "ne", "ma", "sk", "or",
            "li", "den",
        ];
        (0..self.between(least, most + 1))
            .map(|_| self.pick(ALL))
            .collect()
    }

    pub fn domain(&mut self) -> String {
        let name = self.syllables(2, 4);
        let top = self.pick(&[
            ".com", ".net", ".org", ".de", ".co.uk", ".fr", ".it", ".io", ".local",
        ]);
        let sub = self.pick(&["", "", "sip.", "voip.", "pbx.", "proxy.", "ims.", "sbc."]);
        format!("{sub}{name}{top}")
    }

    /// The host that users are at: a name, or an address.
    pub fn realm(&mut self) -> String {
        match self.below(3) {
            0 => self.ip(),
            _ => self.domain(),
        }
    }

    pub fn number(&mut self) -> String {
        match self.below(5) {
            0 => format!("+1{}", self.digits(10)),
            1 => format!("+49{}", self.digits(10)),
            2 => format!("+44{}", self.digits(10)),
            3 => {
                let len = self.between(8, 12) as usize;
                format!("0{}", self.digits(len))
            }
            _ => format!("+{}", self.digits(11)),
        }
    }

    /// What stands before the @.
    pub fn user(&mut self) -> String {
        match self.below(5) {
            0 | 1 => {
                let len = self.between(3, 5) as usize;
                self.digits(len)
            }
            2 | 3 => self.number(),
            _ => self.syllables(2, 3),
        }
    }

    pub fn display(&mut self) -> String {
        let name = |random: &mut Self| {
            let text = random.syllables(2, 3);
            let mut letters = text.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        };
        match self.below(3) {
            0 => name(self),
            1 => format!("{} {}", name(self), name(self)),
            _ => self.number(),
        }
    }

    pub fn branch(&mut self) -> String {
        let token = match self.below(6) {
            0 => format!("-{}-{}---{}", self.digits(6), self.below(9), self.hex(16)),
            1 => self.hex(8),
            2 => format!("PjX.{}", self.word(32)).replacen('X', "", 1),
            3 => format!("{}.{}.0", self.hex(4), self.hex(32)),
            4 => self.digits(10),
            _ => self.word(13),
        };
        format!("z9hG4bK{token}")
    }

    pub fn tag(&mut self) -> String {
        match self.below(6) {
            0 => self.digits(10),
            1 => self.hex(8),
            2 => format!("as{}", self.hex(8)),
            3 => self.word(13),
            4 => self.uuid(),
            _ => self.lower(10),
        }
    }

    pub fn call_id(&mut self) -> String {
        match self.below(6) {
            0 => format!(
                "{}_{}@{}",
                self.below(2),
                self.digits(10),
                self.private_ip()
            ),
            1 => self.uuid(),
            2 => format!("{}@{}:5060", self.hex(32), self.ip()),
            3 => self.word(32),
            4 => format!("{}-{}@{}", self.hex(8), self.hex(8), self.private_ip()),
            _ => format!("{}.{}@{}", self.digits(10), self.digits(5), self.domain()),
        }
    }
}
