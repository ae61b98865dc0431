//! The reference of all keys, made from their declarations.

use std::fmt::Write as _;

use super::read::Section;
use super::{
    File, HealthCheck, Listener, LoadBalancer, Monitor, Node, Origin, Pool, RandomSteering,
    SnatTimeouts, Tunnel, Vnet,
};

/// The reference of all keys, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(INTRODUCTION);
    describe::<File>(&mut text);
    describe::<Node>(&mut text);
    describe::<SnatTimeouts>(&mut text);
    describe::<Vnet>(&mut text);
    describe::<Tunnel>(&mut text);
    text.push_str(MTU);
    describe::<HealthCheck>(&mut text);
    describe::<Monitor>(&mut text);
    describe::<Pool>(&mut text);
    describe::<Origin>(&mut text);
    describe::<LoadBalancer>(&mut text);
    describe::<Listener>(&mut text);
    describe::<RandomSteering>(&mut text);
    text
}

fn describe<S: Section>(text: &mut String) {
    let title = if S::HEADER.is_empty() {
        "The file"
    } else {
        S::HEADER
    };
    let _ = write!(
        text,
        "\n## {title}\n\n{}\n\n| key | value | meaning |\n|---|---|---|\n",
        S::ABOUT.trim()
    );
    for key in S::keys() {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            key.name,
            key.form,
            key.about.trim()
        );
    }
}

const INTRODUCTION: &str = "\
# Configuration reference

Made from the declarations in `lbxdp-user/src/config/file.rs`; a test keeps it so. `lbxdp check
--config FILE` says all that is wrong with a file, with line and key. Examples that work are in
`lbxdp-user/examples`.
";

const MTU: &str = "
Default `mtu`, for a path of 1500 bytes:

| kind | over IPv4 | over IPv6 |
|---|---|---|
| `ipip` | 1480 | 1460 |
| `gre` | 1476 (with key 1472) | 1456 (with key 1452) |
| `gue` | 1468 | 1448 |
| `vxlan`, `geneve` | 1450 | 1430 |
";
