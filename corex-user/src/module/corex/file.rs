//! file_read() and file_write().

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use corex_script::host::FileError;
use corex_script::run::Arg;
use corex_script::run::StrRef;
use corex_script::run::{Exec, Halt};

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
    let (path_bytes, content) = (exec.bytes(path), exec.bytes(content));
    match exec.host.file_write(as_path(path_bytes), content) {
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
