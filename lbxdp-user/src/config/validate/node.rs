//! The table `node`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address::{check_one_of_each, check_usable};
use super::timing::{DAY, within};
use super::tunnel::check_device;
use super::{metrics, snat};
use crate::config::file::{self, Field, FragmentName};
use crate::config::model::{HashKey, Node, SnatTimeouts, XdpMode};
use crate::config::report::Report;

/// ICMP errors a second, on each CPU, unless configured.
const ICMP_RATE: u32 = 1000;
/// Flows recorded a second, on each CPU, unless configured.
const FLOW_RATE: u32 = 100_000;
/// Default of `flow_window` and `flow_idle`.
const FLOW_TIME: Duration = Duration::from_secs(300);
const MAKE_KEY: &str = "make one with `openssl rand -hex 16`, the same for all nodes";

pub(super) fn node(
    written: &Field<file::Node>,
    folder: Option<&Path>,
    report: &mut Report<'_>,
) -> Node {
    let hint = "add a table `[node]` with `interfaces` and `hash_key`";
    let mut node = Node {
        interfaces: Vec::new(),
        xdp_mode: XdpMode::Auto,
        addresses: Vec::new(),
        hash_key: HashKey([0; 16]),
        pin_path: "/sys/fs/bpf/lbxdp".into(),
        socket: "/run/lbxdp.sock".into(),
        metrics_listen: None,
        manage_sysctls: true,
        answer_echo: true,
        icmp_rate: ICMP_RATE,
        flow_rate: FLOW_RATE,
        kernel_fragments: false,
        snat: Vec::new(),
        snat_timeouts: SnatTimeouts::RECOMMENDED,
        flow_window: FLOW_TIME,
        flow_idle: FLOW_TIME,
    };
    let Some(written) = written.required("", "node", hint, report) else {
        return node;
    };
    let file::Node {
        interfaces: _,
        xdp_mode,
        addresses,
        hash_key: _,
        hash_key_file: _,
        pin_path,
        socket,
        metrics_listen,
        manage_sysctls,
        answer_echo,
        icmp_rate,
        flow_rate,
        fragment,
        snat,
        snat_timeouts,
        flow_window,
        flow_idle,
    } = written;
    node.interfaces = interfaces(written, report);
    node.xdp_mode = xdp_mode.or(node.xdp_mode);
    for (index, &address) in addresses.elements().iter().enumerate() {
        check_usable(address, &format!("node.addresses[{index}]"), report);
    }
    node.addresses = addresses.elements().to_vec();
    check_one_of_each(&node.addresses, "node.addresses", report);
    if let Some(key) = hash_key(written, folder, report) {
        node.hash_key = key;
    }
    node.pin_path = absolute(pin_path, "node.pin_path", node.pin_path, report);
    node.socket = absolute(socket, "node.socket", node.socket, report);
    // `sun_path` of sockaddr_un has 108 bytes, the last of them zero.
    if node.socket.as_os_str().len() > 107 {
        report.error(
            "node.socket",
            format!("the path has {} bytes", node.socket.as_os_str().len()),
            "the path of a unix socket has at most 107 bytes",
        );
    }
    node.metrics_listen = metrics::listen(metrics_listen, report);
    node.manage_sysctls = manage_sysctls.or(true);
    node.answer_echo = answer_echo.or(true);
    node.icmp_rate = icmp_rate.or(ICMP_RATE);
    node.flow_rate = flow_rate.or(FLOW_RATE);
    node.kernel_fragments = fragment.or(FragmentName::Drop) == FragmentName::Kernel;
    node.snat = snat::ranges(snat, "node.snat", report);
    node.snat_timeouts = snat::timeouts(snat_timeouts, report);
    let mut time = |field: &Field<Duration>, key: &str| {
        within(
            field.or(FLOW_TIME),
            Duration::from_secs(1)..=DAY,
            &format!("node.{key}"),
            "from \"1s\" to \"1day\"",
            report,
        )
    };
    node.flow_window = time(flow_window, "flow_window");
    node.flow_idle = time(flow_idle, "flow_idle");
    node
}

