//! IPv6 clients, IPv6 origins in VNets behind IPv4 tunnels.

use std::time::Instant;

use anyhow::Result;
use tests::netns::{Lab, Shape};

use crate::configuration::{MONITORS, Service};
use crate::{healthy, served_since, start_load};

#[test]
fn an_ipv6_vip_is_served_by_ipv6_origins_in_a_vnet() -> Result<()> {
    let test = "an_ipv6_vip_is_served_by_ipv6_origins_in_a_vnet";
    let (tcp, udp, v4) = (
        Lab::vip_v6(0x10, 80),
        Lab::vip_v6(0x10, 7),
        Lab::vip(10, 80),
    );
    let addition = [
        MONITORS,
        &Service::tcp("web6", "blue", tcp).text(),
        &Service::udp("echo6", "green", udp).text(),
        &Service::tcp("web4", "blue", v4).text(),
    ]
    .concat();
    let Some((lab, _edge)) = healthy(test, Shape::OneLink, &addition)? else {
        return Ok(());
    };
    let answer = lab.block_on(lab.http().get(tcp, "/bytes/1000000"))?;
    assert_eq!(answer.length, 1_000_000);
    assert_eq!(answer.seen_client.ip(), Lab::CLIENT_V6);
    let load = start_load(&lab, tcp, udp)?;
    served_since(&load, Instant::now())?;
    let records = load.stop();
    assert!(records.failed().is_empty(), "{}", records.failed().show());
    assert_eq!(records.to(tcp).answers().len(), 3);
    assert!(
        records
            .to(udp)
            .answers()
            .keys()
            .all(|origin| origin.starts_with("green/"))
    );
    assert!(
        lab.block_on(lab.http().get(v4, "/"))?
            .origin
            .starts_with("blue/")
    );
    Ok(())
}
