//! Numbers and addresses as text. A message has many of them, and formatting by `write!` takes several
//! times as long.

use std::io::Write as _;
use std::net::IpAddr;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The 16 hexadecimal digits of a number.
pub(super) fn hex(number: u64) -> [u8; 16] {
    std::array::from_fn(|at| HEX[(number >> (60 - 4 * at)) as usize & 15])
}

/// Appends a number in decimal digits.
pub(super) fn write_decimal(mut number: u32, out: &mut Vec<u8>) {
    // As many as the largest one has.
    let mut digits = [0; 10];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Appends an address without brackets.
pub(super) fn write_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                write_decimal(octet.into(), out);
            }
        }
        IpAddr::V6(ip) => {
            // Writing to memory can't fail.
            let _ = write!(out, "{ip}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_are_what_formatting_makes(number: u32, long: u64, ip: IpAddr) {
            let written = |write: &dyn Fn(&mut Vec<u8>)| {
                let mut out = Vec::new();
                write(&mut out);
                String::from_utf8(out).unwrap()
            };
            for number in [number, number % 1000, 0, u32::MAX] {
                prop_assert_eq!(written(&|out| write_decimal(number, out)), number.to_string());
            }
            prop_assert_eq!(written(&|out| write_ip(ip, out)), ip.to_string());
            prop_assert_eq!(written(&|out| out.extend(hex(long))), format!("{long:016x}"));
        }
    }
}
