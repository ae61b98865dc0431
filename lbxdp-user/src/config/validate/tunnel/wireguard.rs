//! Tables `vnet.tunnel.wireguard`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::secret::Secret;
use crate::config::file::{self, Field};
use crate::config::model::{TunnelKind, Wireguard, WireguardKey};
use crate::config::report::Report;
use crate::config::validate::encapsulation::{Numbers, forbid_all};

const MAKE_KEY: &str = "make one: (umask 077; wg genkey > FILE)";

/// Reports keys that WireGuard has no use for, or has under other names.
pub(super) fn check(
    written: &file::Tunnel,
    numbers: &Numbers<'_>,
    report: &mut Report<'_>,
) -> TunnelKind {
    let kind = TunnelKind::Wireguard.name();
    let path = &written.path;
    forbid_all(numbers, kind, report);
    for (there, key, hint) in [
        (
            written.remote.given().is_some(),
            "remote",
            "remove it, and write `wireguard.endpoint`, or let the peer dial in",
        ),
        (
            written.local.given().is_some(),
            "local",
            "remove it: the node's routes decide",
        ),
        (
            written.ttl.given().is_some(),
            "ttl",
            "remove it: the kernel decides",
        ),
    ] {
        if there {
            report.error(
                format!("{path}.{key}"),
                format!("{kind} has no `{key}`"),
                hint,
            );
        }
    }
    TunnelKind::Wireguard
}

/// The keys and the peer; `None` if any of it is wrong, which has then been reported.
pub(super) fn keys(
    written: &file::Tunnel,
    folder: Option<&Path>,
    report: &mut Report<'_>,
) -> Option<Wireguard> {
    let hint = "write a table `[vnet.tunnel.wireguard]` with `private_key_file` and \
                `peer_public_key`";
    let table = written
        .wireguard
        .required(&written.path, "wireguard", hint, report)?;
    let path = format!("{}.wireguard", written.path);
    let private_key = table
        .private_key_file
        .required(&path, "private_key_file", MAKE_KEY, report)
        .and_then(|file| secret().read(file, folder, &format!("{path}.private_key_file"), report));
    let preshared_key = match table.preshared_key_file.given() {
        None => Some(None),
        Some(file) => {
            let path = format!("{path}.preshared_key_file");
            secret().read(file, folder, &path, report).map(Some)
        }
    };
    let peer_public_key = table
        .peer_public_key
        .required(
            &path,
            "peer_public_key",
            "write the output of `wg pubkey`",
            report,
        )
        .and_then(|text| {
            let key = decode(text);
            if key.is_none() {
                report.error(
                    format!("{path}.peer_public_key"),
                    format!("{text:?} is no key in base64"),
                    "write the 44 characters that `wg pubkey` prints at the peer",
                );
            }
            key
        });
    let listen_port = table.listen_port.given().copied();
    if listen_port == Some(0) {
        report.error(
            format!("{path}.listen_port"),
            "0 is no UDP port",
            "from 1 to 65535, or leave it out: the kernel then chooses one",
        );
    }
    let endpoint = match table.endpoint.given() {
        None => Some(None),
        Some(text) => endpoint(text, &path, report).map(Some),
    };
    if listen_port.is_none() && table.endpoint.is_absent() {
        report.error(
            &path,
            "neither `endpoint` nor `listen_port` is there, so neither end can find the other",
            "write `listen_port` if the peer dials in, `endpoint` if this node does",
        );
    }
    let persistent_keepalive = keepalive(&table.persistent_keepalive, &path, report);
    Some(Wireguard {
        private_key: private_key?,
        listen_port,
        peer_public_key: peer_public_key?,
        preshared_key: preshared_key?,
        endpoint: endpoint?,
        persistent_keepalive,
    })
}

fn endpoint(text: &str, path: &str, report: &mut Report<'_>) -> Option<SocketAddr> {
    let endpoint = text.parse().ok().filter(|address: &SocketAddr| {
        address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
    });
    if endpoint.is_none() {
        report.error(
            format!("{path}.endpoint"),
            format!("{text:?} is no address with a port"),
            "write it as in \"203.0.113.2:51820\" or \"[2001:db8::2]:51820\"; host names are not \
             resolved",
        );
    }
    endpoint
}

fn keepalive(written: &Field<Duration>, path: &str, report: &mut Report<'_>) -> u16 {
    let Some(&time) = written.given() else {
        return 0;
    };
    let seconds = u16::try_from(time.as_secs()).ok();
    match seconds.filter(|seconds| *seconds != 0 && time.subsec_nanos() == 0) {
        Some(seconds) => seconds,
        None => {
            report.error(
                format!("{path}.persistent_keepalive"),
                format!("{time:?} is no time that WireGuard takes"),
                "whole seconds, \"1s\" to \"65535s\"; \"25s\" is usual",
            );
            0
        }
    }
}

/// What is in a file with a key.
fn secret() -> Secret<impl Fn(&str) -> Option<WireguardKey>> {
    Secret {
        is: "one key in base64, of 44 characters",
        make: MAKE_KEY,
        decode,
    }
}

/// Decodes a key in base64 (RFC 4648, 4), as `wg` writes it.
fn decode(text: &str) -> Option<WireguardKey> {
    let digits = text.strip_suffix('=').filter(|digits| digits.len() == 43)?;
    let mut key = [0; 32];
    let (mut bits, mut count, mut at) = (0_u32, 0, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            *key.get_mut(at)? = (bits >> count) as u8;
            at += 1;
        }
    }
    // The last two bits belong to no byte.
    (at == 32 && bits & 0b11 == 0).then_some(WireguardKey(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

    #[test]
    fn keys_are_read_as_wg_writes_them() {
        let WireguardKey(key) = decode(KEY).unwrap();
        assert_eq!(key[..4], [0xc8, 0x09, 0xf3, 0xe5]);
        assert_eq!(key[31], 0x69);
        for bad in [
            "",
            "yAnz",
            &KEY[..43],
            &KEY.replace('+', "-"),
            &KEY.replace("k=", "l="),
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
