//! A message as it came in, and the little of it that tests look at.

/// A message that the sink accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The message itself (RFC 5322), lines ended by CR LF.
    pub raw: String,
}

impl Message {
    /// The header field `name`, unfolded; the first if there are several.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let mut value: Option<String> = None;
        for line in self.raw.split("\r\n").take_while(|line| !line.is_empty()) {
            if line.starts_with([' ', '\t']) {
                if let Some(value) = &mut value {
                    value.push(' ');
                    value.push_str(line.trim_start());
                }
                continue;
            }
            if value.is_some() {
                break;
            }
            let (field, rest) = line.split_once(':').unwrap_or((line, ""));
            if field.eq_ignore_ascii_case(name) {
                value = Some(rest.trim().to_owned());
            }
        }
        value
    }

    /// What stands below the header, still encoded.
    #[must_use]
    pub fn body(&self) -> &str {
        self.raw.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folded_header_field_is_one_line() {
        let raw = "From: a\r\nSubject: one\r\n two\r\nTo: b\r\n\r\nSubject: three\r\n".to_owned();
        let message = Message { from: String::new(), to: Vec::new(), raw };
        assert_eq!(message.header("subject").as_deref(), Some("one two"));
        assert_eq!(message.header("cc"), None);
        assert_eq!(message.body(), "Subject: three\r\n");
    }
}
