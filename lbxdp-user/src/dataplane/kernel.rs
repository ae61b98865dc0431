//! Calls of bpf(2) that aya does not make: pieces of arrays at a time, and what a link says of
//! itself. Layouts are those of `union bpf_attr` in the kernel's `include/uapi/linux/bpf.h`.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::Pod;

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;

/// The arguments of `BPF_OBJ_GET`.
#[repr(C)]
struct ObjectAttributes {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The arguments of the batch commands.
#[repr(C)]
struct BatchAttributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: RawFd,
    element_flags: u64,
    flags: u64,
}

/// Writes consecutive entries of an array map in one call.
///
/// # Errors
/// Whatever the kernel says; entries before the failing one are then written.
pub(super) fn write_array<V: Pod>(map: BorrowedFd<'_>, first: u32, values: &[V]) -> io::Result<()> {
    let count = u32::try_from(values.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if count == 0 {
        return Ok(());
    }
    let keys: Vec<u32> = (first..).take(values.len()).collect();
    let mut attributes = BatchAttributes {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count,
        map: map.as_raw_fd(),
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: `keys` and `values` hold `count` elements of the sizes that the map was checked to
    // have when it was opened, they live until the call returns, and the kernel only reads them.
    unsafe { bpf(BPF_MAP_UPDATE_BATCH, &mut attributes) }.map(drop)
}

/// Reads consecutive entries of an array map in one call.
///
/// # Errors
/// Whatever the kernel says, and when the map ends before `count` entries.
pub(super) fn read_array<V: Pod>(
    map: BorrowedFd<'_>,
    first: u32,
    count: u32,
) -> io::Result<Vec<V>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let length = count as usize;
    let mut keys = vec![0_u32; length];
    let mut values: Vec<V> = Vec::with_capacity(length);
    // The kernel continues behind this key.
    let before = first.wrapping_sub(1);
    let mut after = 0_u32;
    let mut attributes = BatchAttributes {
        in_batch: if first == 0 {
            0
        } else {
            (&raw const before) as u64
        },
        out_batch: (&raw mut after) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count,
        map: map.as_raw_fd(),
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: there is room for `count` keys and values of the sizes that the map was checked to
    // have when it was opened, and all that is pointed to lives until the call returns.
    let result = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attributes) };
    match result {
        Ok(_) => {}
        // The end of the map was reached, which is an error only if too little came.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(error),
    }
    if attributes.count != count {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("the map ends {} entries early", count - attributes.count),
        ));
    }
    // SAFETY: the kernel has written `count` values, and any bytes are a value of a `Pod` type.
    unsafe { values.set_len(length) };
    Ok(values)
}

/// Entries that are asked for in one call. A bucket of the kernel's hash map has to fit in whole.
const BATCH: usize = 4_096;

/// Reads all entries of a hash map, many in one call. An entry that is added or removed meanwhile
/// may be there or not.
///
/// # Errors
/// Whatever the kernel says.
pub(super) fn read_hash<K: Pod, V: Pod>(map: BorrowedFd<'_>) -> io::Result<Vec<(K, V)>> {
    let mut entries = Vec::new();
    let mut keys: Vec<K> = Vec::with_capacity(BATCH);
    let mut values: Vec<V> = Vec::with_capacity(BATCH);
    // The kernel's number of a bucket, which it gives and takes.
    let mut place = 0_u32;
    let mut first = true;
    loop {
        let mut next = 0_u32;
        let mut attributes = BatchAttributes {
            in_batch: if first { 0 } else { (&raw const place) as u64 },
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: BATCH as u32,
            map: map.as_raw_fd(),
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: there is room for `BATCH` keys and values of the sizes that the map was checked to
        // have when it was opened, and all that is pointed to lives until the call returns.
        let result = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attributes) };
        let last = match result {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        let count = (attributes.count as usize).min(BATCH);
        // SAFETY: the kernel has written as many, and any bytes are a value of a `Pod` type.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
        }
        entries.extend(keys.drain(..).zip(values.drain(..)));
        if last {
            return Ok(entries);
        }
        (place, first) = (next, false);
    }
}

/// Copies all entries of a map to one with the same sizes of key and value, the latter as the
/// kernel counts them (all CPUs' together). Entries of an array keep their places.
///
/// # Errors
/// Whatever the kernel says.
pub(super) fn copy(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    key_size: usize,
    value_size: usize,
) -> io::Result<()> {
    let mut keys = vec![0_u8; key_size * BATCH];
    let mut values = vec![0_u8; value_size * BATCH];
    // The kernel's place in the map: a key, or the number of a bucket, of 4 bytes.
    let (mut place, mut next) = (vec![0_u8; key_size.max(4)], vec![0_u8; key_size.max(4)]);
    let mut first = true;
    loop {
        let mut attributes = BatchAttributes {
            in_batch: if first { 0 } else { place.as_ptr() as u64 },
            out_batch: next.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: BATCH as u32,
            map: from.as_raw_fd(),
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: there is room for `BATCH` keys and values of the sizes that the caller knows of
        // the map, and for a place of either kind, and all of it lives until the call returns.
        let result = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attributes) };
        let last = match result {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        if attributes.count > 0 {
            let mut attributes = BatchAttributes {
                in_batch: 0,
                out_batch: 0,
                keys: keys.as_ptr() as u64,
                values: values.as_ptr() as u64,
                count: attributes.count,
                map: to.as_raw_fd(),
                element_flags: 0,
                flags: 0,
            };
            // SAFETY: the kernel has just written as many keys and values there, of the sizes that
            // this map has too, and only reads them.
            unsafe { bpf(BPF_MAP_UPDATE_BATCH, &mut attributes) }?;
        }
        if last {
            return Ok(());
        }
        std::mem::swap(&mut place, &mut next);
        first = false;
    }
}

/// What a pinned XDP link says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LinkFacts {
    /// The kernel's number of the link.
    pub(super) link_id: u32,
    /// The program that it runs.
    pub(super) program_id: u32,
    /// The interface; 0 when it is gone.
    pub(super) ifindex: u32,
}

/// Asks the link pinned at `path`.
///
/// # Errors
/// When nothing is pinned there, or no XDP link.
pub(super) fn link_facts(path: &Path) -> io::Result<LinkFacts> {
    let link = open_pinned(path)?;
    // `bpf_link_show_fdinfo`: lines of `name:\tvalue`.
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd()))?;
    let number = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.trim().parse().ok())
            .ok_or_else(|| io::Error::other(format!("{} is no XDP link", path.display())))
    };
    Ok(LinkFacts {
        link_id: number("link_id")?,
        program_id: number("prog_id")?,
        ifindex: number("ifindex")?,
    })
}

fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = ObjectAttributes {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    // SAFETY: the path is a string that ends in a zero byte and lives until the call returns.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut attributes) }?;
    let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// The attributes are those of the command, and all that they point to is valid for it.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the pointer and the size are of one value; the rest is the caller's promise.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
