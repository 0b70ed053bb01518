use std::{collections::HashMap, io::Read as _, thread, time::Duration};

use corex_script::SocketId;
use corex_sip::Transport;

use super::{
    lane::{MAX_BYTES, MAX_MESSAGES},
    *,
};

fn workers(count: usize) -> (Vec<Shard>, Vec<UnixStream>) {
    let pairs = (0..count).map(|_| {
        let (waker, woken) = UnixStream::pair().unwrap();
        waker.set_nonblocking(true).unwrap();
        woken.set_nonblocking(true).unwrap();
        (waker, woken)
    });
    let (wakers, woken) = pairs.unzip();
    let mut shards = crew(wakers);
    let now = Instant::now();
    for shard in &mut shards {
        shard.begin();
        shard.look(Sharding::On, &WorkerCounters::default(), now);
    }
    (shards, woken)
}

fn inbound(payload: &[u8]) -> Inbound<'_> {
    Inbound {
        payload,
        source: "192.0.2.1:5060".parse().unwrap(),
        local: "10.0.0.1:5060".parse().unwrap(),
        socket: SocketId(2),
        transport: Transport::Udp,
        connection: None,
        ttl: Some(61),
    }
}

fn message(header: &str, number: usize) -> Vec<u8> {
    format!("OPTIONS sip:x@y SIP/2.0\r\nCSeq: {number} OPTIONS\r\n{header}\r\n\r\n").into_bytes()
}

fn cseq(payload: &[u8]) -> u32 {
    SipView::parse(payload).unwrap().cseq().unwrap().number
}

/// A Call-ID that belongs to another worker than the first.
fn others_call_id(shard: &Shard) -> String {
    let count = shard.crew.lanes.len() as u64;
    let is_others =
        |id: &String| shard.crew.hasher.hash_one(id.as_bytes()) % count != shard.own as u64;
    (0..).map(|n| format!("{n}@x")).find(is_others).unwrap()
}

#[test]
fn every_worker_gets_its_part_and_a_call_id_is_always_the_same_ones_in_its_order() {
    let (mut shards, _woken) = workers(4);
    let mut counters = WorkerCounters::default();
    let mut kept = 0;
    for number in 0..400 {
        // The same in each of the forms that it may have.
        let id = number % 40;
        let header = match number / 40 % 4 {
            0 => format!("Call-ID: call-{id}@x"),
            1 => format!("i:call-{id}@x"),
            2 => format!("CALL-ID  :  call-{id}@x  "),
            _ => format!("I:\r\n call-{id}@x"),
        };
        let message = message(&header, number + 1);
        kept += usize::from(!shards[0].hand_over(&inbound(&message), &mut counters));
    }
    shards[0].flush(&mut counters);
    assert_eq!(kept as u64 + counters.shard_out, 400);
    let mut owners = HashMap::new();
    let mut last: HashMap<Vec<u8>, u32> = HashMap::new();
    for (worker, shard) in shards.iter().enumerate().skip(1) {
        let mut count = 0;
        while let Some(parcel) = shard.take() {
            for got in parcel.messages() {
                count += 1;
                let of = inbound(got.payload);
                assert_eq!(format!("{got:?}"), format!("{of:?}"));
                let id = SipView::parse(got.payload).unwrap().call_id().unwrap();
                assert_eq!(*owners.entry(id.to_vec()).or_insert(worker), worker);
                let number = cseq(got.payload);
                assert!(last.insert(id.to_vec(), number).is_none_or(|n| n < number));
            }
            shard.done(&parcel);
        }
        assert!(count > 0, "worker {worker} got nothing");
        assert_eq!(shard.waiting(), 0);
    }
}

#[test]
fn what_has_no_call_id_that_can_be_read_stays() {
    let (mut shards, _woken) = workers(2);
    let mut counters = WorkerCounters::default();
    for payload in [
        &b"\r\n\r\n"[..],
        b"",
        b"\x1f\x8b\x08\x00",
        b"OPTIONS sip:x@y SIP/2.0\r\nTo: <sip:x@y>\r\n\r\nCall-ID: in the body",
    ] {
        for _ in 0..8 {
            assert!(!shards[0].hand_over(&inbound(payload), &mut counters));
        }
    }
    assert_eq!(counters, WorkerCounters::default());
}

