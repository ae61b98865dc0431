//! A second dissector that is not ours: tshark, where it is installed.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Link type of Ethernet in a capture file.
const LINKTYPE_ETHERNET: u32 = 1;
/// Magic number of a capture file with microseconds, in the writer's order.
const MAGIC: u32 = 0xa1b2_c3d4;

/// Whether tshark can be run.
#[must_use]
pub fn is_installed() -> bool {
    Command::new("tshark")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// What tshark has against each of the frames: empty lines for those in order.
///
/// # Errors
/// When tshark cannot be run or does not answer for every frame.
pub fn complaints(frames: &[Vec<u8>]) -> Result<Vec<String>> {
    let mut capture = tempfile::NamedTempFile::new().context("cannot make a capture file")?;
    capture
        .write_all(&pcap(frames))
        .context("cannot write the capture file")?;
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(capture.path())
        .args(["-o", "ip.check_checksum:TRUE"])
        .args(["-o", "tcp.check_checksum:TRUE"])
        .args(["-o", "udp.check_checksum:TRUE"])
        // Synthetic flows have neither handshakes nor gaps worth a warning.
        .args(["-o", "tcp.analyze_sequence_numbers:FALSE"])
        .args(["-T", "fields", "-E", "separator=;"])
        .args(["-e", "frame.number"])
        .args(["-e", "_ws.malformed"])
        .args(["-e", "ip.checksum.status"])
        .args(["-e", "tcp.checksum.status"])
        .args(["-e", "udp.checksum.status"])
        .args(["-e", "gre.checksum.status"])
        .args(["-e", "icmp.checksum.status"])
        .args(["-e", "icmpv6.checksum.status"])
        .output()
        .context("cannot run tshark")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "tshark failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let complaints: Vec<String> = text.lines().map(complaint).collect();
    ensure!(
        complaints.len() == frames.len(),
        "tshark answered for {} of {} frames",
        complaints.len(),
        frames.len()
    );
    Ok(complaints)
}

/// Reads one line of fields: number; malformed; statuses, each a list over the layers.
fn complaint(line: &str) -> String {
    let mut fields = line.split(';');
    let _number = fields.next();
    let mut found = Vec::new();
    if let Some(malformed) = fields.next().filter(|text| !text.is_empty()) {
        found.push(format!("malformed: {malformed}"));
    }
    let mut fields: Vec<Vec<&str>> = fields
        .map(|list| {
            list.split(',')
                .filter(|status| !status.is_empty())
                .collect()
        })
        .collect();
    if let [_, tcp, udp, _, icmp, icmpv6] = fields.as_mut_slice()
        && (!icmp.is_empty() || !icmpv6.is_empty())
        && tcp.pop().is_none()
    {
        // The innermost is of what is quoted, of which the end is missing.
        udp.pop();
    }
    for (name, statuses) in ["IPv4", "TCP", "UDP", "GRE", "ICMP", "ICMPv6"]
        .iter()
        .zip(fields)
    {
        // 0 bad, 1 good, 2 unverified, 3 not present.
        if statuses
            .iter()
            .any(|status| *status == "0" || *status == "Bad")
        {
            found.push(format!("{name} checksum is bad"));
        }
    }
    found.join(", ")
}

/// A capture file with these frames.
#[must_use]
pub fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(MAGIC.to_ne_bytes());
    file.extend(2_u16.to_ne_bytes());
    file.extend(4_u16.to_ne_bytes());
    file.extend([0; 8]);
    file.extend(65_535_u32.to_ne_bytes());
    file.extend(LINKTYPE_ETHERNET.to_ne_bytes());
    for frame in frames {
        let length = frame.len() as u32;
        file.extend([0; 8]);
        file.extend(length.to_ne_bytes());
        file.extend(length.to_ne_bytes());
        file.extend_from_slice(frame);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;

    #[test]
    fn tshark_accepts_a_good_frame_and_finds_a_bad_checksum() {
        if !is_installed() {
            crate::skip("tshark_accepts_a_good_frame", "tshark is not installed");
            return;
        }
        let good = Packet::eth([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4("192.0.2.1", "192.0.2.2")
            .udp(50_000, 9)
            .payload(b"x")
            .bytes();
        let mut bad = good.clone();
        bad[40] ^= 1;
        let complaints = complaints(&[good, bad]).expect("tshark runs");
        assert_eq!(complaints[0], "");
        assert_eq!(complaints[1], "UDP checksum is bad");
    }
}
