//! `;name=value` lists, of URIs and of header values.

use super::lex;

/// One parameter (RFC 3261 §25.1: uri-parameter, generic-param).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param<'a> {
    /// The name as written; names compare without regard to case.
    pub name: &'a [u8],
    /// What follows `=`, quotes included; `None` without `=`.
    pub value: Option<&'a [u8]>,
}

impl<'a> Param<'a> {
    /// The value without the quotes around it; escapes inside stay. Empty without a value.
    pub fn unquoted(&self) -> &'a [u8] {
        match self.value {
            Some([b'"', inner @ .., b'"']) => inner,
            Some(value) => value,
            None => &[],
        }
    }
}

/// A list of parameters, with or without the semicolon at its start. Iterates in order;
/// empty elements (`;;`) are skipped.
#[derive(Clone, Copy, Default, Debug)]
pub struct Params<'a> {
    text: &'a [u8],
}

impl<'a> Params<'a> {
    /// Views `text` as a parameter list.
    pub const fn new(text: &'a [u8]) -> Self {
        Self { text }
    }

    /// The list as written, from its first semicolon on.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.text
    }

    /// The first parameter of this name, in any case.
    pub fn get(&self, name: &[u8]) -> Option<Param<'a>> {
        self.into_iter().find(|p| p.name.eq_ignore_ascii_case(name))
    }

    /// The first parameter of each of these names, in any case, by one pass over the list.
    pub fn first<const N: usize>(&self, names: [&[u8]; N]) -> [Option<Param<'a>>; N] {
        let mut found = [None; N];
        for param in *self {
            for (place, name) in found.iter_mut().zip(names) {
                if place.is_none() && param.name.eq_ignore_ascii_case(name) {
                    *place = Some(param);
                }
            }
        }
        found
    }

    /// The unquoted values of the first parameters of these names; `None` in place of one that isn't
    /// there or has no value.
    pub fn values<const N: usize>(&self, names: [&[u8]; N]) -> [Option<&'a [u8]>; N] {
        let value = |param: Param<'a>| param.value.map(|_| param.unquoted());
        self.first(names).map(|param| param.and_then(value))
    }

    /// The unquoted value of the first parameter of this name; `None` if there is no such
    /// parameter or it has no value.
    pub fn value(&self, name: &[u8]) -> Option<&'a [u8]> {
        let param = self.get(name)?;
        param.value.map(|_| param.unquoted())
    }
}

impl<'a> IntoIterator for Params<'a> {
    type Item = Param<'a>;
    type IntoIter = ParamIter<'a>;

    fn into_iter(self) -> ParamIter<'a> {
        ParamIter { rest: self.text }
    }
}

/// Iterator over [`Params`].
#[derive(Clone, Debug)]
pub struct ParamIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for ParamIter<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        while !self.rest.is_empty() {
            let end = lex::find_outside(self.rest, b';').unwrap_or(self.rest.len());
            let (element, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            let (name, value) = lex::split_before(element, |b| b == b'=');
            let name = lex::trim(name);
            if !name.is_empty() {
                let value = value.get(1..).map(lex::trim);
                return Some(Param { name, value });
            }
        }
        None
    }
}
