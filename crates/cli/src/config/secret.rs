//! Files that must be there: passwords, and what TLS needs.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A longer password is another file.
const SECRET_BYTES_MAX: u64 = 4_096;

/// The only line of the file at `path`.
pub(super) fn read_secret(path: &str) -> Result<String, String> {
    let path = parse_file(path)?;
    let mut bytes = Vec::new();
    // What is named may be endless.
    let read =
        File::open(&path).and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| cannot_read(&error))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!(
            "it is longer than {SECRET_BYTES_MAX} bytes: name the file with the password"
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8: write it so")?;
    // As editors and `echo` end a line.
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err("it is empty: write the password into it".to_owned());
    }
    if line.contains(['\n', '\r']) {
        return Err("it has several lines: write the password alone into it".to_owned());
    }
    Ok(line.to_owned())
}

/// A file that whoever opens the store will read.
pub(super) fn readable(path: &str) -> Result<PathBuf, String> {
    let path = parse_file(path)?;
    check_readable(&path).map_err(|error| cannot_read(&error))?;
    Ok(path)
}

pub(super) fn parse_file(path: &str) -> Result<PathBuf, &'static str> {
    if path.is_empty() {
        return Err("name a file");
    }
    Ok(PathBuf::from(path))
}

fn check_readable(path: &Path) -> io::Result<()> {
    if File::open(path)?.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(())
}

fn cannot_read(error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "it is not there".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    };
    format!("the file cannot be read: {why}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_secret_is_the_only_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let name = path.to_str().unwrap();
        for text in ["hunter2", "hunter2\n", "hunter2\r\n"] {
            fs::write(&path, text).unwrap();
            assert_eq!(read_secret(name).as_deref(), Ok("hunter2"), "{text:?}");
        }
        fs::write(&path, " h\u{fc}nter 2 ").unwrap();
        assert_eq!(read_secret(name).as_deref(), Ok(" h\u{fc}nter 2 "));

        let long = "hunter2".repeat(1_000);
        let table: [(&[u8], &str); 7] = [
            (b"", "it is empty"),
            (b"\n", "it is empty"),
            (b"\r\n", "it is empty"),
            (b"hunter2\n\n", "several lines"),
            (b"# password\nhunter2\n", "several lines"),
            (b"hunter2\xff", "not UTF-8"),
            (long.as_bytes(), "longer than 4096 bytes"),
        ];
        for (bytes, part) in table {
            fs::write(&path, bytes).unwrap();
            let error = read_secret(name).unwrap_err();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_no_file_to_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let table = [
            ("", "name a file"),
            (missing.to_str().unwrap(), "it is not there"),
            (dir.path().to_str().unwrap(), "it is a directory"),
        ];
        for (path, part) in table {
            let error = read_secret(path).unwrap_err();
            assert!(error.contains(part), "{path}: {error}");
            let error = readable(path).unwrap_err();
            assert!(error.contains(part), "{path}: {error}");
        }
        assert!(read_secret("/dev/zero").unwrap_err().contains("longer"));
    }
}
