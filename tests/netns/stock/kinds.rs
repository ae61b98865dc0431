//! The kernel's devices that tunnels end in, and the configuration that fits each.
//!
//! A form of a kind is one entry here, and a kind one test beside those of `stock.rs`.

/// The IP version of what a tunnel carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Carried {
    V4,
    V6,
}

/// The IP version of the outer header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outer {
    V4,
    V6,
}

/// One form of a kind of tunnel.
#[derive(Debug)]
pub(super) struct Kind {
    /// Also the name of its far end and its VNet.
    pub(super) name: &'static str,
    /// `kind` of a tunnel, and `encapsulation` of a pool.
    pub(super) encapsulation: &'static str,
    /// The other keys of tunnel and pool.
    pub(super) keys: &'static str,
    pub(super) outer: Outer,
    /// The far end's device: what follows `ip link add NAME type`. `FAR` and `EDGE` stand for the
    /// outer addresses.
    pub(super) device: &'static str,
    /// Lines of `ip` before the device is made.
    pub(super) before: &'static str,
    pub(super) carried: &'static [Carried],
    /// Largest packet that may enter where the path takes 1500 bytes.
    pub(super) mtu: u16,
}

impl Kind {
    /// Whether it carries Ethernet.
    pub(super) fn is_ethernet(&self) -> bool {
        let carries_ip = self.keys.contains("carries = \"ip\"");
        matches!(self.encapsulation, "vxlan" | "geneve") && !carries_ip
    }

    /// The type of the kernel's device.
    pub(super) fn device_type(&self) -> &'static str {
        self.device.split(' ').next().unwrap_or(self.device)
    }
}

const BOTH: &[Carried] = &[Carried::V4, Carried::V6];

// Over IPv6 the node's tunnel packets have no UDP checksum (RFC 6935), which the kernel's devices
// accept only if told so.

pub(super) static VXLAN: [Kind; 2] = [
    Kind {
        name: "vxlan4",
        encapsulation: "vxlan",
        keys: "vni = 77",
        outer: Outer::V4,
        device: "vxlan id 77 local FAR remote EDGE dstport 4789",
        before: "",
        carried: BOTH,
        mtu: 1450,
    },
    Kind {
        name: "vxlan6",
        encapsulation: "vxlan",
        keys: "vni = 78",
        outer: Outer::V6,
        device: "vxlan id 78 local FAR remote EDGE dstport 4789 udp6zerocsumrx udp6zerocsumtx",
        before: "",
        carried: BOTH,
        mtu: 1430,
    },
];

pub(super) static GENEVE: [Kind; 4] = [
    Kind {
        name: "geneve4",
        encapsulation: "geneve",
        keys: "vni = 88",
        outer: Outer::V4,
        device: "geneve id 88 remote EDGE dstport 6081",
        before: "",
        carried: BOTH,
        mtu: 1450,
    },
    Kind {
        name: "geneve6",
        encapsulation: "geneve",
        keys: "vni = 89",
        outer: Outer::V6,
        device: "geneve id 89 remote EDGE dstport 6081 udp6zerocsumrx udp6zerocsumtx",
        before: "",
        carried: BOTH,
        mtu: 1430,
    },
    Kind {
        name: "geneve4-ip",
        encapsulation: "geneve",
        keys: "vni = 90\ncarries = \"ip\"",
        outer: Outer::V4,
        device: "geneve id 90 remote EDGE dstport 6081 innerprotoinherit",
        before: "",
        carried: BOTH,
        mtu: 1464,
    },
    Kind {
        name: "geneve6-ip",
        encapsulation: "geneve",
        keys: "vni = 91\ncarries = \"ip\"",
        outer: Outer::V6,
        device: "geneve id 91 remote EDGE dstport 6081 innerprotoinherit udp6zerocsumrx \
                 udp6zerocsumtx",
        before: "",
        carried: BOTH,
        mtu: 1444,
    },
];

