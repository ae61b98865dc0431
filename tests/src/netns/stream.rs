//! Bulk over TCP, both ways, byte for byte.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::{Lab, slow};

/// How long a transfer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends `length` bytes to a server that echoes them after its name and a line feed, and compares
/// what comes back.
pub fn exchange(lab: &Lab, to: SocketAddr, server: &str, length: usize) -> Result<()> {
    let transfer = async {
        let socket = lab.clients().within(|| match to {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        })?;
        let stream = socket.connect(to).await.context("no connection")?;
        let (mut read, mut write) = stream.into_split();
        let sent = pattern(length);
        let sending = async {
            write.write_all(&sent).await?;
            write.shutdown().await
        };
        let mut received = Vec::new();
        let (sending, receiving) = tokio::join!(sending, read.read_to_end(&mut received));
        sending.context("cannot send")?;
        receiving.context("cannot receive")?;
        let name = [server.as_bytes(), b"\n"].concat();
        let echo = received.strip_prefix(name.as_slice());
        let echo = echo.with_context(|| format!("it is not {server} that answers"))?;
        ensure!(
            echo == sent,
            "{} of {length} bytes came back, or other ones",
            echo.len()
        );
        Ok(())
    };
    lab.block_on(async { timeout(slow(PATIENCE), transfer).await })
        .with_context(|| format!("{length} bytes to {to} and back: not within {PATIENCE:?}"))?
        .with_context(|| format!("{length} bytes to {to} and back"))
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0u32..)
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_be_bytes())
        .take(length)
        .collect()
}
