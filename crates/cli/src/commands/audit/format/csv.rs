//! CSV as RFC 4180 has it, for spreadsheets.

use std::io::{self, Write};

use csv::{IntoInnerError, Terminator, Writer, WriterBuilder};
use eventstore::Recorded;

use super::columns::{COLUMNS, cells};

/// A file of CSV, its header written.
pub(in super::super) struct Sheet<W: Write>(Writer<W>);

impl<W: Write> Sheet<W> {
    pub(super) fn new(out: W) -> Result<Self, csv::Error> {
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
        writer.write_record(COLUMNS.map(|(name, _)| name))?;
        Ok(Self(writer))
    }

    pub(super) fn write(&mut self, event: &Recorded, leaf: Option<u64>) -> io::Result<()> {
        let row = cells(event, leaf).map(|cell| harmless(cell.text()));
        self.0.write_record(row).map_err(io::Error::from)
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.0.into_inner().map_err(IntoInnerError::into_error)
    }
}

/// What a spreadsheet does not take for a formula: text that begins like one gets an apostrophe
/// before it (OWASP, CSV injection).
pub(super) fn harmless(text: String) -> String {
    const FULL_WIDTH: [char; 4] = ['\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    const STARTS: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];
    if text.starts_with(STARTS) || text.starts_with(FULL_WIDTH) { format!("'{text}") } else { text }
}
