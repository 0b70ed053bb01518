//! What a run keeps: AVPs, `$var()` and the arena, in buffers that are used again and again.

use crate::run::exec::ScriptError;
use crate::run::node::{AvpId, VarId};
use crate::run::value::{Decimal, Source, StrRef, Value};

/// The most bytes that one message's scripts may keep in the arena, and again in AVPs: 4 MiB.
pub const MAX_BYTES: usize = 4 << 20;

/// The most AVPs at a time. Kamailio has no limit but its memory; a loop that adds without end
/// must stop somewhere.
pub const MAX_AVPS: usize = 1024;

/// Buffers beyond this are given back after the message that needed them.
const KEPT: usize = 256 << 10;

#[derive(Clone, Copy)]
struct Avp {
    id: AvpId,
    value: Value,
}

impl Avp {
    /// Its string, if that lies in the message.
    fn referred(&self) -> Option<StrRef> {
        match self.value {
            Value::Str(string) if string.source == Source::Message => Some(string),
            _ => None,
        }
    }
}

struct Var {
    /// The integer; `None`: the string in `bytes`.
    int: Option<i64>,
    bytes: Vec<u8>,
}

/// AVPs of the current message, `$var()` that last, and the arena for what an expression makes.
pub struct Store {
    arena: Vec<u8>,
    /// From the oldest to the newest.
    avps: Vec<Avp>,
    avp_bytes: Vec<u8>,
    /// Bytes of AVPs that refer to the message that is run on; [`Self::detach`] copies them.
    referred: usize,
    vars: Vec<Var>,
    /// Constants of what was compiled while messages were handled.
    by_name: Vec<u8>,
}

/// All AVPs at one moment.
pub struct Avps(Vec<Avp>);

impl Store {
    pub fn new(vars: u16) -> Store {
        let mut store = Store {
            arena: Vec::new(),
            avps: Vec::new(),
            avp_bytes: Vec::new(),
            referred: 0,
            vars: Vec::new(),
            by_name: Vec::new(),
        };
        store.grow(vars);
        store
    }

    /// Makes room for `vars` different `$var()`; those that are new are 0.
    pub fn grow(&mut self, vars: u16) {
        let new = usize::from(vars).saturating_sub(self.vars.len());
        let var = || Var {
            int: Some(0),
            bytes: Vec::new(),
        };
        self.vars.extend(std::iter::repeat_with(var).take(new));
    }

    /// Takes over the constants that `pool` has gained since the last call. If it has become
    /// empty, all are forgotten.
    pub fn follow_by_name(&mut self, pool: &[u8]) {
        match pool.get(self.by_name.len()..) {
            Some(new) if !pool.is_empty() => self.by_name.extend_from_slice(new),
            _ => self.by_name.clear(),
        }
    }

    /// The AVPs as they are now.
    pub fn avps(&self) -> Avps {
        Avps(self.avps.clone())
    }

    /// The AVPs as they were earlier in this message.
    pub fn restore_avps(&mut self, avps: Avps) {
        self.avps = avps.0;
        self.referred = self
            .avps
            .iter()
            .filter_map(|avp| avp.referred())
            .map(|string| string.len as usize)
            .sum();
    }

    /// Copies what AVPs have of the message. To be called before there is another one.
    #[inline]
    pub fn detach(&mut self, message: &[u8]) {
        if self.referred > 0 {
            self.copy_referred(message);
        }
    }

    fn copy_referred(&mut self, message: &[u8]) {
        for avp in &mut self.avps {
            if let Some(string) = avp.referred() {
                let offset = self.avp_bytes.len() as u32;
                self.avp_bytes.extend_from_slice(string.of(message));
                avp.value = Value::Str(StrRef {
                    source: Source::Avp,
                    offset,
                    len: string.len,
                });
            }
        }
        self.referred = 0;
    }

    /// Whether an AVP with a string of `len` bytes finds room.
    pub fn takes_avp(&self, len: usize) -> bool {
        self.avps.len() < MAX_AVPS && self.avp_bytes.len() + self.referred + len <= MAX_BYTES
    }

