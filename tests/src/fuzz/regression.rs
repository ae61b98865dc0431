//! Frames that once did not end as they must, each a file of `tests/regressions`: what was wrong
//! as a comment, the case whose world it is, the frame.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::table;
use crate::cases::Case;

/// Where they are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions");

/// One of them.
#[derive(Clone, Debug)]
pub struct Regression {
    /// The name of its file.
    pub name: String,
    /// The case whose world it is run in.
    pub case: &'static Case,
    /// The frame.
    pub frame: Vec<u8>,
}

/// Reads all of them.
///
/// # Errors
/// When one cannot be read, or its case is gone.
pub fn all() -> Result<Vec<Regression>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(FOLDER)
        .with_context(|| format!("cannot read {FOLDER}"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|it| it == "frame"));
    paths.sort();
    ensure!(!paths.is_empty(), "{FOLDER} holds no regression");
    paths.iter().map(|path| read(path)).collect()
}

/// Writes one, and says where.
///
/// # Errors
/// When the file cannot be written.
pub fn keep(case: &Case, frame: &[u8], what: &str) -> Result<PathBuf> {
    // One frame in one world is one file, however often it is found.
    let id = lbxdp::fnv::digest_64(format!("{case} {}", hex(frame)).bytes());
    let path = Path::new(FOLDER).join(format!("{id:016x}.frame"));
    fs::write(&path, text(case, frame, what))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn read(path: &Path) -> Result<Regression> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parse(&name, &text).with_context(|| path.display().to_string())
}

fn text(case: &Case, frame: &[u8], what: &str) -> String {
    let comment: String = what.lines().map(|line| format!("# {line}\n")).collect();
    format!("{comment}case: {case}\nframe: {}\n", hex(frame))
}

fn parse(name: &str, text: &str) -> Result<Regression> {
    let field = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
            .with_context(|| format!("there is no line `{key}: …`"))
    };
    let wanted = field("case")?;
    let case = table()
        .iter()
        .find(|case| case.to_string() == wanted)
        .with_context(|| format!("the table has no case {wanted:?} any more: name another"))?;
    Ok(Regression {
        name: name.to_owned(),
        case,
        frame: from_hex(field("frame")?)?,
    })
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let (pairs, rest) = text.trim().as_bytes().as_chunks::<2>();
    ensure!(rest.is_empty(), "an odd number of hexadecimal digits");
    pairs
        .iter()
        .map(|pair| {
            let pair = std::str::from_utf8(pair).context("not ASCII")?;
            u8::from_str_radix(pair, 16).with_context(|| format!("{pair:?} is not a byte"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let case = &table()[3];
        let frame = case.packet.bytes();
        let text = text(case, &frame, "two\nlines");
        assert!(text.starts_with("# two\n# lines\n"), "{text}");
        let read = parse("x.frame", &text).expect("as it was written");
        assert_eq!(read.frame, frame);
        assert_eq!(read.case.to_string(), case.to_string());
    }

    #[test]
    fn what_is_not_right_is_refused() {
        let case = &table()[0];
        for (text, why) in [
            ("frame: 00\n".to_owned(), "case"),
            ("case: [no] Such.\nframe: 00\n".to_owned(), "any more"),
            (format!("case: {case}\n"), "frame"),
            (format!("case: {case}\nframe: 0\n"), "odd"),
            (format!("case: {case}\nframe: 0x\n"), "not a byte"),
        ] {
            let error = parse("x.frame", &text).expect_err("it is not right");
            assert!(format!("{error:#}").contains(why), "{error:#}");
        }
    }
}
