//! A message as the body of an HTTP/1.1 message (RFC 9112): a request towards the server, a response
//! towards the client.
//!
//! Nothing answers a request or waits for a response: each message is one or the other by its
//! direction alone. Reading is tolerant in what proxies and home-made clients write otherwise: line
//! ends without CR, blanks, any case and order of fields, folded lines in responses, chunks, a body
//! without a length. It is strict about the body's end: a length that is contradicted, or is longer
//! than what is there, is an error.

mod body;

#[cfg(test)]
mod tests;

use httparse::{EMPTY_HEADER, Header, ParserConfig, Status};

use crate::codec::Role;
use crate::codec::{Codec, Fault, append_all};
use crate::link::{Arguments, CodecDef, Materials, Mistake, Recipe, Word, shown};

pub(crate) const CODEC: CodecDef = CodecDef {
    name: "http",
    form: "http(post, host=HOST) or http(put, host=HOST), and path=/PATH, type=MEDIA-TYPE, \
           agent=TEXT, server=TEXT",
    doc: "The message as the body of HTTP: of a request towards the server, of a response towards \
          the client. What comes by TCP or TLS can be decoded only if this stands last. A \
          disguise, no security.",
    is_bare: false,
    read,
};

/// The most header fields that are read.
const MAX_FIELDS: usize = 64;

struct HttpRecipe {
    request: String,
    response: String,
}

fn read(arguments: &mut Arguments<'_>) -> Result<Box<dyn Recipe>, Mistake> {
    let method = match arguments.next_plain() {
        Some(word) => match word.text.as_str() {
            "post" => "POST",
            "put" => "PUT",
            _ => return Err(arguments.unfit(&word)),
        },
        None => return Err(arguments.missing("a method")),
    };
    let host = arguments.named("host");
    let host = host.ok_or_else(|| arguments.missing("the host"))?;
    let host = checked(host, "host", |byte| {
        byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)
    })?;
    let path = match arguments.named("path") {
        Some(path) if !path.text.starts_with('/') => {
            return Err(Mistake::new(
                path.at,
                format!("{} is no path", shown(&path.text)),
                "begin it with a slash",
            ));
        }
        Some(path) => checked(path, "path", |byte| byte.is_ascii_graphic())?,
        None => "/".to_owned(),
    };
    let kind = match arguments.named("type") {
        Some(kind) => value(kind, "type")?,
        None => "application/octet-stream".to_owned(),
    };
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
    if let Some(agent) = arguments.named("agent") {
        request.push_str(&format!("User-Agent: {}\r\n", value(agent, "agent")?));
    }
    let mut response = "HTTP/1.1 200 OK\r\n".to_owned();
    if let Some(server) = arguments.named("server") {
        response.push_str(&format!("Server: {}\r\n", value(server, "server")?));
    }
    for head in [&mut request, &mut response] {
        head.push_str(&format!("Content-Type: {kind}\r\nContent-Length: "));
    }
    Ok(Box::new(HttpRecipe { request, response }))
}

/// A value of a header field.
fn value(word: Word, what: &str) -> Result<String, Mistake> {
    checked(word, what, |byte| byte.is_ascii_graphic() || byte == b' ')
}

fn checked(word: Word, what: &str, is_good: fn(u8) -> bool) -> Result<String, Mistake> {
    if word.text.is_empty() || !word.text.bytes().all(is_good) {
        return Err(Mistake::new(
            word.at,
            format!("{} can't stand as the {what} in HTTP", shown(&word.text)),
            "leave out what has no place there",
        ));
    }
    Ok(word.text)
}

impl Recipe for HttpRecipe {
    fn make(&self, role: Role, _: &dyn Materials) -> Result<Box<dyn Codec>, Mistake> {
        let head = match role {
            Role::Client => &self.request,
            Role::Server => &self.response,
        };
        Ok(Box::new(Http {
            role,
            head: head.as_bytes().into(),
        }))
    }
}

struct Http {
    role: Role,
    /// What we send, up to the length.
    head: Box<[u8]>,
}

impl Codec for Http {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let start = out.len();
        append_all(out, &self.head, max)?;
        // Writing to a vector can't fail.
        let _ = std::io::Write::write_fmt(out, format_args!("{}\r\n\r\n", input.len()));
        let head = out.len() - start;
        let left = max.checked_sub(head).ok_or(Fault::TooLong(max))?;
        append_all(out, input, left).map_err(|_| Fault::TooLong(max))
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        let (head, fields) = match self.role {
            Role::Server => request(input, &mut fields)?,
            Role::Client => response(input, &mut fields)?,
        };
        let rest = input.get(head..).unwrap_or_default();
        body::decode(rest, fields, out, max)
    }
}

/// The length of a request's head, and its fields.
fn request<'f, 'i>(
    input: &'i [u8],
    fields: &'f mut [Header<'i>],
) -> Result<(usize, &'f [Header<'i>]), Fault> {
    let mut config = ParserConfig::default();
    config.allow_multiple_spaces_in_request_line_delimiters(true);
    let mut request = httparse::Request::new(fields);
    match config.parse_request(&mut request, input) {
        Ok(Status::Complete(head)) => Ok((head, request.headers)),
        Ok(Status::Partial) | Err(_) => Err(Fault::Malformed),
    }
}

/// The same of a response, which must be one of success.
fn response<'f, 'i>(
    input: &'i [u8],
    fields: &'f mut [Header<'i>],
) -> Result<(usize, &'f [Header<'i>]), Fault> {
    let mut config = ParserConfig::default();
    config
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true);
    let mut response = httparse::Response::new(fields);
    match config.parse_response(&mut response, input) {
        Ok(Status::Complete(head)) if matches!(response.code, Some(200..=299)) => {
            Ok((head, response.headers))
        }
        Ok(_) | Err(_) => Err(Fault::Malformed),
    }
}
