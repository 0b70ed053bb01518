//! `$xavp()`: values with fields, which live as long as the message is handled, as AVPs do.

use std::ops::Range;

use super::exec::ScriptError;
use super::store::{MAX_AVPS, MAX_BYTES};

/// What is stored under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// An integer.
    Int(i64),
    /// A string.
    Str(Box<[u8]>),
    /// Fields, from the oldest to the newest.
    Fields(Vec<Entry>),
}

/// A name and what is stored under it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    name: Box<[u8]>,
    pub content: Content,
}

impl Entry {
    fn new(name: &[u8], content: Content) -> Entry {
        Entry {
            name: name.into(),
            content,
        }
    }

    fn bytes(&self) -> usize {
        self.name.len()
            + match &self.content {
                Content::Int(_) => 0,
                Content::Str(text) => text.len(),
                Content::Fields(fields) => fields.iter().map(Entry::bytes).sum(),
            }
    }

    fn count(&self) -> usize {
        match &self.content {
            Content::Fields(fields) => 1 + fields.len(),
            Content::Int(_) | Content::Str(_) => 1,
        }
    }
}

/// Which of the values of one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// Counted from the newest, 0; or from the oldest, -1.
    At(i64),
    /// `[*]`.
    All,
}

/// A name, with an index or without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key<'a> {
    pub name: &'a [u8],
    pub which: Option<Which>,
}

impl<'a> Key<'a> {
    /// Reads `name` or `name[index]`.
    fn parse(text: &'a [u8]) -> Option<Key<'a>> {
        let text = text.trim_ascii();
        let (name, which) = match text.iter().position(|byte| *byte == b'[') {
            None => (text, None),
            Some(at) => {
                let inner = text.get(at + 1..)?.strip_suffix(b"]")?.trim_ascii();
                let which = match inner {
                    b"*" => Which::All,
                    digits => Which::At(std::str::from_utf8(digits).ok()?.parse().ok()?),
                };
                (text.get(..at)?.trim_ascii_end(), Some(which))
            }
        };
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        (!name.is_empty() && name.iter().all(fits)).then_some(Key { name, which })
    }
}

/// What stands in the parentheses: `name`, `name[i]`, `name=>field`, `name[i]=>field[j]`.
pub(crate) fn parse(text: &[u8]) -> Option<(Key<'_>, Option<Key<'_>>)> {
    let arrow = text.windows(2).position(|pair| pair == b"=>");
    match arrow {
        None => Some((Key::parse(text)?, None)),
        Some(at) => {
            let (name, field) = (text.get(..at)?, text.get(at + 2..)?);
            Some((Key::parse(name)?, Some(Key::parse(field)?)))
        }
    }
}

/// The place in a list of the value that an index means.
fn place(list: &[Entry], name: &[u8], at: i64) -> Option<usize> {
    let mut of_name = list.iter().enumerate().filter(|(_, it)| *it.name == *name);
    let found = match usize::try_from(at) {
        Ok(at) => of_name.rev().nth(at),
        Err(_) => of_name.nth(usize::try_from(at.unsigned_abs()).ok()?.checked_sub(1)?),
    };
    found.map(|(place, _)| place)
}

/// The places that a key means: the newest without an index.
fn places(list: &[Entry], key: &Key<'_>) -> Range<usize> {
    let at = match key.which {
        None => 0,
        Some(Which::At(at)) => at,
        Some(Which::All) => return 0..list.len(),
    };
    place(list, key.name, at).map_or(0..0, |place| place..place + 1)
}

/// Takes away what a key means.
fn remove(list: &mut Vec<Entry>, key: &Key<'_>) {
    let places = places(list, key);
    let mut at = 0;
    list.retain(|entry| {
        let is_meant = places.contains(&at) && *entry.name == *key.name;
        at += 1;
        !is_meant
    });
}

/// Adds a value on top of those of its name, or replaces the one that the key's index means, if there
/// is one.
fn put(list: &mut Vec<Entry>, key: &Key<'_>, content: Content) {
    match key.which {
        None => list.push(Entry::new(key.name, content)),
        Some(Which::All) => {}
        Some(Which::At(at)) => {
            let found = place(list, key.name, at).and_then(|place| list.get_mut(place));
            if let Some(entry) = found {
                entry.content = content;
            }
        }
    }
}

/// All of one message.
#[derive(Clone, Default, Debug)]
pub(crate) struct Xavps {
    /// From the oldest to the newest.
    list: Vec<Entry>,
}

impl Xavps {
    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// The value that the keys mean.
    pub fn get(&self, key: &Key<'_>, field: Option<&Key<'_>>) -> Option<&Content> {
        let at = |key: &Key<'_>| match key.which {
            None | Some(Which::All) => 0,
            Some(Which::At(at)) => at,
        };
        let entry = self.list.get(place(&self.list, key.name, at(key))?)?;
        let Some(field) = field else {
            return Some(&entry.content);
        };
        let Content::Fields(fields) = &entry.content else {
            return None;
        };
        Some(&fields.get(place(fields, field.name, at(field))?)?.content)
    }

    /// All values of a field, the newest first.
    pub fn fields(&self, key: &Key<'_>, field: &[u8]) -> Vec<&Content> {
        let Some(Content::Fields(fields)) = self.get(key, None) else {
            return Vec::new();
        };
        let of_name = fields.iter().rev().filter(|it| *it.name == *field);
        of_name.map(|it| &it.content).collect()
    }

