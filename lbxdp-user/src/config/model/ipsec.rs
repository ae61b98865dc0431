use std::fmt;

/// Secret bytes of a security association: key and salt. No message, log or status shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct IpsecKey(pub Vec<u8>);

impl fmt::Debug for IpsecKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IpsecKey(…)")
    }
}

/// Who makes the security associations of an IPsec tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keying {
    /// The agent, with keys of the configuration.
    Static,
    /// An IKE daemon.
    Ike,
}

/// The two security associations of an IPsec tunnel with static keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Associations {
    /// What encrypts and authenticates.
    pub cipher: Cipher,
    /// From the far end to this node.
    pub inbound: Association,
    /// From this node to the far end.
    pub outbound: Association,
    /// Packets that may come out of order before they count as replayed; 0 for no such check.
    pub replay_window: u32,
    /// Whether the outer header has the DSCP of the packet inside, rather than 0.
    pub copies_dscp: bool,
}

/// One direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Association {
    /// Security parameters index.
    pub spi: u32,
    /// Its secret.
    pub key: IpsecKey,
}

/// Ciphers of ESP: AES in Galois/Counter Mode, with 16 bytes of authentication (RFC 4106).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cipher {
    /// A key of 128 bits.
    AesGcm128,
    /// A key of 256 bits.
    AesGcm256,
}

impl Cipher {
    /// Bytes of a key and of the salt of 4 bytes that follows it (RFC 4106, 8.1).
    #[must_use]
    pub const fn secret_len(self) -> usize {
        match self {
            Self::AesGcm128 => 16 + 4,
            Self::AesGcm256 => 32 + 4,
        }
    }
}
