//! Bad configurations by the dozen: an edit of a good one, and the one error that it must give.

use super::*;

struct Bad {
    /// The text that is spoilt.
    base: &'static str,
    /// How.
    edits: &'static [(&'static str, &'static str)],
    /// The key that must be named.
    path: &'static str,
    /// Words of the problem and the hint.
    words: &'static [&'static str],
}

macro_rules! bad {
    ($($base:ident { $($from:literal => $to:literal),+ $(,)? } -> $path:literal: $($word:literal),+;)*) => {
        &[$(Bad { base: $base, edits: &[$(($from, $to)),+], path: $path, words: &[$($word),+] }),*]
    };
}

const ECHO_LISTENERS: &str =
    "listeners = [{ address = \"198.51.100.10\", port = 7, protocol = \"udp\" }]";

#[test]
fn each_bad_configuration_gives_its_one_error() {
    let mut wrong = Vec::new();
    for bad in NODE
        .iter()
        .chain(VNET)
        .chain(MONITOR)
        .chain(POOL)
        .chain(BALANCER)
    {
        let outcome = parsed(&edited(bad.base, bad.edits));
        let errors = outcome
            .err()
            .map(|invalid| invalid.errors)
            .unwrap_or_default();
        let fits = errors.len() == 1
            && errors[0].path == bad.path
            && errors[0].line.is_some()
            && bad
                .words
                .iter()
                .all(|&word| errors[0].problem.contains(word) || errors[0].hint.contains(word));
        if !fits {
            let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
            wrong.push(format!(
                "{:?}\n  expected {} {:?}, found:\n{}",
                bad.edits,
                bad.path,
                bad.words,
                found.join("\n")
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

#[test]
fn there_are_enough_of_them() {
    let count = NODE.len() + VNET.len() + MONITOR.len() + POOL.len() + BALANCER.len();
    assert!(count >= 120, "{count}");
    assert!(VNETS.contains(ECHO_LISTENERS));
}

const NODE: &[Bad] = bad! {
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\"]\nsnat_timeouts = { udp = \"0s\" }" } -> "node.snat_timeouts.udp": "out of range", "7days";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\"]\nsnat = [\"203.0.113.8/24\"]" } -> "node.snat[0]": "bits set", "203.0.113.0/24";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\"]\nmetrics_listen = \"127.0.0.1\"" } -> "node.metrics_listen": "not an IP address with a port", "add the port", "\"127.0.0.1:9733\"";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\"]\nmetrics_listen = \"::1\"" } -> "node.metrics_listen": "add the port", "\"[::1]:9733\"";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\"]\nmetrics_listen = \":9733\"" } -> "node.metrics_listen": "0.0.0.0";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\"]\nmetrics_listen = \"localhost:9733\"" } -> "node.metrics_listen": "host names are not resolved";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\"]\nmetrics_listen = 9733" } -> "node.metrics_listen": "expected an IP address with a port", "an integer";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\"]\nmetrics_listen = \"127.0.0.1:0\"" } -> "node.metrics_listen": "port 0";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\"]\nmetrics_listen = \"224.0.0.1:9733\"" } -> "node.metrics_listen": "multicast";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\"]\nmetrics_listen = \"[::ffff:198.51.100.10]:80\"" } -> "node.metrics_listen": "origins of load balancer \"www\"", "another";
    VNETS { "interfaces = [\"eth0\"]" => "" } -> "node.interfaces": "missing", "[\"eth0\"]";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = []" } -> "node.interfaces": "no interface";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = \"eth0\"" } -> "node.interfaces": "expected a list", "found a string";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\", \"eth0\"]" } -> "node.interfaces[1]": "twice";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"a-very-long-interface\"]" } -> "node.interfaces[0]": "15 bytes";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth 0\"]" } -> "node.interfaces[0]": "no name of a network device";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\", 1]" } -> "node.interfaces[1]": "expected a string", "an integer";
    VNETS { "xdp_mode = \"auto\"" => "xdp_mode = \"skb\"" } -> "node.xdp_mode": "not one of", "\"generic\"";
    VNETS { "xdp_mode = \"auto\"" => "xdp_mode = \"offload\"" } -> "node.xdp_mode": "not supported by this version", "\"native\"";
    VNETS { "xdp_mode = \"auto\"" => "xdpmode = \"auto\"" } -> "node.xdpmode": "no key", "did you mean `xdp_mode`?";
    VNETS { "xdp_mode = \"auto\"" => "colour = \"red\"" } -> "node.colour": "`node` has no key `colour`", "`interfaces`";
    VNETS { "[node]" => "wibble = 1\n[node]" } -> "wibble": "the file has no key", "`load_balancer`";
    VNETS { "[[vnet]]\nname = \"blue\"" => "[[vnett]]\nx = 1\n[[vnet]]\nname = \"blue\"" } -> "vnett": "did you mean `vnet`?";
    VNETS { "\"203.0.113.1\"" => "\"203.0.113.1\", \"203.0.113.9\"" } -> "node.addresses[1]": "second IPv4", "at most one";
    VNETS { "\"203.0.113.1\"" => "\"203.0.113.1/24\"" } -> "node.addresses[0]": "not an IP address", "prefix length";
    VNETS { "\"203.0.113.1\"" => "\"203.0.113.1\", \"::\"" } -> "node.addresses[1]": "unspecified";
    VNETS { "\"203.0.113.1\"" => "\"203.0.113.1\", \"fe80::1\"" } -> "node.addresses[1]": "link-local";
    VNETS { "\"203.0.113.1\"" => "\"224.0.0.1\"" } -> "node.addresses[0]": "multicast";
    VNETS { "\"203.0.113.1\"" => "\"edge.example.net\"" } -> "node.addresses[0]": "host names are not resolved";
    VNETS { "hash_key = \"2b7e151628aed2a6abf7158809cf4f3c\"" => "" } -> "node.hash_key": "missing", "openssl rand -hex 16";
    VNETS { "2b7e151628aed2a6abf7158809cf4f3c" => "2b7e" } -> "node.hash_key": "4 characters", "32 hexadecimal digits", "openssl rand -hex 16";
    VNETS { "2b7e151628aed2a6abf7158809cf4f3c" => "zb7e151628aed2a6abf7158809cf4f3c" } -> "node.hash_key": "no hexadecimal digits";
    VNETS { "2b7e151628aed2a6abf7158809cf4f3c" => "00000000000000000000000000000000" } -> "node.hash_key": "zeros";
    VNETS { "xdp_mode = \"auto\"" => "hash_key_file = \"key\"" } -> "node.hash_key_file": "both", "remove one";
    VNETS { "xdp_mode = \"auto\"" => "pin_path = \"lbxdp\"" } -> "node.pin_path": "no absolute path";
    VNETS { "xdp_mode = \"auto\"" => "socket = \"run/lbxdp.sock\"" } -> "node.socket": "no absolute path";
    VNETS { "xdp_mode = \"auto\"" => "socket = \"/run/01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789/s\"" } -> "node.socket": "107 bytes";
    VNETS { "xdp_mode = \"auto\"" => "manage_sysctls = \"yes\"" } -> "node.manage_sysctls": "expected true or false";
};