    /// Names and bytes of what is kept between messages.
    pub fn memory(&self) -> [(&'static str, usize); 4] {
        let vars = self.vars.iter().map(|var| var.bytes.capacity());
        [
            ("arena", self.arena.capacity()),
            (
                "AVPs",
                self.avp_bytes.capacity() + self.avps.capacity() * size_of::<Avp>(),
            ),
            (
                "$var()",
                self.vars.capacity() * size_of::<Var>() + vars.sum::<usize>(),
            ),
            ("late constants", self.by_name.capacity()),
        ]
    }

    /// Forgets AVPs and arena.
    pub fn begin_message(&mut self) {
        self.avps.clear();
        self.referred = 0;
        for buffer in [&mut self.arena, &mut self.avp_bytes] {
            buffer.clear();
            if buffer.capacity() > KEPT {
                buffer.shrink_to(KEPT);
            }
        }
    }

    /// The bytes of a string. `pool` and `message` are the stores that lie elsewhere.
    pub fn bytes<'s>(&'s self, string: StrRef, pool: &'s [u8], message: &'s [u8]) -> &'s [u8] {
        string.of(match string.source {
            Source::Pool => pool,
            Source::ByName => &self.by_name,
            Source::Message => message,
            Source::Arena => &self.arena,
            Source::Avp => &self.avp_bytes,
            Source::Var(id) => self
                .vars
                .get(usize::from(id))
                .map_or(&[][..], |var| &var.bytes),
        })
    }

    /// Where the arena ends: what [`Self::release`] takes.
    pub fn mark(&self) -> usize {
        self.arena.len()
    }

    /// Forgets what was added to the arena since the mark.
    pub fn release(&mut self, mark: usize) {
        self.arena.truncate(mark);
    }

    /// Removes the bytes between two marks from the arena.
    pub fn cut(&mut self, from: usize, upto: usize) {
        if from < upto && upto <= self.arena.len() {
            self.arena.drain(from..upto);
        }
    }

    /// What was added to the arena since a mark, as a string.
    pub fn since(&self, mark: usize) -> Value {
        Value::Str(StrRef {
            source: Source::Arena,
            offset: mark as u32,
            len: self.arena.len().saturating_sub(mark) as u32,
        })
    }

    /// Appends bytes to the arena.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ScriptError> {
        if self.arena.len() + bytes.len() > MAX_BYTES {
            return Err(ScriptError::Memory);
        }
        self.arena.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends a string to the arena.
    pub fn push_str(
        &mut self,
        string: StrRef,
        pool: &[u8],
        message: &[u8],
    ) -> Result<(), ScriptError> {
        if self.arena.len() + string.len as usize > MAX_BYTES {
            return Err(ScriptError::Memory);
        }
        let mut arena = std::mem::take(&mut self.arena);
        if string.source == Source::Arena {
            let start = string.offset as usize;
            let end = start + string.len as usize;
            if end <= arena.len() {
                arena.extend_from_within(start..end);
            }
        } else {
            arena.extend_from_slice(self.bytes(string, pool, message));
        }
        self.arena = arena;
        Ok(())
    }

    /// Lends the arena to what appends to a `Vec`: `input` is read meanwhile. What was appended
    /// is cut off where the arena is then too large, and where `append` fails.
    pub fn append<E>(
        &mut self,
        input: StrRef,
        pool: &[u8],
        message: &[u8],
        append: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Result<Value, E>, ScriptError> {
        let mut input = input;
        if input.source == Source::Arena {
            // It can't be read while the arena grows: a copy, behind the AVPs' bytes.
            let Store {
                arena, avp_bytes, ..
            } = self;
            let offset = avp_bytes.len();
            avp_bytes.extend_from_slice(input.of(arena));
            input.source = Source::Avp;
            input.offset = offset as u32;
            let result = self.append(input, pool, message, append);
            self.avp_bytes.truncate(offset);
            return result;
        }
        let mark = self.arena.len();
        let mut arena = std::mem::take(&mut self.arena);
        let result = append(self.bytes(input, pool, message), &mut arena);
        self.arena = arena;
        if result.is_err() {
            self.arena.truncate(mark);
        }
        if self.arena.len() > MAX_BYTES {
            self.arena.truncate(mark);
            return Err(ScriptError::Memory);
        }
        Ok(result.map(|()| self.since(mark)))
    }

    /// The value of a `$var()`.
    pub fn var(&self, id: VarId) -> Value {
        match self.vars.get(usize::from(id)) {
            None => Value::Null,
            Some(Var { int: Some(int), .. }) => Value::Int(*int),
            Some(var) => Value::Str(StrRef {
                source: Source::Var(id),
                offset: 0,
                len: var.bytes.len() as u32,
            }),
        }
    }

    /// Sets a `$var()`. With `$null` it becomes the integer 0, as in Kamailio.
    pub fn set_var(&mut self, id: VarId, value: Value, pool: &[u8], message: &[u8]) {
        let Some(var) = self.vars.get_mut(usize::from(id)) else {
            return;
        };
        match value {
            Value::Null => var.int = Some(0),
            Value::Int(int) => var.int = Some(int),
            Value::Str(string) if string.source == Source::Var(id) => {}
            Value::Str(string) => {
                let mut bytes = std::mem::take(&mut var.bytes);
                bytes.clear();
                if bytes.capacity() > KEPT {
                    bytes.shrink_to(KEPT);
                }
                bytes.extend_from_slice(self.bytes(string, pool, message));
                if let Some(var) = self.vars.get_mut(usize::from(id)) {
                    var.bytes = bytes;
                    var.int = None;
                }
            }
        }
    }

    /// The value of an AVP; index 0 is the newest of its name, -1 the oldest.
    pub fn avp(&self, id: AvpId, index: i64) -> Value {
        let mut of_name = self.avps.iter().filter(|avp| avp.id == id);
        let found = match usize::try_from(index) {
            Ok(at) => of_name.rev().nth(at),
            Err(_) => usize::try_from(index.unsigned_abs() - 1).map_or(None, |at| of_name.nth(at)),
        };
        found.map_or(Value::Null, |avp| avp.value)
    }

    /// Adds a value on top of those of the same name; `$null` takes the newest away.
    pub fn push_avp(
        &mut self,
        id: AvpId,
        value: Value,
        pool: &[u8],
        message: &[u8],
    ) -> Result<(), ScriptError> {
        let value = match value {
            Value::Null => {
                if let Some(at) = self.avps.iter().rposition(|avp| avp.id == id) {
                    self.avps.remove(at);
                }
                return Ok(());
            }
            Value::Int(_) => value,
            // Those bytes stay as they are for as long as any AVP can.
            Value::Str(StrRef {
                source: Source::Avp | Source::Pool | Source::ByName,
                ..
            }) => value,
            Value::Str(string) => {
                if self.avp_bytes.len() + self.referred + string.len as usize > MAX_BYTES {
                    return Err(ScriptError::Memory);
                }
                if string.source == Source::Message {
                    self.referred += string.len as usize;
                    return self.add_avp(id, value);
                }
                let mut bytes = std::mem::take(&mut self.avp_bytes);
                let offset = bytes.len() as u32;
                bytes.extend_from_slice(self.bytes(string, pool, message));
                self.avp_bytes = bytes;
                Value::Str(StrRef {
                    source: Source::Avp,
                    offset,
                    len: string.len,
                })
            }
        };
        self.add_avp(id, value)
    }

    fn add_avp(&mut self, id: AvpId, value: Value) -> Result<(), ScriptError> {
        if self.avps.len() >= MAX_AVPS {
            return Err(ScriptError::TooManyAvps);
        }
        self.avps.push(Avp { id, value });
        Ok(())
    }

    /// Takes all values of a name away.
    pub fn clear_avp(&mut self, id: AvpId) {
        self.avps.retain(|avp| avp.id != id);
    }

    /// A value as a string: integers in decimal, `$null` empty.
    pub fn string(&mut self, value: Value) -> Result<StrRef, ScriptError> {
        match value {
            Value::Str(string) => Ok(string),
            Value::Null => Ok(StrRef::EMPTY),
            Value::Int(number) => {
                let offset = self.arena.len() as u32;
                let text = Decimal::new(number);
                self.push(text.bytes())?;
                Ok(StrRef {
                    source: Source::Arena,
                    offset,
                    len: text.bytes().len() as u32,
                })
            }
        }
    }
}
