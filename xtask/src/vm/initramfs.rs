//! The guest's first file system: an archive of files that the kernel unpacks into memory.
//!
//! The format is "newc" of cpio (`Documentation/driver-api/early-userspace/buffer-format.rst` of
//! the kernel's sources): for each file a header of thirteen numbers of eight hexadecimal digits,
//! the name with its zero, the content, each of them padded to four bytes.

/// The name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";
/// `S_IFDIR` and `S_IFREG` of `linux/stat.h`.
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// An archive in the making.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory; its parent was added before.
    pub(super) fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY | 0o755, &[]);
    }

    /// Adds a file that can be executed; its directory was added before.
    pub(super) fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, FILE | 0o755, content);
    }

    /// The archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let length = |length: usize| u32::try_from(length).expect("far below 4 GiB");
        let inode = self.entries;
        let links = 1;
        let size = length(content.len());
        let name_size = length(name.len() + 1);
        // Inode, mode, owner, group, links, time, size, device, device of a device, checksum.
        let fields = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_as_the_kernel_reads_it() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.file("bin/x", b"hello");
        let bytes = archive.finish();
        let text = String::from_utf8(bytes).expect("all of it is text");
        let (directory, rest) = text.split_at(116);
        assert!(
            directory.starts_with("07070100000001000041ed"),
            "{directory}"
        );
        assert!(directory.ends_with("bin\0\0\0"), "{directory}");
        let (header, rest) = rest.split_at(110);
        assert!(header.starts_with("07070100000002000081ed"), "{header}");
        assert_eq!(&header[54..62], "00000005", "the size of the content");
        assert_eq!(
            &header[94..102],
            "00000006",
            "the size of the name with its zero"
        );
        let rest = rest
            .strip_prefix("bin/x\0hello\0\0\0")
            .expect("name and content");
        assert!(rest.starts_with("070701"), "{rest}");
        assert!(rest.contains("TRAILER!!!\0"));
    }
}
