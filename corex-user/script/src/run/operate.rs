//! Operators between two values.

use std::net::IpAddr;

use super::exec::{Exec, Halt, ScriptError};
use crate::run::node::Binary;
use crate::run::value::{StrRef, Value};

impl Exec<'_> {
    /// Applies an operator. The type of the left operand decides what `==`, `!=` and `+` do.
    pub(super) fn binary(&mut self, op: Binary, left: Value, right: Value) -> Result<Value, Halt> {
        match op {
            Binary::Equal => return Ok(self.equal(left, right).into()),
            Binary::NotEqual => return Ok((!self.equal(left, right)).into()),
            Binary::StrEqual | Binary::StrNotEqual => {
                let left = self.rt.store.string(left)?;
                let right = self.rt.store.string(right)?;
                let equal = self.bytes(left) == self.bytes(right);
                return Ok((equal == (op == Binary::StrEqual)).into());
            }
            Binary::Add => match (left, right) {
                (Value::Str(_), _) | (Value::Null, Value::Str(_)) => {
                    return self.join(left, right);
                }
                _ => {}
            },
            _ => {}
        }
        let (left, right) = (self.to_int(left), self.to_int(right));
        Ok(match op {
            Binary::BitOr => Value::Int(left | right),
            Binary::BitAnd => Value::Int(left & right),
            Binary::BitXor => Value::Int(left ^ right),
            Binary::ShiftLeft => Value::Int(shift(left, right, i64::checked_shl)),
            Binary::ShiftRight => Value::Int(shift(left, right, i64::checked_shr)),
            Binary::IntEqual => (left == right).into(),
            Binary::IntNotEqual => (left != right).into(),
            Binary::Less => (left < right).into(),
            Binary::LessEqual => (left <= right).into(),
            Binary::Greater => (left > right).into(),
            Binary::GreaterEqual => (left >= right).into(),
            Binary::Add => Value::Int(left.wrapping_add(right)),
            Binary::Sub => Value::Int(left.wrapping_sub(right)),
            Binary::Mul => Value::Int(left.wrapping_mul(right)),
            Binary::Div | Binary::Mod if right == 0 => {
                return Err(ScriptError::DivisionByZero.into());
            }
            Binary::Div => Value::Int(left.wrapping_div(right)),
            Binary::Mod => Value::Int(left.wrapping_rem(right)),
            Binary::Equal | Binary::NotEqual | Binary::StrEqual | Binary::StrNotEqual => {
                Value::Null
            }
        })
    }

    /// Whether two values are equal, by the type of the left one. `$null` equals only itself; a
    /// string that is no number equals no integer.
    pub(super) fn equal(&self, left: Value, right: Value) -> bool {
        match (left, right) {
            (Value::Null, Value::Null) => true,
            (Value::Null, _) | (_, Value::Null) => false,
            (Value::Int(left), right) => self.number_in(right) == Some(left),
            (Value::Str(left), Value::Str(right)) => self.bytes(left) == self.bytes(right),
            (Value::Str(left), Value::Int(right)) => {
                self.bytes(left) == crate::run::value::Decimal::new(right).bytes()
            }
        }
    }

    /// As [`Exec::number`], but the empty string is none.
    fn number_in(&self, value: Value) -> Option<i64> {
        match value {
            Value::Str(StrRef { len: 0, .. }) => None,
            _ => self.number(value),
        }
    }

    fn join(&mut self, left: Value, right: Value) -> Result<Value, Halt> {
        let left = self.rt.store.string(left)?;
        let right = self.rt.store.string(right)?;
        // `"" + $mb + ""`, as Kamailio's examples write it, costs no copy.
        if left.len == 0 {
            return Ok(Value::Str(right));
        }
        if right.len == 0 {
            return Ok(Value::Str(left));
        }
        let start = self.rt.store.mark();
        self.push(left)?;
        self.push(right)?;
        Ok(self.rt.store.since(start))
    }
}

/// A shift by more bits than there are leaves none.
fn shift(value: i64, by: i64, shift: fn(i64, u32) -> Option<i64>) -> i64 {
    u32::try_from(by)
        .ok()
        .and_then(|by| shift(value, by))
        .unwrap_or(0)
}

/// Whether an address lies in a network.
pub(super) fn in_network(ip: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let same = |a: u128, b: u128, bits: u32| {
        let differing = (a ^ b) << (128 - bits);
        prefix == 0 || differing.leading_zeros() >= u32::from(prefix)
    };
    match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}