#[test]
fn who_has_nothing_to_do_gets_a_message_at_once_and_is_woken() {
    let (mut shards, mut woken) = workers(2);
    let mut counters = WorkerCounters::default();
    let header = format!("Call-ID: {}", others_call_id(&shards[0]));
    assert!(shards[1].may_sleep());
    for number in 1..=3 {
        assert!(shards[0].hand_over(&inbound(&message(&header, number)), &mut counters));
    }
    assert_eq!(shards[1].waiting(), 1);
    // Woken once, as it was awake then.
    assert_eq!(woken[1].read(&mut [0; 8]).unwrap(), 1);
    assert!(!shards[1].may_sleep());
    shards[1].wake_up();
    shards[0].flush(&mut counters);
    assert!(woken[1].read(&mut [0; 8]).is_err());
    assert_eq!((shards[1].waiting(), counters.shard_out), (3, 3));
}

#[test]
fn what_waits_is_bounded_in_number_and_bytes_and_the_rest_is_counted() {
    for (size, most) in [(0, MAX_MESSAGES), (60_000, MAX_BYTES / 60_000)] {
        let (mut shards, _woken) = workers(2);
        let mut counters = WorkerCounters::default();
        let header = format!("Call-ID: {}", others_call_id(&shards[0]));
        let mut message = message(&header, 1);
        message.resize(message.len() + size, b'x');
        let sent = MAX_MESSAGES as u64 + 64;
        for _ in 0..sent {
            assert!(shards[0].hand_over(&inbound(&message), &mut counters));
        }
        shards[0].flush(&mut counters);
        assert!(shards[1].waiting() <= most);
        assert!(shards[1].waiting() > most - 2 * GATHERED);
        assert_eq!(counters.shard_out, shards[1].waiting() as u64);
        assert_eq!(counters.drop_shard_full, sent - counters.shard_out);
    }
}

#[test]
fn nothing_is_handled_here_before_what_was_handed_over_is_done_with() {
    let (mut shards, _woken) = workers(2);
    let mut counters = WorkerCounters::default();
    let header = format!("Call-ID: {}", others_call_id(&shards[0]));
    let message = message(&header, 1);
    assert!(shards[0].hand_over(&inbound(&message), &mut counters));
    let mut now = Instant::now();
    let mut off = |shard: &mut Shard| {
        now += PERIOD;
        shard.look(Sharding::Off, &WorkerCounters::default(), now);
    };
    off(&mut shards[0]);
    assert!(shards[0].hand_over(&inbound(&message), &mut counters));
    shards[0].flush(&mut counters);
    while let Some(parcel) = shards[1].take() {
        off(&mut shards[0]);
        assert!(shards[0].is_spreading);
        shards[1].done(&parcel);
    }
    off(&mut shards[0]);
    assert!(!shards[0].hand_over(&inbound(&message), &mut counters));
}

#[test]
fn a_worker_that_has_stopped_gets_nothing_and_all_wait_until_nobody_hands_over() {
    let (mut shards, _woken) = workers(2);
    let mut counters = WorkerCounters::default();
    let header = format!("Call-ID: {}", others_call_id(&shards[0]));
    shards[1].end(&mut counters);
    assert!(shards[1].may_get_more());
    shards[1].close();
    assert!(shards[0].hand_over(&inbound(&message(&header, 1)), &mut counters));
    assert_eq!((counters.drop_stopping, shards[1].waiting()), (1, 0));
    shards[0].end(&mut counters);
    assert!(!shards[0].may_get_more() && !shards[1].may_get_more());
    assert!(!shards[0].hand_over(&inbound(&message(&header, 2)), &mut counters));
}

#[test]
fn threads_lose_nothing_and_miss_no_waking() {
    const EACH: usize = 20_000;
    let (shards, woken) = workers(3);
    let threads = shards.into_iter().zip(woken).map(|(mut shard, woken)| {
        thread::spawn(move || {
            let mut counters = WorkerCounters::default();
            woken.set_nonblocking(false).unwrap();
            woken
                .set_read_timeout(Some(Duration::from_secs(60)))
                .unwrap();
            let mut handled = 0_u64;
            let serve = |shard: &mut Shard| {
                let mut count = 0;
                while let Some(parcel) = shard.take() {
                    count += parcel.count() as u64;
                    shard.done(&parcel);
                }
                count
            };
            for number in 0..EACH {
                let message = message(&format!("i: {number}-{}", shard.own), 1);
                let is_handed = shard.hand_over(&inbound(&message), &mut counters);
                handled += u64::from(!is_handed) + serve(&mut shard);
            }
            shard.end(&mut counters);
            loop {
                handled += serve(&mut shard);
                if !shard.may_get_more() {
                    return handled + serve(&mut shard) + counters.drop_shard_full;
                }
                thread::yield_now();
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    let all: u64 = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    assert_eq!(all, 3 * EACH as u64);
}