fn interfaces(written: &file::Node, report: &mut Report<'_>) -> Vec<String> {
    let hint = "name the interfaces that packets arrive on, as in [\"eth0\"]";
    let Some(interfaces) = written
        .interfaces
        .required("node", "interfaces", hint, report)
    else {
        return Vec::new();
    };
    if interfaces.is_empty() {
        report.error("node.interfaces", "no interface is named", hint);
    }
    for (index, name) in interfaces.iter().enumerate() {
        let path = format!("node.interfaces[{index}]");
        check_device(name, &path, report);
        if interfaces.iter().take(index).any(|other| other == name) {
            report.error(
                path,
                format!("{name:?} is named twice"),
                "remove one of them",
            );
        }
    }
    interfaces.clone()
}

fn absolute(
    field: &Field<PathBuf>,
    path: &str,
    default: PathBuf,
    report: &mut Report<'_>,
) -> PathBuf {
    let value = field.or(default);
    if !value.is_absolute() || value.as_os_str().as_encoded_bytes().contains(&0) {
        report.error(
            path,
            format!("{:?} is no absolute path", value.display().to_string()),
            "begin it with `/`",
        );
    }
    value
}

fn hash_key(
    written: &file::Node,
    folder: Option<&Path>,
    report: &mut Report<'_>,
) -> Option<HashKey> {
    match (&written.hash_key, &written.hash_key_file) {
        (Field::Absent, Field::Absent) => {
            report.error(
                "node.hash_key",
                "`hash_key` is missing, and so is `hash_key_file`",
                MAKE_KEY,
            );
            None
        }
        (Field::Absent, Field::Wrong) | (Field::Wrong, Field::Absent) => None,
        (Field::Given(text), Field::Absent) => digits(&text.0, "node.hash_key", report),
        (Field::Absent, Field::Given(file)) => {
            let file = folder.map_or_else(|| file.clone(), |folder| folder.join(file));
            let text = match read_secret(&file) {
                Ok(text) => text,
                Err((problem, hint)) => {
                    report.error(
                        "node.hash_key_file",
                        format!("{}: {problem}", file.display()),
                        hint,
                    );
                    return None;
                }
            };
            digits(text.trim(), "node.hash_key_file", report)
        }
        (Field::Given(_) | Field::Wrong, Field::Given(_) | Field::Wrong) => {
            report.error(
                "node.hash_key_file",
                "both `hash_key` and `hash_key_file` are there",
                "remove one of them",
            );
            None
        }
    }
}

/// Reads a small regular file that its owner alone can read.
fn read_secret(file: &Path) -> Result<String, (String, String)> {
    let failed = |error: std::io::Error| {
        let hint = "check the path; a relative one is relative to the configuration file";
        (error.to_string(), hint.to_owned())
    };
    let meta = fs::metadata(file).map_err(failed)?;
    if !meta.is_file() || meta.len() > 1024 {
        let hint = "name a file that holds 32 hexadecimal digits and nothing else";
        return Err(("is no file with a key".to_owned(), hint.to_owned()));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let problem = format!("others than its owner have access (mode {mode:04o})");
        return Err((problem, format!("`chmod 600 {}`", file.display())));
    }
    fs::read_to_string(file).map_err(failed)
}

/// Decodes the key. Messages say nothing of its value.
fn digits(text: &str, path: &str, report: &mut Report<'_>) -> Option<HashKey> {
    let key = u128::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 32 && !text.starts_with('+'));
    match key {
        None => {
            let count = text.chars().count();
            let problem = if count == 32 {
                "the key has characters that are no hexadecimal digits".to_owned()
            } else {
                format!("the key has {count} characters instead of 32 hexadecimal digits")
            };
            report.error(path, problem, MAKE_KEY);
        }
        Some(0) => report.error(path, "a key of zeros is no secret", MAKE_KEY),
        Some(_) => {}
    }
    key.map(|key| HashKey(key.to_be_bytes()))
}
