//! Writes messages.

/// A message in the making.
pub(super) struct Message {
    pub text: String,
}

impl Message {
    pub fn new(start: &str) -> Message {
        Message {
            text: format!("{start}\r\n"),
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Message {
        self.add(name, value);
        self
    }

    /// A header, unless there is nothing to say in it.
    pub fn add(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        for part in [name, ": ", value, "\r\n"] {
            self.text.push_str(part);
        }
    }

    /// Lines that are there already, each with its end.
    pub fn lines(mut self, lines: &str) -> Message {
        self.text.push_str(lines);
        self
    }

    pub fn bare(mut self) -> String {
        self.text.push_str("Content-Length: 0\r\n\r\n");
        self.text
    }

    pub fn body(mut self, kind: &str, body: &str) -> String {
        self.add("Content-Type", kind);
        self.add("Content-Length", &body.len().to_string());
        self.text.push_str("\r\n");
        self.text.push_str(body);
        self.text
    }
}
