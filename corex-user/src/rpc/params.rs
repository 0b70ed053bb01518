//! Typed access to a request's parameters. The faults are Kamailio's.

use super::fault::Fault;
use super::value::Value;

/// The parameters of one request.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Params {
    values: Vec<Value>,
    /// Whether `"5"` will do for 5, and the other way round.
    convert: bool,
}

/// What is wrong with one parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Missing,
    Type,
}

impl Params {
    /// Parameters whose types must be the ones that a command wants.
    pub fn strict(values: Vec<Value>) -> Params {
        Params {
            values,
            convert: false,
        }
    }

    /// Parameters of which numbers and their decimal digits stand for each other.
    pub fn converting(values: Vec<Value>) -> Params {
        Params {
            values,
            convert: true,
        }
    }

    /// All parameters, in order.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The string at a place, counted from 0.
    ///
    /// # Errors
    /// 400, when it is missing or something else.
    pub fn str(&self, at: usize) -> Result<Vec<u8>, Fault> {
        self.bytes(at).map_err(|wrong| fault(at, "string", wrong))
    }

    /// As [`Params::str`]; what isn't UTF-8 in it is replaced.
    ///
    /// # Errors
    /// As [`Params::str`].
    pub fn text(&self, at: usize) -> Result<String, Fault> {
        Ok(lossy(self.str(at)?))
    }

    /// The integer at a place, counted from 0.
    ///
    /// # Errors
    /// 400, when it is missing or something else.
    pub fn int(&self, at: usize) -> Result<i64, Fault> {
        self.number(at).map_err(|wrong| fault(at, "integer", wrong))
    }

    /// The number, with a fraction or without, at a place, counted from 0.
    ///
    /// # Errors
    /// 400, when it is missing or something else.
    pub fn double(&self, at: usize) -> Result<f64, Fault> {
        match self.values.get(at) {
            Some(Value::Double(number)) => Ok(*number),
            _ => {
                let number = self.number(at);
                let number = number.map_err(|wrong| fault(at, "double", wrong))?;
                Ok(number as f64)
            }
        }
    }

    /// The string at a place, if there is one of that type.
    pub fn opt_text(&self, at: usize) -> Option<String> {
        self.bytes(at).ok().map(lossy)
    }

    /// The string at a place, if there is one of that type.
    pub fn opt_str(&self, at: usize) -> Option<Vec<u8>> {
        self.bytes(at).ok()
    }

    /// The integer at a place, if there is one of that type.
    pub fn opt_int(&self, at: usize) -> Option<i64> {
        self.number(at).ok()
    }

    fn bytes(&self, at: usize) -> Result<Vec<u8>, Wrong> {
        match self.values.get(at) {
            Some(Value::Str(text)) => Ok(text.clone()),
            Some(Value::Int(number)) if self.convert => Ok(number.to_string().into_bytes()),
            Some(Value::Double(number)) if self.convert => Ok(number.to_string().into_bytes()),
            Some(_) => Err(Wrong::Type),
            None => Err(Wrong::Missing),
        }
    }

    fn number(&self, at: usize) -> Result<i64, Wrong> {
        match self.values.get(at) {
            Some(Value::Int(number)) => Ok(*number),
            Some(Value::Str(text)) if self.convert => std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .ok_or(Wrong::Type),
            Some(_) => Err(Wrong::Type),
            None => Err(Wrong::Missing),
        }
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

fn fault(at: usize, wanted: &str, wrong: Wrong) -> Fault {
    let what = match wrong {
        Wrong::Missing => "end of packet encountered",
        Wrong::Type => "record doesn't match type",
    };
    Fault::bad(format!(
        "error at parameter {at}: expected {wanted} type but {what}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_parameters_are_kamailios() {
        let params = Params::strict(vec![Value::Int(5)]);
        let reason = |fault: Fault| fault.to_string();
        assert_eq!(
            params.str(0).map_err(reason),
            Err(
                "400 - error at parameter 0: expected string type but record doesn't match type"
                    .to_owned()
            )
        );
        assert_eq!(
            params.int(1).map_err(reason),
            Err(
                "400 - error at parameter 1: expected integer type but end of packet encountered"
                    .to_owned()
            )
        );
    }

    #[test]
    fn numbers_and_digits_stand_for_each_other_only_when_asked_to() {
        let values = vec![Value::Int(5), Value::from("-7"), Value::from("x")];
        let params = Params::converting(values.clone());
        assert_eq!(params.str(0), Ok(b"5".to_vec()));
        assert_eq!(params.int(1), Ok(-7));
        assert!(params.int(2).is_err());
        let params = Params::strict(values);
        assert!(params.str(0).is_err());
        assert_eq!(params.opt_int(1), None);
    }
}
