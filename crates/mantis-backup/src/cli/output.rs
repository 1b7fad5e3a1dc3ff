//! Results for people and for programs.

use mantis_repo::BackupInfo;
use serde_json::{Value, json};
use std::io::{self, Write};

pub(crate) use crate::human::{count, counted, size, time};

use crate::{Error, format_time};

/// Writes to standard output. A reader that went away is no error.
pub(crate) fn write_out(bytes: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// A backup as JSON.
pub(crate) fn backup_json(info: &BackupInfo) -> Value {
    let meta = &info.meta;
    json!({
        "id": info.id.to_string(),
        "source": meta.source,
        "engine": meta.engine,
        "object": meta.object,
        "lsn": meta.lsn,
        "kind": info.kind,
        "parent": info.parent.map(|id| id.to_string()),
        "pages": meta.page_count,
        "pages_changed": info.pages_changed,
        "pages_zero": info.pages_zero,
        "page_size": meta.page_size,
        "bytes": meta.byte_len,
        "bytes_read": info.bytes_read,
        "bytes_stored": info.bytes_stored,
        "created_at": format_time(meta.created_at),
        "duration_ms": info.duration_ms,
        "tags": meta.tags,
        "way": meta.way,
        "compression": info.compression,
        "fingerprint": info.fingerprint.to_string(),
    })
}

/// A table: the first row is its head; columns of numbers are aligned to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let right = |column: usize| {
        let cells = rows.iter().skip(1).filter_map(|row| row.get(column));
        cells.clone().count() > 0
            && cells.clone().all(|cell| {
                cell.starts_with(|c: char| c.is_ascii_digit() || "-+\u{d7}".contains(c))
            })
    };
    // Once for each column, not for each cell: a list may have ten thousand rows.
    let shapes: Vec<(usize, bool)> =
        (0..columns).map(|column| (width(column), right(column))).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for ((column, cell), (width, right)) in row.iter().enumerate().zip(&shapes) {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let cell = if *right { format!("{pad}{cell}") } else { format!("{cell}{pad}") };
            line.push_str(&cell);
            if column + 1 < columns {
                line.push_str("  ");
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            table(&[row(["name", "size"]), row(["a", "10"]), row(["bcdef", "9"])]),
            "name   size\na        10\nbcdef     9\n"
        );
    }
}