    /// Stores a value; `None` takes away what the keys mean. As Kamailio: a field of a name without an
    /// index begins a new value of that name, of one with an index it is added to the value there is.
    ///
    /// # Errors
    /// When there are too many, or they take too much.
    pub fn set(
        &mut self,
        key: &Key<'_>,
        field: Option<&Key<'_>>,
        content: Option<Content>,
    ) -> Result<(), ScriptError> {
        let Some(content) = content else {
            match field {
                None => remove(&mut self.list, key),
                Some(field) => {
                    let places = places(&self.list, key);
                    for entry in self.list.get_mut(places).unwrap_or_default() {
                        if let Content::Fields(fields) = &mut entry.content
                            && *entry.name == *key.name
                        {
                            remove(fields, field);
                        }
                    }
                }
            }
            return Ok(());
        };
        let added = Entry::new(field.map_or(key.name, |field| field.name), content.clone());
        let count: usize = self.list.iter().map(Entry::count).sum();
        if count + 2 > MAX_AVPS {
            return Err(ScriptError::TooManyAvps);
        }
        let bytes: usize = self.list.iter().map(Entry::bytes).sum();
        if bytes + added.bytes() + key.name.len() > MAX_BYTES {
            return Err(ScriptError::Memory);
        }
        match (field, key.which) {
            (None, _) => put(&mut self.list, key, content),
            (Some(_), None) => {
                self.list
                    .push(Entry::new(key.name, Content::Fields(vec![added])));
            }
            (Some(_), Some(Which::All)) => {}
            (Some(field), Some(Which::At(at))) => {
                let found = place(&self.list, key.name, at);
                let entry = found.and_then(|place| self.list.get_mut(place));
                if let Some(Content::Fields(fields)) = entry.map(|entry| &mut entry.content) {
                    put(fields, field, content);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(all: &mut Xavps, name: &str, value: Option<i64>) {
        let (key, field) = parse(name.as_bytes()).unwrap();
        all.set(&key, field.as_ref(), value.map(Content::Int))
            .unwrap();
    }

    fn get(all: &Xavps, name: &str) -> Option<i64> {
        let (key, field) = parse(name.as_bytes()).unwrap();
        match all.get(&key, field.as_ref())? {
            Content::Int(number) => Some(*number),
            _ => None,
        }
    }

    #[test]
    fn names_have_indices_and_fields() {
        for good in [
            "a",
            "a[0]",
            "a[-1]",
            "a[*]",
            "a=>b",
            "a[0]=>b[1]",
            " a => b ",
            "a-b.c_d",
        ] {
            assert!(parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "", "a=>", "=>b", "a[", "a[]", "a[x]", "a]b", "a b", "a[0]b", "a=>b=>c",
        ] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn values_lie_on_top_of_each_other() {
        let mut all = Xavps::default();
        set(&mut all, "a", Some(1));
        set(&mut all, "a", Some(2));
        set(&mut all, "b", Some(3));
        let read = |all: &Xavps| ["a", "a[1]", "a[-1]", "a[2]"].map(|name| get(all, name));
        assert_eq!(read(&all), [Some(2), Some(1), Some(1), None]);
        set(&mut all, "a[1]", Some(9));
        assert_eq!(read(&all), [Some(2), Some(9), Some(9), None]);
        set(&mut all, "a[5]", Some(8));
        set(&mut all, "a", None);
        assert_eq!(read(&all), [Some(9), None, Some(9), None]);
        set(&mut all, "a", Some(1));
        set(&mut all, "a[*]", None);
        assert_eq!(read(&all), [None; 4]);
        assert_eq!(get(&all, "b"), Some(3));
    }

    #[test]
    fn fields_belong_to_their_value() {
        let mut all = Xavps::default();
        set(&mut all, "a=>x", Some(1));
        set(&mut all, "a[0]=>y", Some(2));
        set(&mut all, "a=>x", Some(3));
        assert_eq!(get(&all, "a=>x"), Some(3));
        assert_eq!(get(&all, "a=>y"), None);
        assert_eq!(get(&all, "a[1]=>y"), Some(2));
        set(&mut all, "a[1]=>x[0]", Some(7));
        assert_eq!(get(&all, "a[-1]=>x"), Some(7));
        set(&mut all, "a[9]=>x", Some(7));
        set(&mut all, "a[*]=>x", None);
        assert_eq!((get(&all, "a=>x"), get(&all, "a[1]=>x")), (None, None));
        assert_eq!(get(&all, "a[1]=>y"), Some(2));
    }

    #[test]
    fn there_is_a_bound() {
        let mut all = Xavps::default();
        let (key, _) = parse(b"a").unwrap();
        let stored = (0..2 * MAX_AVPS)
            .take_while(|_| all.set(&key, None, Some(Content::Int(1))).is_ok())
            .count();
        assert!(stored < MAX_AVPS && stored > MAX_AVPS - 3, "{stored}");
        all.clear();
        let text = Content::Str(vec![0; MAX_BYTES].into());
        assert_eq!(all.set(&key, None, Some(text)), Err(ScriptError::Memory));
    }
}
