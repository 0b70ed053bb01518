//! The same for other languages: `include/corexclient.h` says what callers see and must keep.

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use std::{ptr, slice};

use corex_client::{Client, Options, Output};

/// `corex_client`: a device, and the output that didn't fit yet.
pub struct CorexClient {
    client: Client,
    held: Option<Output>,
}

/// `corex_client_options`.
#[repr(C)]
#[derive(Debug)]
pub struct CorexClientOptions {
    chain: *const c_char,
    server: *const c_char,
    server_key: *const c_char,
    keys: *const *const c_char,
    dictionaries: *const *const c_char,
    device: *const c_char,
    prefers_aes: c_int,
}

impl std::fmt::Debug for CorexClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.client.fmt(f)
    }
}

/// Makes a device. NULL if that can't be; then `error` says why.
///
/// # Safety
/// As the header says: `options` and what it points to are valid, `error` has `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corex_client_new(
    options: *const CorexClientOptions,
    error: *mut c_char,
    size: usize,
) -> *mut CorexClient {
    let made = catch_unwind(|| {
        // SAFETY: the caller says that it is valid, or NULL.
        let options = unsafe { options.as_ref() }.ok_or("there are no options")?;
        // SAFETY: the caller says that its strings are valid.
        let options = unsafe { options.read() }?;
        Client::new(&options).map_err(|error| error.to_string())
    });
    let reason = match made {
        Ok(Ok(client)) => {
            return Box::into_raw(Box::new(CorexClient { client, held: None }));
        }
        Ok(Err(reason)) => reason,
        Err(_) => "a fault of corex".to_owned(),
    };
    // SAFETY: the caller says that it has so many bytes.
    if let Some(room) = unsafe { bytes_mut(error.cast(), size) } {
        fill(room, &reason);
    }
    ptr::null_mut()
}

/// Ends a device.
///
/// # Safety
/// `client` is of [`corex_client_new`], and isn't used any more; or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corex_client_free(client: *mut CorexClient) {
    if !client.is_null() {
        // SAFETY: the caller says that it is that function's, and not freed before.
        drop(unsafe { Box::from_raw(client) });
    }
}

/// Takes a plain message from the app. -1: an argument is NULL.
///
/// # Safety
/// `client` is of [`corex_client_new`], and no other thread uses it; `message` has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corex_client_send(
    client: *mut CorexClient,
    now: u64,
    message: *const u8,
    len: usize,
) -> c_int {
    // SAFETY: the caller says both.
    let given = unsafe { (client.as_mut(), bytes(message, len)) };
    take(given, |client, message| {
        client.send(Duration::from_millis(now), message);
    })
}

/// Takes a packet from the server. -1: an argument is NULL.
///
/// # Safety
/// `client` is of [`corex_client_new`], and no other thread uses it; `packet` has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corex_client_receive(
    client: *mut CorexClient,
    now: u64,
    packet: *const u8,
    len: usize,
) -> c_int {
    // SAFETY: the caller says both.
    let given = unsafe { (client.as_mut(), bytes(packet, len)) };
    take(given, |client, packet| {
        client.receive(Duration::from_millis(now), packet);
    })
}

/// Does what is due.
///
/// # Safety
/// `client` is of [`corex_client_new`], and no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corex_client_tick(client: *mut CorexClient, now: u64) -> c_int {
    // SAFETY: the caller says so.
    let given = unsafe { (client.as_mut(), Some(&[][..])) };
    take(given, |client, _| client.tick(Duration::from_millis(now)))
}

/// When [`corex_client_tick`] has something to do, in milliseconds since 1970; -1: not before something
/// arrives.
///
/// # Safety
/// `client` is of [`corex_client_new`], and no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corex_client_next_tick(client: *const CorexClient) -> i64 {
    // SAFETY: the caller says so.
    let due = unsafe { client.as_ref() }.and_then(|client| client.client.next_tick());
    due.map_or(-1, |at| i64::try_from(at.as_millis()).unwrap_or(i64::MAX))
}

