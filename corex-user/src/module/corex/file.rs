//! file_read() and file_write().

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::pipeline::files::FileError;
use crate::script::exec::{Exec, Halt};
use crate::script::program::Arg;
use crate::script::value::StrRef;

pub(super) fn read(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let path = exec.arg_str(args, 0)?;
    let Some(Arg::Target(target)) = args.get(1) else {
        return Ok(-1);
    };
    match exec.host.file_read(as_path(exec.bytes(path))) {
        Ok(content) => {
            let value = exec.text(&content)?;
            exec.assign(target, value)?;
            Ok(1)
        }
        Err(error) => Ok(failed(exec, "file_read", path, &error)),
    }
}

pub(super) fn write(exec: &mut Exec<'_>, args: &[Arg]) -> Result<i64, Halt> {
    let path = exec.arg_str(args, 0)?;
    let content = exec.arg_str(args, 1)?;
    let (pool, message) = (&exec.program.pool, exec.message);
    let store = &exec.rt.store;
    let bytes = |string: StrRef| store.bytes(string, pool, message);
    match exec.host.file_write(as_path(bytes(path)), bytes(content)) {
        Ok(()) => Ok(1),
        Err(error) => Ok(failed(exec, "file_write", path, &error)),
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn failed(exec: &mut Exec<'_>, function: &str, path: StrRef, error: &FileError) -> i64 {
    let path = exec.bytes(path).escape_ascii().to_string();
    exec.complain(format_args!("{function}(): {path}: {error}"));
    -1
}
