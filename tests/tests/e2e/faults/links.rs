//! What is beside corex goes away: a neighbour, a link.

use anyhow::{Result, ensure};
use corex_lab::topology::Relay;

use super::{
    load::{Load, Road},
    stage::{ENGINES, Proxy, dropped},
};

/// Sends what is for Bob to one address, and all else to another.
fn two_ways() -> String {
    format!(
        "listen=udp:{}\nlisten=udp:{}\nmhomed=1\nloadmodule \"corex.so\"\n\
         request_route {{\n  if ($rU == \"bob\") send(\"{}\");\n  else send(\"10.0.2.3:5060\");\n}}\n",
        Relay::USER_SIDE.sip(),
        Relay::CORE_SIDE.sip(),
        Relay::UAS.sip(),
    )
}

#[test]
fn proxy_a_neighbour_that_is_gone_costs_only_what_is_for_it() -> Result<()> {
    for engine in ENGINES {
        let stage = Proxy::with(engine, |_| Ok(two_ways()))?;
        let (uas, corex) = (&stage.relay.uas, &stage.relay.corex);
        // The one that goes is to be the second: with the first one the kernel takes the routes of all off,
        // for a moment.
        uas.sysctl("net.ipv4.conf.all.promote_secondaries", "1")?;
        uas.address("eth0", "10.0.2.3/24")?;
        uas.ip("address del 10.0.2.2/24 dev eth0")?;
        uas.address("eth0", "10.0.2.2/24")?;
        let process = stage.start("corex")?;
        let bob = stage.load()?;
        let carol = Load::start(Road {
            from: stage.relay.uac.udp("10.0.1.2:0".parse()?)?,
            to: Relay::USER_SIDE.sip(),
            at: uas.udp("10.0.2.3:5060".parse()?)?,
            user: "carol",
        })?;
        bob.more(200)?;
        carol.more(200)?;
        let went = bob.arrived();
        uas.ip("address del 10.0.2.2/24 dev eth0")?;
        corex.ip("neighbour flush dev core to 10.0.2.2")?;
        carol.more(1000)?;
        uas.address("eth0", "10.0.2.2/24")?;
        bob.more(200)?;
        let came_back = bob.sent();
        bob.more(200)?;
        let carols = carol.finish_whole()?;
        // What is lost is in no counter of a socket or link: it waited for the neighbour.
        let window = went..came_back;
        let bobs = bob.finish(|tally| Ok(tally.is_missing_only_within(&window)))?;
        let books = process.stop()?;
        books.check_balance()?;
        println!(
            "{engine}: for it: {bobs}; for the other: {carols}; {} by kernel sockets; {}",
            books.get("user.out_socket"),
            dropped(&books)
        );
        ensure!(bobs.lost() > 0, "the neighbour wasn't gone");
    }
    Ok(())
}

#[test]
fn proxy_a_link_that_flaps_costs_what_is_sent_while_it_is_down() -> Result<()> {
    const FLAPS: u32 = 5;
    for engine in ENGINES {
        let stage = Proxy::new(engine, "")?;
        let corex = stage.start("corex")?;
        let load = stage.load()?;
        load.more(200)?;
        let mut windows = Vec::new();
        for _ in 0..FLAPS {
            let begun = load.newest();
            stage.relay.corex.ip("link set dev core down")?;
            load.sends(50)?;
            stage.relay.corex.ip("link set dev core up")?;
            load.more(100)?;
            windows.push(begun..load.sent());
            load.more(100)?;
        }
        let tally = load.finish(|tally| Ok(tally.is_missing_only_in(&windows)))?;
        let books = corex.stop()?;
        books.check_balance()?;
        println!(
            "{engine}: {FLAPS} times down; {tally}; {}; {} by kernel sockets",
            dropped(&books),
            books.get("user.out_socket")
        );
        ensure!(tally.lost() > 0, "the link wasn't down");
        ensure!(
            tally.lost() <= books.sum("user.dropped") + books.get("user.out_socket"),
            "{:#}",
            books.0
        );
        ensure!(books.sum("user.dropped") > 0, "{:#}", books.0);
    }
    Ok(())
}