const VNET: &[Bad] = bad! {
    VNETS { "name = \"blue\"" => "name = \"blue\"\nsnat = [\"10.254.0.1/24\"]" } -> "vnet[blue].snat[0]": "bits set", "10.254.0.0/24";
    VNETS { "name = \"blue\"" => "name = \"blue\"\nsnat = [\"10.254.0.0/24\", \"10.253.0.0/24\"]" } -> "vnet[blue].snat[1]": "second IPv4", "at most one";
    VNETS { "name = \"blue\"" => "name = \"blue\"\nsnat = [\"10.255.0.0/30\"]" } -> "vnet[blue].snat[0]": "far end of tunnel \"blue-1\"";
    VNETS { "name = \"green\"" => "name = \"green\"\nsnat = [\"10.0.0.8/30\"]", "name = \"echo-green\"\nmonitor = \"ping\"\nforwarding = \"nat\"\n\n[[pool.origin]]\nname = \"a\"\naddress = \"10.0.0.11\"" => "name = \"echo-green\"\nmonitor = \"ping\"\nforwarding = \"nat\"\nsource = \"preserve\"\n\n[[pool.origin]]\nname = \"a\"\naddress = \"10.0.0.21\"" } -> "pool[web-green].origin[a].address": "10.0.0.8/30", "`vnet[green].snat`";
    VNETS { "name = \"green\"" => "name = \"green\"\nsnat = [\"10.0.0.20/30\"]", "name = \"echo-green\"\nmonitor = \"ping\"\nforwarding = \"nat\"\n\n[[pool.origin]]\nname = \"a\"\naddress = \"10.0.0.11\"" => "name = \"echo-green\"\nmonitor = \"ping\"\nforwarding = \"nat\"\nsource = \"preserve\"\n\n[[pool.origin]]\nname = \"a\"\naddress = \"10.0.0.21\"" } -> "pool[echo-green].origin[a].address": "10.0.0.20/30", "`vnet[green].snat`";
    VNETS { "name = \"blue\"" => "name = \"blue\"\nid = 0" } -> "vnet[blue].id": "routing table";
    VNETS { "name = \"blue\"" => "name = \"blue\"\nid = 254" } -> "vnet[blue].id": "the kernel's own";
    VNETS { "name = \"blue\"" => "name = \"blue\"\nid = -1" } -> "vnet[blue].id": "out of range";
    VNETS { "name = \"blue\"" => "name = \"blue\"\nid = 7", "name = \"green\"" => "name = \"green\"\nid = 7" } -> "vnet[green].id": "same number 7", "\"blue\"", "\"green\"";
    VNETS { "[[load_balancer]]" => "[[vnet]]\nname = \"local\"\n[[vnet.tunnel]]\nname = \"t\"\nkind = \"gre\"\nremote = \"203.0.113.9\"\naddresses = [\"10.1.0.1/30\"]\npeers = [\"10.1.0.2\"]\n[[load_balancer]]" } -> "vnet[local].name": "reserved";
    VNETS { "[[load_balancer]]" => "[[vnet]]\nname = \"empty\"\n[[load_balancer]]" } -> "vnet[empty].tunnel": "no tunnel", "[[vnet.tunnel]]";
    VNETS { "[[load_balancer]]" => "[[vnet]]\nname = \"empty\"\ntunnel = 7\n[[load_balancer]]" } -> "vnet[empty].tunnel": "expected a list";
    VNETS { "name = \"blue-1\"" => "name = \"blue 1\"" } -> "vnet[blue].tunnel[blue 1].name": "is no name", "letters, digits";
    VNETS { "name = \"blue-1\"\n" => "" } -> "vnet[blue].tunnel[0].name": "missing";
    VNETS { "kind = \"vxlan\"\n" => "" } -> "vnet[blue].tunnel[blue-1].kind": "missing", "`geneve`";
    VNETS { "kind = \"vxlan\"\nremote = \"203.0.113.2\"\nvni = 100\n" => "kind = \"ipsec\"\nremote = \"203.0.113.2\"\n" } -> "vnet[blue].tunnel[blue-1].ipsec": "missing", "keying";
    VNETS { "kind = \"vxlan\"" => "kind = \"genev\"" } -> "vnet[blue].tunnel[blue-1].kind": "did you mean `geneve`?";
    VNETS { "remote = \"203.0.113.2\"\n" => "" } -> "vnet[blue].tunnel[blue-1].remote": "missing";
    VNETS { "remote = \"203.0.113.2\"" => "remote = \"203.0.113.1\"" } -> "vnet[blue].tunnel[blue-1].remote": "node's own address";
    VNETS { "remote = \"203.0.113.2\"" => "remote = \"239.1.1.1\"" } -> "vnet[blue].tunnel[blue-1].remote": "multicast";
    VNETS { "remote = \"203.0.113.2\"" => "remote = \"2001:db8::2\"" } -> "vnet[blue].tunnel[blue-1].local": "the node has no IPv6 address", "node.addresses";
    VNETS { "remote = \"203.0.113.2\"" => "remote = \"203.0.113.2\"\nlocal = \"2001:db8::1\"" } -> "vnet[blue].tunnel[blue-1].local": "is IPv6", "is IPv4";
    VNETS { "remote = \"203.0.113.2\"" => "remote = \"203.0.113.2\"\nlocal = \"203.0.113.2\"" } -> "vnet[blue].tunnel[blue-1].local": "two ends";
    VNETS { "vni = 100\n" => "" } -> "vnet[blue].tunnel[blue-1].vni": "missing", "16777215";
    VNETS { "vni = 100" => "vni = 16777216" } -> "vnet[blue].tunnel[blue-1].vni": "24 bits";
    VNETS { "vni = 100" => "vni = 100\nkey = 5" } -> "vnet[blue].tunnel[blue-1].key": "vxlan has no `key`", "`gre`";
    VNETS { "vni = 100" => "vni = 100\ncarries = \"ip\"" } -> "vnet[blue].tunnel[blue-1].carries": "vxlan has no `carries`", "`geneve`";
    VNETS { "vni = 100" => "vni = 100\ngre_checksum = true" } -> "vnet[blue].tunnel[blue-1].gre_checksum": "vxlan has no `gre_checksum`", "`gre`";
    VNETS { "kind = \"vxlan\"" => "kind = \"gre\"" } -> "vnet[blue].tunnel[blue-1].vni": "gre has no `vni`";
    VNETS { "kind = \"vxlan\"" => "kind = \"ipip\"", "vni = 100" => "port = 4" } -> "vnet[blue].tunnel[blue-1].port": "ipip has no `port`";
    VNETS { "vni = 100" => "vni = 100\nport = 0" } -> "vnet[blue].tunnel[blue-1].port": "no UDP port";
    VNETS { "vni = 100" => "vni = 100\nport = 65536" } -> "vnet[blue].tunnel[blue-1].port": "out of range";
    VNETS { "addresses = [\"10.255.0.1/30\"]\n" => "" } -> "vnet[blue].tunnel[blue-1].addresses": "missing", "10.255.0.1/30";
    VNETS { "addresses = [\"10.255.0.1/30\"]" => "addresses = []", "peers = [\"10.255.0.2\"]" => "peers = [\"10.255.0.2\"]" } -> "vnet[blue].tunnel[blue-1].addresses": "no address inside";
    VNETS { "addresses = [\"10.255.0.1/30\"]" => "addresses = [\"10.255.0.1\"]" } -> "vnet[blue].tunnel[blue-1].addresses[0]": "\"10.255.0.1/32\"";
    VNETS { "addresses = [\"10.255.0.1/30\"]" => "addresses = [\"10.255.0.0/30\"]" } -> "vnet[blue].tunnel[blue-1].addresses[0]": "is a network";
    VNETS { "addresses = [\"10.255.0.1/30\"]" => "addresses = [\"10.255.0.1/30\", \"10.254.0.1/30\"]" } -> "vnet[blue].tunnel[blue-1].addresses[1]": "second IPv4";
    VNETS { "peers = [\"10.255.0.2\"]\n" => "", "health_check = {" => "health_check = { enabled = false," } -> "vnet[blue].tunnel[blue-1].peers": "vxlan carries Ethernet", "gateway";
    VNETS { "peers = [\"10.255.0.2\"]" => "peers = [\"10.255.0.1\"]" } -> "vnet[blue].tunnel[blue-1].peers[0]": "node's own";
    VNETS { "peers = [\"10.255.0.2\"]" => "peers = [\"10.255.7.2\"]" } -> "vnet[blue].tunnel[blue-1].peers[0]": "none of the prefixes";
    VNETS { "peers = [\"10.255.0.2\"]" => "peers = [\"10.255.0.2\", \"10.255.0.3\"]" } -> "vnet[blue].tunnel[blue-1].peers[1]": "second IPv4";
    VNETS { "kind = \"vxlan\"" => "kind = \"gre\"", "vni = 100" => "", "peers = [\"10.255.0.2\"]" => "" } -> "vnet[blue].tunnel[blue-1].health_check": "nobody to ping", "enabled = false";
    VNETS { "routes = [\"10.0.0.0/8\"]" => "routes = [\"10.0.0.1/8\"]" } -> "vnet[blue].tunnel[blue-1].routes[0]": "bits set", "\"10.0.0.0/8\"";
    VNETS { "routes = [\"10.0.0.0/8\"]" => "routes = [\"10.0.0.0/8\", \"10.0.0.0/8\"]" } -> "vnet[blue].tunnel[blue-1].routes[1]": "twice";
    VNETS { "routes = [\"10.0.0.0/8\"]" => "routes = [\"10.0.0.0/8\", \"fd00::/8\"]", "peers = [\"10.255.0.2\"]" => "peers = [\"10.255.0.2\", \"fd00::2\"]", "addresses = [\"10.255.0.1/30\"]" => "addresses = [\"10.255.0.1/30\", \"fd00::1/64\"]\nmtu = 1279" } -> "vnet[blue].tunnel[blue-1].mtu": "1280";
    VNETS { "routes = [\"10.0.0.0/8\"]" => "routes = [\"10.0.0.0/8\", \"fd00::/8\"]", "addresses = [\"10.255.0.1/30\"]" => "addresses = [\"10.255.0.1/30\", \"fd00::1/64\"]" } -> "vnet[blue].tunnel[blue-1].peers": "no IPv6 peer", "fd00::/8";
    VNETS { "vni = 100" => "vni = 100\nmtu = 500" } -> "vnet[blue].tunnel[blue-1].mtu": "at least 576";
    VNETS { "vni = 100" => "vni = 100\nttl = 0" } -> "vnet[blue].tunnel[blue-1].ttl": "from 1 to 255";
    VNETS { "vni = 100" => "vni = 100\nttl = \"inner\"" } -> "vnet[blue].tunnel[blue-1].ttl": "expected an integer or \"inherit\"";
    VNETS { "vni = 100" => "vni = 100\ndscp = 64" } -> "vnet[blue].tunnel[blue-1].dscp": "from 0 to 63", "\"inherit\"";
    VNETS { "kind = \"vxlan\"" => "kind = \"ipip\"", "vni = 100" => "udp_checksum = true" } -> "vnet[blue].tunnel[blue-1].udp_checksum": "ipip has no `udp_checksum`";
    VNETS { "name = \"web-blue\"" => "name = \"web-blue\"\ndscp = 10" } -> "pool[web-blue].dscp": "has no `dscp`", "encapsulations";
    VNETS { "vni = 100" => "vni = 100\nttl = 256" } -> "vnet[blue].tunnel[blue-1].ttl": "from 1 to 255";
    VNETS { "vni = 100" => "vni = 100\ndevice = \"a-device-with-a-name\"" } -> "vnet[blue].tunnel[blue-1].device": "15 bytes";
    VNETS { "vni = 100" => "vni = 100\ndevice = \"eth0\"" } -> "vnet[blue].tunnel[blue-1].device": "node.interfaces";
    VNETS { "vni = 100" => "vni = 100\ndevice = \"tun7\"", "vni = 200" => "vni = 200\ndevice = \"tun7\"" } -> "vnet[green].tunnel[green-1].device": "\"blue/blue-1\"", "same device";
    VNETS { "vni = 200" => "vni = 100" } -> "vnet[green].tunnel[green-1].vni": "same VNI and port", "one VXLAN device";
    VNETS { "vni = 200" => "vni = 100", "203.0.113.3" => "203.0.113.2" } -> "vnet[green].tunnel[green-1].remote": "cannot be told apart", "`vni`";
    VNETS { "kind = \"vxlan\"" => "kind = \"gre\"", "kind = \"vxlan\"" => "kind = \"gre\"", "vni = 100" => "key = 5", "vni = 200" => "key = 5\ngre_checksum = true", "203.0.113.3" => "203.0.113.2" } -> "vnet[green].tunnel[green-1].remote": "cannot be told apart", "`key`";
    VNETS { "kind = \"vxlan\"" => "kind = \"geneve\"", "vni = 200" => "vni = 200\nport = 6081" } -> "vnet[green].tunnel[green-1].port": "same UDP port 6081", "geneve and vxlan";
    VNETS { "[[vnet]]\nname = \"green\"" => "[[vnet.tunnel]]\nname = \"blue-2\"\nkind = \"gre\"\nremote = \"203.0.113.4\"\naddresses = [\"10.255.1.1/30\"]\npeers = [\"10.255.1.2\"]\nroutes = [\"10.0.0.0/8\"]\n[[vnet]]\nname = \"green\"" } -> "vnet[blue].tunnel[blue-2].routes": "both lead to 10.0.0.0/8";
    VNETS { "[[vnet]]\nname = \"green\"" => "[[vnet.tunnel]]\nname = \"blue-2\"\nkind = \"gre\"\nremote = \"203.0.113.4\"\naddresses = [\"10.255.1.1/30\"]\npeers = [\"10.255.1.2\"]\n[[vnet]]\nname = \"green\"" } -> "vnet[blue].tunnel[blue-2].routes": "missing", "other tunnels";
    VNETS { "[[vnet]]\nname = \"green\"" => "[[vnet.tunnel]]\nname = \"blue-1\"\nkind = \"gre\"\nremote = \"203.0.113.4\"\naddresses = [\"10.255.1.1/30\"]\npeers = [\"10.255.1.2\"]\nroutes = [\"10.1.0.0/16\"]\n[[vnet]]\nname = \"green\"" } -> "vnet[blue].tunnel[blue-1#1].name": "another tunnel of this vnet";
    VNETS { "[[vnet]]\nname = \"green\"" => "[[vnet.tunnel]]\nname = \"blue-2\"\nkind = \"gre\"\nremote = \"203.0.113.4\"\naddresses = [\"10.255.1.1/30\"]\npeers = [\"10.255.1.2\"]\nroutes = [\"fd00::/8\"]\n[[vnet]]\nname = \"green\"" } -> "vnet[blue].tunnel[blue-2].routes[0]": "no IPv6 address inside";
    VNETS { "health_check = { interval = \"1s\"" => "health_check = { interval = \"1ms\"", "timeout = \"500ms\"" => "timeout = \"1ms\"" } -> "vnet[blue].tunnel[blue-1].health_check.interval": "out of range", "10ms";
    VNETS { "timeout = \"500ms\", retries = 1" => "timeout = \"500ms\", retries = 99" } -> "vnet[blue].tunnel[blue-1].health_check.retries": "0 to 10";
    VNETS { "health_check = {" => "health_check = { target = \"10.255.0.1\"," } -> "vnet[blue].tunnel[blue-1].health_check.target": "node's own";
    VNETS { "health_check = {" => "health_check = { target = \"192.0.2.1\"," } -> "vnet[blue].tunnel[blue-1].health_check.target": "not behind this tunnel";
    VNETS { "health_check = {" => "health_check = { rate = \"mid\"," } -> "vnet[blue].tunnel[blue-1].health_check.rate": "no key `rate`";
    VNETS { "vni = 100" => "vni = 100\nbgp = {}" } -> "vnet[blue].tunnel[blue-1].bgp": "not supported by this version", "`routes`";
};

