//! Tables `vnet.tunnel.ipsec`.

use std::path::{Path, PathBuf};

use super::secret::Secret;
use crate::config::file::{self, Field, OrInherit};
use crate::config::model::{Association, Associations, Cipher, IpsecKey, Keying, TunnelKind};
use crate::config::report::Report;
use crate::config::validate::encapsulation::{Numbers, forbid_all};
use crate::fnv;

/// The least index that is not reserved (RFC 4303, 2.1).
const LEAST_SPI: u32 = 256;
/// The kernel's bitmap has at most so many bits (`XFRMA_REPLAY_ESN_MAX`).
const LARGEST_WINDOW: u32 = 4096;
/// RFC 4303, 3.4.3, asks for 32.
const LEAST_WINDOW: u32 = 32;

/// Reports keys that IPsec has no use for; the kind with its numbers, if they are known.
pub(super) fn check(
    vnet: &str,
    name: &str,
    written: &file::Tunnel,
    numbers: &Numbers<'_>,
    report: &mut Report<'_>,
) -> Option<TunnelKind> {
    let path = &written.path;
    forbid_all(numbers, "ipsec", report);
    if written.ttl.given().is_some() {
        report.error(
            format!("{path}.ttl"),
            "ipsec has no `ttl`",
            "remove it: the kernel decides",
        );
    }
    let hint = "write a table `[vnet.tunnel.ipsec]` with `keying = \"static\"` or \"ike\"";
    let table = written.ipsec.required(path, "ipsec", hint, report)?;
    let path = format!("{path}.ipsec");
    let hint = "write \"static\" if keys are in files, \"ike\" if a daemon agrees on them";
    let keying = table
        .keying
        .required(&path, "keying", hint, report)
        .copied();
    if table.if_id.given() == Some(&0) {
        report.error(
            format!("{path}.if_id"),
            "0 stands for no interface",
            "write another number",
        );
    }
    if keying == Some(Keying::Ike) && table.if_id.is_absent() {
        report.error(
            format!("{path}.if_id"),
            "`if_id` is missing",
            "write the number that the IKE daemon has as `if_id_in` and `if_id_out`",
        );
    }
    dscp(written, keying, report);
    Some(TunnelKind::Ipsec {
        if_id: table.if_id.or(default_if_id(vnet, name)),
        keying: keying?,
    })
}

/// A number that depends on the tunnel alone, so that adding another changes none.
fn default_if_id(vnet: &str, name: &str) -> u32 {
    fnv::digest_32(format!("{vnet}/{name}").bytes()).max(1)
}

/// The kernel copies the inner packet's, or writes 0.
fn dscp(written: &file::Tunnel, keying: Option<Keying>, report: &mut Report<'_>) {
    let path = format!("{}.dscp", written.path);
    match (&written.dscp, keying) {
        (Field::Given(_), Some(Keying::Ike)) => report.error(
            path,
            "it is the business of the IKE daemon",
            "remove it, and see the daemon's `copy_dscp`",
        ),
        (Field::Given(OrInherit::Number(1..)), _) => report.error(
            path,
            "ipsec has no DSCP of its own",
            "write 0, or \"inherit\" for that of the packet inside",
        ),
        (Field::Given(OrInherit::Number(0) | OrInherit::Inherit), _)
        | (Field::Absent | Field::Wrong, _) => {}
    }
}

/// The security associations of static keys; `None` within if a daemon makes them, `None` if any
/// of it is wrong, which has then been reported.
pub(super) fn associations(
    written: &file::Tunnel,
    folder: Option<&Path>,
    report: &mut Report<'_>,
) -> Option<Option<Associations>> {
    let table = written.ipsec.given()?;
    let path = format!("{}.ipsec", written.path);
    match table.keying.given()? {
        Keying::Ike => {
            forbid_static(table, &path, report);
            Some(None)
        }
        Keying::Static => {
            let copies_dscp = matches!(written.dscp, Field::Given(OrInherit::Inherit));
            fixed(table, &path, copies_dscp, folder, report).map(Some)
        }
    }
}

