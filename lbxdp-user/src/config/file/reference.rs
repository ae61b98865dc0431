//! The reference of all keys, made from their declarations.

use std::fmt::Write as _;

use super::read::Section;
use super::{
    File, HealthCheck, Ipsec, Listener, LoadBalancer, Monitor, Node, Origin, Pool, RandomSteering,
    SnatTimeouts, Tunnel, Vnet, Wireguard,
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
    describe::<Wireguard>(&mut text);
    describe::<Ipsec>(&mut text);
    text.push_str(IKE);
    describe::<HealthCheck>(&mut text);
    describe::<Monitor>(&mut text);
    describe::<Pool>(&mut text);
    text.push_str(TOO_FEW);
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

const TOO_FEW: &str = "
### Too few origins, or none

A load balancer takes the first of these that there is:

1. The default pools that are *able to serve*, by its `steering_policy`: enabled, not in panic, and
   with at least `minimum_origins` healthy origins, one of them with a weight.
2. Default pools *in panic* with an origin that is up: the first of them, or with `random` all of
   them by weight. All their enabled origins count as healthy.
3. What `all_down` says of the last pool of `default_pools` that configuration lets serve. With
   `random` all must say the same.

A pool is in panic while the weight of its origins that are healthy, or of unknown health, is a
smaller share of that of all its enabled origins than its `panic_threshold`; this is looked at
before `minimum_origins`. So origins are never ejected below that share: the few that are left
would be overwhelmed. Between the two, `minimum_origins` stands: a pool that is not in panic and has
fewer healthy origins than that is passed over, down to `all_down`. To keep traffic from a pool that
is in panic, give the load balancer another default pool.

| `all_down` | without a default pool to serve |
|---|---|
| `fallback` | The `fallback_pool` serves. Without one, if the pool has a `panic_threshold`, all its enabled origins count as healthy; otherwise as `last-known`. |
| `last-known` | The rows in force stay, but for origins that were removed, disabled or left without weight meanwhile. Where nobody has been healthy yet, nobody serves. |
| `spread` | All enabled origins of the pool, or with `random` of all default pools, count as healthy. |
| `reject` | Nobody serves: packets are dropped, and counted as `no_origin`. |

A `fallback_pool` serves with its healthy origins, or in panic with all. When none of them is up, its
own `all_down` decides, and `fallback` is then `spread`. With another `all_down` than `fallback` in
the last default pool a `fallback_pool` is an error, since it would never serve. Flows that are bound
to an origin (`source = \"snat\"`) stay with it while it counts as healthy.
";

const MTU: &str = "
Default `mtu`, for a path of 1500 bytes:

| kind | over IPv4 | over IPv6 |
|---|---|---|
| `ipip` | 1480 | 1460 |
| `gre` | 1476 (with key or checksum 1472, with both 1468) | 1456 (1452, 1448) |
| `fou` | 1472 | 1452 |
| `gue` | 1468 | 1448 |
| `vxlan`, `geneve` | 1450 | 1430 |
| `geneve` that carries IP | 1464 | 1444 |
| `wireguard` | 1420 | 1420 |
| `ipsec`, `static` | 1446 | 1426 |
| `ipsec`, `ike` | 1400 | 1380 |

Of `ipsec` with `ike` the cipher is not known: there is room for any that is usual, and for UDP
encapsulation (NAT traversal). `device` has 1500.
";

const IKE: &str = "
With `keying = \"ike\"` a daemon makes states and policies for the interface. Of strongSwan's
`swanctl.conf`, for `if_id = 42`, `remote = \"203.0.113.2\"` and node 203.0.113.1:

```text
connections {
  blue {
    version = 2
    local_addrs = 203.0.113.1
    remote_addrs = 203.0.113.2
    local { auth = psk }
    remote { auth = psk }
    children {
      blue {
        # The interface alone decides what enters the tunnel.
        local_ts = 0.0.0.0/0, ::/0
        remote_ts = 0.0.0.0/0, ::/0
        if_id_in = 42
        if_id_out = 42
        mode = tunnel
        start_action = start
        esp_proposals = aes256gcm16-x25519
      }
    }
  }
}
```

The daemon must install no routes of its own (`charon.install_routes = no` in `strongswan.conf`).
";
