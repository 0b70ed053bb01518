//! Values of the language: small handles, so that evaluating copies and allocates nothing.

/// Where the bytes of a string lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The program's constant pool.
    Pool,
    /// The constants of what was compiled while messages were handled.
    ByName,
    /// The message that the script runs on.
    Message,
    /// The arena of the current run: results of expressions, changed parts of the message.
    Arena,
    /// The store of AVPs.
    Avp,
    /// A `$var()`.
    Var(u16),
}

/// A string: where its bytes lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StrRef {
    /// In which of the stores.
    pub source: Source,
    /// Offset of the first byte there.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

impl StrRef {
    /// The empty string.
    pub const EMPTY: StrRef = StrRef {
        source: Source::Pool,
        offset: 0,
        len: 0,
    };

    /// The bytes in the store that they lie in; empty if they don't.
    pub fn of(self, store: &[u8]) -> &[u8] {
        let start = self.offset as usize;
        store
            .get(start..start.saturating_add(self.len as usize))
            .unwrap_or_default()
    }
}

/// What an expression yields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// `$null`: no value.
    Null,
    /// An integer.
    Int(i64),
    /// A string of any bytes.
    Str(StrRef),
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Int(i64::from(truth))
    }
}

/// A string as an integer, as Kamailio reads it: a sign, then decimal digits or `0x` and
/// hexadecimal ones. `None` for anything else; the empty string is 0.
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return text.is_empty().then_some(0);
    }
    let (radix, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] if !rest.is_empty() => (16, rest),
        rest => (10, rest),
    };
    let mut number: i64 = 0;
    for byte in digits {
        let digit = char::from(*byte).to_digit(radix)?;
        number = number.checked_mul(i64::from(radix))?;
        number = if negative {
            number.checked_sub(i64::from(digit))?
        } else {
            number.checked_add(i64::from(digit))?
        };
    }
    Some(number)
}

/// The most characters that an integer has in decimal.
const DECIMAL_LEN: usize = 20;

/// An integer in decimal, without allocation.
pub struct Decimal {
    digits: [u8; DECIMAL_LEN],
    start: usize,
}

impl Decimal {
    pub fn new(number: i64) -> Decimal {
        let mut digits = [b'0'; DECIMAL_LEN];
        let mut start = DECIMAL_LEN;
        let mut rest = number.unsigned_abs();
        for (at, place) in digits.iter_mut().enumerate().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
            start = at;
            if rest == 0 {
                break;
            }
        }
        if number < 0 && start > 0 {
            start -= 1;
            if let Some(place) = digits.get_mut(start) {
                *place = b'-';
            }
        }
        Decimal { digits, start }
    }

    pub fn bytes(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decimal_text_reads_back_as_the_same_integer(number: i64) {
            let text = Decimal::new(number);
            prop_assert_eq!(text.bytes().to_vec(), number.to_string().into_bytes());
            prop_assert_eq!(integer(text.bytes()), Some(number));
        }
    }

    #[test]
    fn text_that_is_no_number_is_none_and_empty_text_is_zero() {
        assert_eq!(integer(b""), Some(0));
        assert_eq!(integer(b"0x1F"), Some(31));
        for bad in [&b"-"[..], b"12a", b"0x", b" 1", b"99999999999999999999"] {
            assert_eq!(integer(bad), None, "{bad:?}");
        }
    }
}