pub(super) static GRE: [Kind; 8] = [
    Kind {
        name: "gre4",
        encapsulation: "gre",
        keys: "",
        outer: Outer::V4,
        device: "gre local FAR remote EDGE ttl 64",
        before: "",
        carried: BOTH,
        mtu: 1476,
    },
    Kind {
        name: "gre4-key",
        encapsulation: "gre",
        keys: "key = 5",
        outer: Outer::V4,
        device: "gre local FAR remote EDGE ttl 64 key 5",
        before: "",
        carried: BOTH,
        mtu: 1472,
    },
    // A far end that numbers its packets.
    Kind {
        name: "gre4-seq",
        encapsulation: "gre",
        keys: "key = 6",
        outer: Outer::V4,
        device: "gre local FAR remote EDGE ttl 64 key 6 oseq",
        before: "",
        carried: BOTH,
        mtu: 1472,
    },
    // The kernel verifies checksums, and discards packets without.
    Kind {
        name: "gre4-csum",
        encapsulation: "gre",
        keys: "gre_checksum = true",
        outer: Outer::V4,
        device: "gre local FAR remote EDGE ttl 64 csum",
        before: "",
        carried: BOTH,
        mtu: 1472,
    },
    Kind {
        name: "gre4-key-csum",
        encapsulation: "gre",
        keys: "key = 8\ngre_checksum = true",
        outer: Outer::V4,
        device: "gre local FAR remote EDGE ttl 64 key 8 csum",
        before: "",
        carried: BOTH,
        mtu: 1468,
    },
    Kind {
        name: "gre6-csum",
        encapsulation: "gre",
        keys: "gre_checksum = true",
        outer: Outer::V6,
        device: "ip6gre local FAR remote EDGE encaplimit none csum",
        before: "",
        carried: BOTH,
        mtu: 1452,
    },
    Kind {
        name: "gre6",
        encapsulation: "gre",
        keys: "",
        outer: Outer::V6,
        device: "ip6gre local FAR remote EDGE encaplimit none",
        before: "",
        carried: BOTH,
        mtu: 1456,
    },
    Kind {
        name: "gre6-key",
        encapsulation: "gre",
        keys: "key = 7",
        outer: Outer::V6,
        device: "ip6gre local FAR remote EDGE encaplimit none key 7",
        before: "",
        carried: BOTH,
        mtu: 1452,
    },
];

pub(super) static IPIP: [Kind; 3] = [
    Kind {
        name: "ipip",
        encapsulation: "ipip",
        keys: "",
        outer: Outer::V4,
        device: "ipip local FAR remote EDGE ttl 64",
        before: "",
        carried: &[Carried::V4],
        mtu: 1480,
    },
    Kind {
        name: "sit",
        encapsulation: "ipip",
        keys: "",
        outer: Outer::V4,
        device: "sit local FAR remote EDGE ttl 64",
        before: "",
        carried: &[Carried::V6],
        mtu: 1480,
    },
    Kind {
        name: "ip6tnl",
        encapsulation: "ipip",
        keys: "",
        outer: Outer::V6,
        device: "ip6tnl mode any local FAR remote EDGE encaplimit none",
        before: "",
        carried: BOTH,
        mtu: 1460,
    },
];

pub(super) static GUE: [Kind; 3] = [
    Kind {
        name: "gue-ipip",
        encapsulation: "gue",
        keys: "",
        outer: Outer::V4,
        device: "ipip local FAR remote EDGE ttl 64 encap gue encap-sport auto encap-dport 6080",
        before: "fou add port 6080 gue",
        carried: &[Carried::V4],
        mtu: 1468,
    },
    Kind {
        name: "gue-sit",
        encapsulation: "gue",
        keys: "",
        outer: Outer::V4,
        device: "sit local FAR remote EDGE ttl 64 encap gue encap-sport auto encap-dport 6080",
        before: "fou add port 6080 gue",
        carried: &[Carried::V6],
        mtu: 1468,
    },
    Kind {
        name: "gue-ip6tnl",
        encapsulation: "gue",
        keys: "",
        outer: Outer::V6,
        device: "ip6tnl mode any local FAR remote EDGE encaplimit none encap gue encap-sport auto \
                 encap-dport 6080",
        before: "fou add port 6080 gue -6",
        carried: BOTH,
        mtu: 1448,
    },
];

// The kernel takes one protocol at a port of FOU.
pub(super) static FOU: [Kind; 4] = [
    Kind {
        name: "fou-ipip",
        encapsulation: "fou",
        keys: "port = 5555",
        outer: Outer::V4,
        device: "ipip local FAR remote EDGE ttl 64 encap fou encap-sport auto encap-dport 5555",
        before: "fou add port 5555 ipproto 4",
        carried: &[Carried::V4],
        mtu: 1472,
    },
    Kind {
        name: "fou-sit",
        encapsulation: "fou",
        keys: "port = 5555",
        outer: Outer::V4,
        device: "sit local FAR remote EDGE ttl 64 encap fou encap-sport auto encap-dport 5555",
        before: "fou add port 5555 ipproto 41",
        carried: &[Carried::V6],
        mtu: 1472,
    },
    Kind {
        name: "fou-ip6tnl",
        encapsulation: "fou",
        keys: "port = 5556",
        outer: Outer::V6,
        device: "ip6tnl mode any local FAR remote EDGE encaplimit none encap fou encap-sport auto \
                 encap-dport 5556",
        before: "fou add port 5556 ipproto 41 -6",
        carried: &[Carried::V6],
        mtu: 1452,
    },
    // A port of GUE takes what has no header too, and both protocols.
    Kind {
        name: "fou-gue6",
        encapsulation: "fou",
        keys: "port = 5557",
        outer: Outer::V6,
        device: "ip6tnl mode any local FAR remote EDGE encaplimit none encap fou encap-sport auto \
                 encap-dport 5557",
        before: "fou add port 5557 gue -6",
        carried: BOTH,
        mtu: 1452,
    },
];