const MONITOR: &[Bad] = bad! {
    VNETS { "type = \"http\"" => "type = \"https\"" } -> "monitor[web].type": "not supported by this version", "TLS", "\"icmp_ping\"";
    VNETS { "type = \"http\"" => "type = \"smtp\"" } -> "monitor[web].type": "not supported by this version";
    VNETS { "type = \"icmp_ping\"" => "type = \"icmp\"" } -> "monitor[ping].type": "not one of";
    VNETS { "type = \"icmp_ping\"" => "type = \"icmp_ping\"\nport = 7" } -> "monitor[ping].port": "icmp_ping has no `port`";
    VNETS { "type = \"icmp_ping\"" => "type = \"icmp_ping\"\npath = \"/\"" } -> "monitor[ping].path": "type = \"http\" only";
    VNETS { "path = \"/\"" => "path = \"health\"" } -> "monitor[web].path": "begin it with `/`";
    VNETS { "path = \"/\"" => "path = \"/a b\"" } -> "monitor[web].path": "%20";
    VNETS { "path = \"/\"" => "method = \"GET /\"" } -> "monitor[web].method": "no HTTP method";
    VNETS { "path = \"/\"" => "method = \"HEAD\"\nexpected_body = \"ok\"" } -> "monitor[web].expected_body": "HEAD has no body";
    VNETS { "path = \"/\"" => "header = { \"a b\" = \"c\" }" } -> "monitor[web].header.a b": "no name of a header field";
    VNETS { "path = \"/\"" => "header = { Connection = \"close\" }" } -> "monitor[web].header.Connection": "prober itself";
    VNETS { "path = \"/\"" => "header = { Host = \"a\\r\\nX: y\" }" } -> "monitor[web].header.Host": "line break";
    VNETS { "path = \"/\"" => "header = { Host = 1 }" } -> "monitor[web].header.Host": "a string or a list of strings";
    VNETS { "path = \"/\"" => "follow_redirects = true" } -> "monitor[web].follow_redirects": "not supported by this version", "expected_codes";
    VNETS { "expected_codes = \"2xx\"" => "expected_codes = \"2x\"" } -> "monitor[web].expected_codes": "no status code", "200-299";
    VNETS { "expected_codes = \"2xx\"" => "expected_codes = \"600\"" } -> "monitor[web].expected_codes": "100 to 599";
    VNETS { "expected_codes = \"2xx\"" => "expected_codes = \"299-200\"" } -> "monitor[web].expected_codes": "no status code";
    VNETS { "expected_codes = \"2xx\"" => "expected_codes = []" } -> "monitor[web].expected_codes": "no status code would pass";
    VNETS { "expected_codes = \"2xx\"\ninterval = \"1s\"" => "interval = \"1 parsec\"" } -> "monitor[web].interval": "not a duration", "\"500ms\"";
    VNETS { "expected_codes = \"2xx\"\ninterval = \"1s\"" => "interval = -1" } -> "monitor[web].interval": "positive";
    VNETS { "expected_codes = \"2xx\"\ninterval = \"1s\"" => "interval = \"2h\"" } -> "monitor[web].interval": "out of range", "1h";
    VNETS { "expected_codes = \"2xx\"\ninterval = \"1s\"\ntimeout = \"500ms\"" => "interval = 1\ntimeout = 2.5" } -> "monitor[web].timeout": "2.5s is longer than the interval of 1s";
    VNETS { "expected_codes = \"2xx\"\ninterval = \"1s\"\ntimeout = \"500ms\"" => "interval = 1\ntimeout = 0" } -> "monitor[web].timeout": "too short";
    VNETS { "retries = 1\nconsecutive_up = 2" => "retries = 1\nconsecutive_up = 1001" } -> "monitor[web].consecutive_up": "0 to 1000";
    VNETS { "[[pool]]" => "[[monitor]]\nname = \"ping\"\ntype = \"icmp_ping\"\n[[pool]]" } -> "monitor[ping#2].name": "another monitor called \"ping\"";
};

