//! Streams: where one message ends and the next begins.

use corex_user::io::stream::frame::{Decoder, Frame, FrameError};

/// What a connection takes at most here.
const MAX: usize = 1_000;

/// Takes the input for what a peer writes, behind a byte that says in what pieces it arrives.
///
/// # Panics
/// When pieces make a difference to what is found, a message exceeds the bound, or bytes get lost.
pub fn stream(data: &[u8]) {
    let Some((step, stream)) = data.split_first() else {
        return;
    };
    let step = usize::from(*step).max(1);
    let whole = divide(stream, stream.len().max(1));
    assert_eq!(whole, divide(stream, step));
    let (frames, _) = whole;
    let mut rest = stream;
    for frame in frames {
        let (Frame::Message(len) | Frame::Ping(len) | Frame::Blank(len)) = frame else {
            panic!("{frame:?} is no part of a stream");
        };
        let (taken, after) = rest.split_at(len);
        rest = after;
        match frame {
            Frame::Message(_) => {
                assert!(len <= MAX && taken.first().is_some_and(u8::is_ascii_graphic));
            }
            Frame::Ping(_) => assert_eq!(taken, b"\r\n\r\n"),
            _ => assert!(taken == b"\r\n" || taken == b"\r" || taken == b"\n"),
        }
    }
}

/// What is found in a stream that arrives so many bytes at a time, and why it ends, if it does.
fn divide(stream: &[u8], step: usize) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new(MAX);
    let mut buffer: Vec<u8> = Vec::new();
    let mut frames = Vec::new();
    for piece in stream.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            let len = match decoder.next(&buffer) {
                Ok(Frame::Incomplete) => break,
                Ok(frame @ (Frame::Message(len) | Frame::Ping(len) | Frame::Blank(len))) => {
                    frames.push(frame);
                    len
                }
                Err(error) => return (frames, Some(error)),
            };
            assert!(len > 0);
            buffer.drain(..len);
        }
    }
    (frames, None)
}
