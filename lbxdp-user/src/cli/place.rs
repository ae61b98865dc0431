//! Where an agent is to be found: arguments that several verbs share.

use std::path::PathBuf;

/// Where maps and links are pinned.
#[derive(clap::Args, Clone, Debug)]
pub struct PinPath {
    /// Folder in which maps and links are pinned (`node.pin_path`).
    #[arg(
        long,
        global = true,
        env = "LBXDP_PIN_PATH",
        default_value = "/sys/fs/bpf/lbxdp",
        value_name = "PATH"
    )]
    pub pin_path: PathBuf,
}

/// Where the agent listens.
#[derive(clap::Args, Clone, Debug)]
pub struct Socket {
    /// The agent's control socket (`node.socket`).
    #[arg(
        long,
        env = "LBXDP_SOCKET",
        default_value = "/run/lbxdp.sock",
        value_name = "PATH"
    )]
    pub socket: PathBuf,
}