const POOL: &[Bad] = bad! {
    VNETS { "[[pool]]" => "[[pool]]\nname = \"void\"\n[[pool]]" } -> "pool[void].origin": "no origin", "[[pool.origin]]";
    VNETS { "monitor = \"ping\"" => "monitor = \"pings\"" } -> "pool[echo-green].monitor": "there is no monitor \"pings\"", "did you mean `ping`?";
    VNETS { "monitor = \"ping\"" => "monitor = \"smtp\"" } -> "pool[echo-green].monitor": "there is no monitor", "the monitors are: `ping`, `web`";
    VNETS { "monitor = \"ping\"" => "monitor = \"web\"" } -> "pool[echo-green].monitor": "does not know which port", "monitor[web]";
    VNETS { "minimum_origins = 1" => "minimum_origins = 0" } -> "pool[web-blue].minimum_origins": "at least 1";
    VNETS { "minimum_origins = 1" => "minimum_origins = 3" } -> "pool[web-blue].minimum_origins": "only 2 can be";
    VNETS { "minimum_origins = 1" => "minimum_origins = 2", "weight = 0.5" => "enabled = false" } -> "pool[web-blue].minimum_origins": "only 1 can be";
    VNETS { "minimum_origins = 1" => "panic_threshold = 1.5" } -> "pool[web-blue].panic_threshold": "out of range", "from 0 (never) to 1";
    VNETS { "minimum_origins = 1" => "panic_threshold = -0.1" } -> "pool[web-blue].panic_threshold": "out of range";
    VNETS { "minimum_origins = 1" => "all_down = \"refuse\"" } -> "pool[web-blue].all_down": "not one of", "\"last-known\"";
    VNETS { "minimum_origins = 1" => "source = \"masquerade\"" } -> "pool[web-blue].source": "\"snat\"", "\"preserve\"";
    VNETS { "virtual_network = \"green\"" => "virtual_network = \"local\"\n[[pool.origin]]\nname = \"z\"\naddress = \"10.0.0.12\"\nport = 8080\nvirtual_network = \"green\"" } -> "pool[web-green].source": "its default is \"snat\"", "make a pool of each";
    VNETS { "minimum_origins = 1" => "encapsulation = \"gre\"" } -> "pool[web-blue].encapsulation": "\"nat\" has no `encapsulation`", "\"dsr\"";
    VNETS { "minimum_origins = 1" => "port = 80" } -> "pool[web-blue].port": "\"nat\" has no `port`";
    VNETS { "minimum_origins = 1" => "origin_steering = { policy = \"hash\" }" } -> "pool[web-blue].origin_steering": "not supported by this version", "consistent hashing";
    VNETS { "minimum_origins = 1" => "load_shedding = {}" } -> "pool[web-blue].load_shedding": "not supported by this version", "weight";
    VNETS { "forwarding = \"nat\"\nminimum_origins = 1" => "forwarding = \"tun\"" } -> "pool[web-blue].forwarding": "not one of";
    VNETS { "weight = 0.5" => "weight = 1.5" } -> "pool[web-blue].origin[b].weight": "0 to 1";
    VNETS { "weight = 0.5" => "weight = nan" } -> "pool[web-blue].origin[b].weight": "expected a number";
    VNETS { "weight = 0.5" => "weight = \"half\"" } -> "pool[web-blue].origin[b].weight": "expected a number, found a string";
    VNETS { "weight = 0.5" => "header = { host = \"x\" }" } -> "pool[web-blue].origin[b].header": "not supported by this version", "monitor";
    VNETS { "weight = 0.5" => "inner_mac = \"02:00:00:00:00:01\"" } -> "pool[web-blue].origin[b].inner_mac": "dsr";
    VNETS { "weight = 0.5" => "inner_mac = \"02:00\"" } -> "pool[web-blue].origin[b].inner_mac": "not a MAC address", "six bytes";
    VNETS { "address = \"10.0.0.12\"\n" => "" } -> "pool[web-blue].origin[b].address": "missing";
    VNETS { "address = \"10.0.0.12\"" => "address = \"10.0.0.11\"" } -> "pool[web-blue].origin[b].address": "\"a\" and \"b\" are the same", "weight";
    VNETS { "address = \"10.0.0.12\"" => "address = \"10.0.0.12:80\"" } -> "pool[web-blue].origin[b].address": "leave out the port";
    VNETS { "address = \"10.0.0.12\"" => "address = \"web.internal\"" } -> "pool[web-blue].origin[b].address": "host names are not resolved";
    VNETS { "address = \"10.0.0.12\"" => "address = \"127.0.0.1\"" } -> "pool[web-blue].origin[b].address": "loopback";
    VNETS { "address = \"10.0.0.12\"" => "address = \"10.255.0.1\"" } -> "pool[web-blue].origin[b].address": "node's own address in tunnel \"blue/blue-1\"";
    VNETS { "address = \"10.0.0.12\"" => "address = \"192.168.3.4\"" } -> "pool[web-blue].origin[b].address": "no tunnel of vnet \"blue\" leads to 192.168.3.4", "`routes`", "10.0.0.0/8 by blue-1";
    VNETS { "address = \"10.0.0.12\"" => "address = \"fd00::12\"" , "routes = [\"10.0.0.0/8\"]" => "routes = [\"10.0.0.0/8\", \"fd00::/8\"]", "peers = [\"10.255.0.2\"]" => "peers = [\"10.255.0.2\", \"fd00::2\"]", "addresses = [\"10.255.0.1/30\"]" => "addresses = [\"10.255.0.1/30\", \"fd00::1/64\"]" } -> "pool[web-blue].origin[b].address": "198.51.100.10 (IPv4)", "fd00::12 (IPv6)", "nat does not translate";
    VNETS { "weight = 0.5\nvirtual_network = \"blue\"" => "weight = 0.5" } -> "pool[web-blue].origin[b].address": "10.0.0.12 is a private address", "10.0.0.0/8, RFC 1918", "\"blue\", \"green\"", "virtual_network = \"local\"";
    MINIMAL { "203.0.113.11" => "100.64.0.1" } -> "pool[web].origin[a].address": "RFC 6598", "no vnet is configured yet";
    MINIMAL { "203.0.113.11" => "fd00::1" } -> "pool[web].origin[a].address": "RFC 4193";
    VNETS { "weight = 0.5\nvirtual_network = \"blue\"" => "virtual_network = \"bleu\"" } -> "pool[web-blue].origin[b].virtual_network": "there is no vnet \"bleu\"", "did you mean `blue`?";
    VNETS { "weight = 0.5" => "virtual_network_id = \"blue\"" } -> "pool[web-blue].origin[b].virtual_network_id": "`virtual_network`";
    VNETS { "minimum_origins = 1" => "source = \"preserve\"", "weight = 0.5\nvirtual_network = \"blue\"" => "virtual_network = \"local\"", "address = \"10.0.0.12\"" => "address = \"203.0.113.1\"" } -> "pool[web-blue].origin[b].address": "`node.addresses`";
    VNETS { "minimum_origins = 1" => "source = \"preserve\"", "weight = 0.5\nvirtual_network = \"blue\"" => "virtual_network = \"local\"", "address = \"10.0.0.12\"" => "address = \"198.51.100.10\"" } -> "pool[web-blue].origin[b].address": "VIP of load balancer", "chained";
    VNETS { "name = \"b\"" => "name = \"\"" } -> "pool[web-blue].origin[].name": "empty";
    VNETS { "name = \"b\"" => "name = \"b/c\"" } -> "pool[web-blue].origin[b/c].name": "is no name";
    VNETS { "name = \"b\"" => "name = \"a\"" } -> "pool[web-blue].origin[a#1].name": "another origin of this pool called \"a\"";
    VNETS { "name = \"b\"" => "name = \"b0123456789012345678901234567890123456789012345678901234567890\"" } -> "pool[web-blue].origin[b0123456789012345678901234567890123456789012345678901234567890].name": "62 bytes", "at most 59";
    DSR { "encapsulation = \"gue\"\n" => "" } -> "pool[dns-gue].encapsulation": "missing", "`ipip`";
    DSR { "encapsulation = \"gue\"" => "encapsulation = \"gue\"\nsource = \"preserve\"" } -> "pool[dns-gue].source": "has no `source`";
    DSR { "encapsulation = \"gue\"" => "encapsulation = \"gue\"\nvni = 7" } -> "pool[dns-gue].vni": "gue has no `vni`";
    DSR { "encapsulation = \"l2\"" => "encapsulation = \"l2\"\nport = 7" } -> "pool[dns-l2].port": "l2 has no `port`";
    DSR { "encapsulation = \"vxlan\"" => "encapsulation = \"vxlam\"" } -> "pool[dns-vxlan].encapsulation": "did you mean `vxlan`?";
    DSR { "forwarding = \"dsr\"\nencapsulation = \"vxlan\"" => "forwarding = \"drs\"\nencapsulation = \"vxlan\"" } -> "pool[dns-vxlan].forwarding": "did you mean `dsr`?";
    DSR { "encapsulation = \"gue\"" => "encapsulation = \"gre\"\nkey = 0" } -> "pool[dns-gue].key": "0 stands for no key";
    DSR { "vni = 77\n" => "" } -> "pool[dns-vxlan].vni": "missing";
    DSR { "inner_mac = \"02:00:00:00:00:31\"\n" => "" } -> "pool[dns-vxlan].origin[a].inner_mac": "missing", "vxlan device";
    DSR { "02:00:00:00:00:31" => "01:00:5e:00:00:01" } -> "pool[dns-vxlan].origin[a].inner_mac": "multicast";
    DSR { "203.0.113.21\"" => "203.0.113.21\"\nport = 5353" } -> "pool[dns-gue].origin[a].port": "\"dns\" listens at port 53", "cannot rewrite it to 5353";
    DSR { "addresses = [\"203.0.113.1\", \"2001:db8:0:1::1\"]" => "addresses = [\"203.0.113.1\"]" } -> "pool[dns-gue].origin[b].address": "the node has no IPv6 address", "node.addresses";
    DSR { "$" => "[[vnet]]\nname = \"red\"\n[[vnet.tunnel]]\nname = \"red-1\"\nkind = \"ipip\"\nremote = \"203.0.113.9\"\naddresses = [\"10.1.0.1/30\"]\npeers = [\"10.1.0.2\"]", "virtual_network = \"local\"" => "virtual_network = \"red\"" } -> "pool[dns-l2].origin[a].virtual_network": "the node must reach in its own network", "forwarding = \"nat\"";
};