fn forbid_static(table: &file::Ipsec, path: &str, report: &mut Report<'_>) {
    for (there, key) in [
        (table.cipher.given().is_some(), "cipher"),
        (table.spi_in.given().is_some(), "spi_in"),
        (table.spi_out.given().is_some(), "spi_out"),
        (table.key_in_file.given().is_some(), "key_in_file"),
        (table.key_out_file.given().is_some(), "key_out_file"),
        (table.replay_window.given().is_some(), "replay_window"),
    ] {
        if there {
            report.error(
                format!("{path}.{key}"),
                "it is the business of the IKE daemon",
                "remove it, or write `keying = \"static\"`",
            );
        }
    }
}

fn fixed(
    table: &file::Ipsec,
    path: &str,
    copies_dscp: bool,
    folder: Option<&Path>,
    report: &mut Report<'_>,
) -> Option<Associations> {
    let cipher = table.cipher.or(Cipher::AesGcm256);
    let spi_in = spi(&table.spi_in, path, "spi_in", report);
    let spi_out = spi(&table.spi_out, path, "spi_out", report);
    let mut key = |field: &Field<PathBuf>, name: &str| {
        let file = field.required(path, name, secret(cipher).make, report)?;
        secret(cipher).read(file, folder, &format!("{path}.{name}"), report)
    };
    let key_in = key(&table.key_in_file, "key_in_file");
    let key_out = key(&table.key_out_file, "key_out_file");
    if key_in.is_some() && key_in == key_out {
        report.error(
            format!("{path}.key_out_file"),
            "both directions have the same key",
            "make another for one of them, at both ends",
        );
    }
    let replay_window = table.replay_window.or(0);
    if replay_window != 0 && !(LEAST_WINDOW..=LARGEST_WINDOW).contains(&replay_window) {
        report.error(
            format!("{path}.replay_window"),
            format!("{replay_window} is out of range"),
            format!("from {LEAST_WINDOW} to {LARGEST_WINDOW}, or 0 for no check"),
        );
    }
    Some(Associations {
        cipher,
        inbound: Association {
            spi: spi_in?,
            key: key_in?,
        },
        outbound: Association {
            spi: spi_out?,
            key: key_out?,
        },
        replay_window,
        copies_dscp,
    })
}

fn spi(field: &Field<u32>, path: &str, key: &str, report: &mut Report<'_>) -> Option<u32> {
    let hint = "write a number from 256, as in 0x1001, the same as the far end's of the other \
                direction";
    let spi = *field.required(path, key, hint, report)?;
    if spi < LEAST_SPI {
        report.error(
            format!("{path}.{key}"),
            format!("{spi} is reserved"),
            "from 256 to 4294967295",
        );
    }
    Some(spi)
}

/// What is in a file with a key.
fn secret(cipher: Cipher) -> Secret<impl Fn(&str) -> Option<IpsecKey>> {
    let (is, make) = match cipher {
        Cipher::AesGcm128 => (
            "the 40 hexadecimal digits of one key with its salt",
            "make one: (umask 077; openssl rand -hex 20 > FILE)",
        ),
        Cipher::AesGcm256 => (
            "the 72 hexadecimal digits of one key with its salt",
            "make one: (umask 077; openssl rand -hex 36 > FILE)",
        ),
    };
    Secret {
        is,
        make,
        decode: move |text: &str| decode(text, cipher.secret_len()),
    }
}

/// Decodes hexadecimal digits. A key of zeros is none: the kernel shows such where it must not show
/// keys.
fn decode(text: &str, bytes: usize) -> Option<IpsecKey> {
    let text = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let key: Option<Vec<u8>> = pairs
        .iter()
        .map(|&[high, low]| u8::try_from(digit(high)? << 4 | digit(low)?).ok())
        .collect();
    key.filter(|key| key.len() == bytes && key.iter().any(|byte| *byte != 0))
        .map(IpsecKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_openssl_and_ip_write_them() {
        let digits = "000102030405060708090a0b0c0d0e0fDEADBEEF";
        let IpsecKey(key) = decode(digits, 20).unwrap();
        assert_eq!(key[..3], [0, 1, 2]);
        assert_eq!(key[16..], [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(decode(&format!("0x{digits}"), 20), Some(IpsecKey(key)));
        for bad in [
            "",
            "0x",
            &digits[1..],
            &digits[2..],
            &format!("{digits}00"),
            &digits.replace('a', "g"),
            &digits.replace('a', "ä"),
            &"0".repeat(40),
        ] {
            assert_eq!(decode(bad, 20), None, "{bad}");
        }
        assert_eq!(decode(digits, 36), None);
    }
}
