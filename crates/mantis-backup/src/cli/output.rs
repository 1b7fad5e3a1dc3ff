//! Results for people and for programs.

use std::io::{self, Write};
use std::time::Duration;

use mantis_repo::BackupInfo;
use serde_json::{Value, json};

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

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 10.0) + usize::from(value < 100.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A time for people.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 0.001 => format!("{:.0} \u{b5}s", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 100.0 => format!("{s:.1} s"),
        s => format!("{} min {} s", s as u64 / 60, s as u64 % 60),
    }
}

/// A count with its thousands set apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
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
    fn numbers_for_people() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.50 KiB");
        assert_eq!(size(32 << 20), "32.0 MiB");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(time(Duration::from_millis(250)), "250 ms");
    }

    #[test]
    fn a_table_lines_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            table(&[row(["name", "size"]), row(["a", "10"]), row(["bcdef", "9"])]),
            "name   size\na        10\nbcdef     9\n"
        );
    }
}