/// Something to send: 1 to the server, 2 to the app, 0 nothing; -1 an argument is NULL; -2 it needs
/// `*len` bytes, and stays.
///
/// # Safety
/// `client` is of [`corex_client_new`], and no other thread uses it; `room` has `size` bytes, and `len`
/// is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corex_client_next_output(
    client: *mut CorexClient,
    room: *mut u8,
    size: usize,
    len: *mut usize,
) -> c_int {
    // SAFETY: the caller says all three.
    let given = unsafe { (client.as_mut(), bytes_mut(room, size), len.as_mut()) };
    let (Some(client), Some(room), Some(len)) = given else {
        return -1;
    };
    let next = client.held.take().or_else(|| client.client.next_output());
    let (bytes, to) = match &next {
        None => return 0,
        Some(Output::ToServer(packet)) => (packet, 1),
        Some(Output::ToApp(message)) => (message, 2),
    };
    *len = bytes.len();
    match room.get_mut(..bytes.len()) {
        Some(room) => {
            room.copy_from_slice(bytes);
            to
        }
        None => {
            client.held = next;
            -2
        }
    }
}

fn take(
    (client, input): (Option<&mut CorexClient>, Option<&[u8]>),
    act: impl FnOnce(&mut Client, &[u8]),
) -> c_int {
    let (Some(client), Some(input)) = (client, input) else {
        return -1;
    };
    // What a fault left half done concerns this device alone.
    match catch_unwind(AssertUnwindSafe(|| act(&mut client.client, input))) {
        Ok(()) => 0,
        Err(_) => -1,
    }
}

impl CorexClientOptions {
    /// # Safety
    /// Its strings are valid, its lists end with NULL.
    unsafe fn read(&self) -> Result<Options, String> {
        // SAFETY: the caller says that each is valid, or NULL.
        let [chain, server, server_key, device] = unsafe {
            [
                text(self.chain)?,
                text(self.server)?,
                text(self.server_key)?,
                text(self.device)?,
            ]
        };
        let chain = chain.ok_or("there is no chain")?;
        let server = server.ok_or("there is no server")?;
        let server = server
            .parse()
            .map_err(|_| format!("{server} is no ADDRESS:PORT, as in 192.0.2.1:5060"))?;
        let device = device.map(|text| {
            text.parse()
                .map_err(|error| format!("the device {text}: {error}"))
        });
        Ok(Options {
            server_key,
            // SAFETY: the caller says that they end with NULL.
            keys: unsafe { texts(self.keys) }?,
            // SAFETY: the same.
            dictionaries: unsafe { texts(self.dictionaries) }?,
            device: device.transpose()?,
            prefers_aes: self.prefers_aes != 0,
            ..Options::new(chain, server)
        })
    }
}

/// # Safety
/// It is a string, or NULL.
unsafe fn text(string: *const c_char) -> Result<Option<String>, String> {
    if string.is_null() {
        return Ok(None);
    }
    // SAFETY: it isn't NULL, and so a string, says the caller.
    let text = unsafe { CStr::from_ptr(string) }.to_str();
    let text = text.map_err(|_| "an option isn't UTF-8")?;
    Ok(Some(text.to_owned()))
}

/// # Safety
/// It is a list of strings that ends with NULL, or NULL.
unsafe fn texts(mut list: *const *const c_char) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    if list.is_null() {
        return Ok(all);
    }
    // SAFETY: the list hasn't ended yet, and each of it is a string, says the caller.
    while let Some(one) = unsafe { text(*list) }? {
        all.push(one);
        // SAFETY: one comes after each that isn't NULL.
        list = unsafe { list.add(1) };
    }
    Ok(all)
}

/// # Safety
/// It has so many bytes, which nobody changes meanwhile, or is NULL.
unsafe fn bytes<'b>(start: *const u8, len: usize) -> Option<&'b [u8]> {
    // SAFETY: the caller says so.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, len) })
}

/// # Safety
/// It has so many bytes, which nobody else uses meanwhile, or is NULL.
unsafe fn bytes_mut<'b>(start: *mut u8, len: usize) -> Option<&'b mut [u8]> {
    // SAFETY: the caller says so.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts_mut(start, len) })
}

/// As much of a text as there is room for, with NUL at its end.
fn fill(room: &mut [u8], text: &str) {
    let Some(most) = room.len().checked_sub(1) else {
        return;
    };
    let len = text.len().min(most);
    for (to, from) in room.iter_mut().zip(text.bytes().take(len).chain([0])) {
        *to = from;
    }
}