const BALANCER: &[Bad] = bad! {
    VNETS { "default_pools = [\"echo-green\"]" => "" } -> "load_balancer[echo].default_pools": "missing";
    VNETS { "default_pools = [\"echo-green\"]" => "default_pools = []" } -> "load_balancer[echo].default_pools": "no pool is named";
    VNETS { "default_pools = [\"echo-green\"]" => "default_pools = [\"echo-grene\"]" } -> "load_balancer[echo].default_pools[0]": "did you mean `echo-green`?";
    VNETS { "default_pools = [\"echo-green\"]" => "default_pools = [\"echo-green\", \"echo-green\"]" } -> "load_balancer[echo].default_pools[1]": "twice";
    VNETS { "default_pools = [\"echo-green\"]" => "pools = [\"echo-green\"]\ndefault_pools = [\"echo-green\"]" } -> "load_balancer[echo].pools": "no key `pools`";
    VNETS { "fallback_pool = \"web-green\"" => "fallback_pool = \"web-red\"" } -> "load_balancer[www].fallback_pool": "there is no pool \"web-red\"";
    VNETS { "steering_policy = \"off\"" => "steering_policy = \"least_connections\"" } -> "load_balancer[www].steering_policy": "not supported by this version", "\"random\"";
    VNETS { "steering_policy = \"off\"" => "steering_policy = \"geo\"" } -> "load_balancer[www].steering_policy": "not supported by this version";
    VNETS { "steering_policy = \"off\"" => "steering_policy = \"ramdom\"" } -> "load_balancer[www].steering_policy": "did you mean `random`?";
    VNETS { "steering_policy = \"off\"" => "session_affinity = \"cookie\"" } -> "load_balancer[www].session_affinity": "not supported by this version", "layer 4";
    VNETS { "name = \"web-green\"" => "name = \"web-green\"\nall_down = \"spread\"" } -> "load_balancer[www].fallback_pool": "would never serve", "all_down = \"spread\"";
    VNETS { "steering_policy = \"off\"" => "steering_policy = \"random\"", "fallback_pool = \"web-green\"\n" => "", "name = \"web-blue\"" => "name = \"web-blue\"\nall_down = \"reject\"" } -> "load_balancer[www].default_pools": "all down together", "\"web-blue\" has all_down = \"reject\"", "the same `all_down`";
    DSR { "\"dns-vxlan\" = 0.25" => "\"dns-vxlam\" = 0.25" } -> "load_balancer[dns].random_steering.pool_weights.dns-vxlam": "not among `default_pools`", "did you mean `dns-vxlan`?";
    DSR { "\"dns-vxlan\" = 0.25" => "\"dns-vxlan\" = 2" } -> "load_balancer[dns].random_steering.pool_weights.dns-vxlan": "0 to 1";
    DSR { "default_weight = 1.0" => "default_weight = -1" } -> "load_balancer[dns].random_steering.default_weight": "0 to 1";
    DSR { "default_weight = 1.0" => "default_weight = 0", "\"dns-vxlan\" = 0.25" => "\"dns-vxlan\" = 0" } -> "load_balancer[dns].random_steering": "all pools weigh 0";
    VNETS { "listeners = [{ address = \"198.51.100.10\", port = 7, protocol = \"udp\" }]\n" => "" } -> "load_balancer[echo].listeners": "missing";
    VNETS { "listeners = [{ address = \"198.51.100.10\", port = 7, protocol = \"udp\" }]" => "listeners = []" } -> "load_balancer[echo].listeners": "offers nothing";
    VNETS { "port = 7, protocol = \"udp\"" => "port = 0, protocol = \"udp\"" } -> "load_balancer[echo].listeners[0].port": "no port to listen at";
    VNETS { "port = 7, protocol = \"udp\"" => "port = 7, protocol = \"sctp\"" } -> "load_balancer[echo].listeners[0].protocol": "not supported by this version";
    VNETS { "port = 7, protocol = \"udp\"" => "port = 7" } -> "load_balancer[echo].listeners[0].protocol": "missing";
    VNETS { "port = 7, protocol = \"udp\"" => "protocol = \"udp\"" } -> "load_balancer[echo].listeners[0].port": "missing";
    VNETS { "port = 7, protocol = \"udp\"" => "port = 7, ports = \"7-9\", protocol = \"udp\"" } -> "load_balancer[echo].listeners[0].ports": "both", "remove one";
    VNETS { "port = 7, protocol = \"udp\"" => "ports = \"7\", protocol = \"udp\"" } -> "load_balancer[echo].listeners[0].ports": "not a range of ports", "`port = 7`";
    VNETS { "port = 7, protocol = \"udp\"" => "ports = \"9-7\", protocol = \"udp\"" } -> "load_balancer[echo].listeners[0].ports": "comes first";
    VNETS { "port = 7, protocol = \"udp\"" => "ports = \"0-7\", protocol = \"udp\"" } -> "load_balancer[echo].listeners[0].ports": "at least 1";
    VNETS { "port = 7, protocol = \"udp\"" => "ports = \"7-70000\", protocol = \"udp\"" } -> "load_balancer[echo].listeners[0].ports": "not a range of ports", "\"8000-8099\"";
    VNETS { "port = 7, protocol = \"udp\"" => "ports = 7, protocol = \"udp\"" } -> "load_balancer[echo].listeners[0].ports": "expected a range of ports", "an integer";
    VNETS { "port = 7, protocol = \"udp\"" => "port = 7, protocol = \"udp\", hash = \"client\"" } -> "load_balancer[echo].listeners[0].hash": "not one of", "\"source\"";
    VNETS { "port = 7, protocol = \"udp\" }" => "ports = \"7-9\", protocol = \"udp\" }, { address = \"198.51.100.10\", ports = \"9-12\", protocol = \"udp\" }" } -> "load_balancer[echo].listeners[1]": "ranges of ports that overlap", "198.51.100.10:7-9", "198.51.100.10:9-12";
    VNETS { "port = 80, protocol = \"tcp\"" => "ports = \"80-90\", protocol = \"tcp\"", "default_pools = [\"web-blue\", \"web-green\"]" => "default_pools = [\"web-green\"]", "name = \"web-green\"" => "name = \"web-green\"\nsource = \"preserve\"" } -> "pool[web-green].origin[a].port": "several ports", "leave `port` out";
    VNETS { "port = 7, protocol = \"udp\" }" => "ports = \"any\", protocol = \"udp\" }, { address = \"198.51.100.11\", port = 9, protocol = \"udp\" }", "name = \"echo-green\"" => "name = \"echo-green\"\nsource = \"preserve\"" } -> "pool[echo-green].origin[a].address": "no unambiguous way back", "198.51.100.10:any";
    VNETS { "address = \"198.51.100.10\", port = 7" => "address = \"0.0.0.0\", port = 7" } -> "load_balancer[echo].listeners[0].address": "unspecified";
    VNETS { "address = \"198.51.100.10\", port = 7" => "address = \"203.0.113.1\", port = 7" } -> "load_balancer[echo].listeners[0].address": "an address of the node", "VIP";
    VNETS { "address = \"198.51.100.10\", port = 7" => "address = \"203.0.113.2\", port = 7" } -> "load_balancer[echo].listeners[0].address": "far end of tunnel \"blue/blue-1\"";
    VNETS { "interfaces = [\"eth0\"]" => "interfaces = [\"eth0\"]\nsnat = [\"198.51.100.128/25\"]", "address = \"198.51.100.10\", port = 7" => "address = \"198.51.100.130\", port = 7" } -> "load_balancer[echo].listeners[0].address": "198.51.100.128/25", "`node.snat`";
    VNETS { "address = \"198.51.100.10\", port = 7" => "address = \"2001:db8::10\", port = 7" } -> "pool[echo-green].origin[a].address": "2001:db8::10 (IPv6)", "10.0.0.11 (IPv4)";
    VNETS { "port = 7, protocol = \"udp\"" => "port = 80, protocol = \"tcp\"" } -> "load_balancer[www].listeners[0]": "\"echo\" (tcp 198.51.100.10:80)", "\"www\"", "offer the same", "\"local\"";
    VNETS { "name = \"echo-green\"" => "name = \"echo-green\"\nsource = \"preserve\"", "port = 7, protocol = \"udp\" }" => "port = 7, protocol = \"udp\" }, { address = \"198.51.100.11\", port = 7, protocol = \"udp\" }" } -> "pool[echo-green].origin[a].address": "no unambiguous way back", "198.51.100.10:7", "198.51.100.11:7", "echo-green/a";
    VNETS { "default_pools = [\"echo-green\"]" => "default_pools = [\"echo-green\"]\nvirtual_network = \"gren\"" } -> "load_balancer[echo].virtual_network": "did you mean `green`?";
    VNETS { "default_pools = [\"echo-green\"]" => "default_pools = [\"echo-green\"]\nvirtual_network = \"blue\"", "address = \"198.51.100.10\", port = 7" => "address = \"10.255.0.1\", port = 7" } -> "load_balancer[echo].listeners[0].address": "node's own address in tunnel";
    VNETS { "default_pools = [\"echo-green\"]" => "default_pools = [\"echo-green\"]\nvirtual_network = \"blue\"", "address = \"198.51.100.10\", port = 7" => "address = \"10.255.0.2\", port = 7" } -> "load_balancer[echo].listeners[0].address": "far end";
    MINIMAL { "$" => "[[vnet]]\nname = \"red\"\n[[vnet.tunnel]]\nname = \"red-1\"\nkind = \"ipip\"\nremote = \"203.0.113.9\"\naddresses = [\"10.1.0.1/30\"]\npeers = [\"10.1.0.2\"]", "default_pools = [\"web\"]" => "default_pools = [\"web\"]\nvirtual_network = \"red\"" } -> "load_balancer[www].virtual_network": "no way to clients in vnet \"red\"";
    VNETS { "name = \"echo\"" => "name = \"www\"" } -> "load_balancer[www#1].name": "another load balancer";
    VNETS { "name = \"echo\"" => "name = 7" } -> "load_balancer[1].name": "expected a string";
};
