#[path = "../../tests/server/mod.rs"]
mod server;

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use server::Server;

const BEGIN: Duration = Duration::from_secs(1_800_000_000);
const CHAIN: &str =
    "zstd(sip) | aead(chacha20-poly1305, key=device) | http(post, host=cdn.example.org)";
const MESSAGE: &[u8] = b"OPTIONS sip:bob@example.com SIP/2.0\r\nContent-Length: 0\r\n\r\n";

fn phone() -> SocketAddr {
    "198.51.100.7:40000".parse().unwrap()
}

/// A device and its server.
struct World {
    client: Client,
    server: Server,
    now: Duration,
    to_app: Vec<Vec<u8>>,
    /// Packets that the client sent.
    sent: usize,
}

fn folder() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("corex-client-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl World {
    fn new(device: Option<DeviceId>) -> World {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (server, public) = Server::new(CHAIN);
        let path = folder().join(format!("{}.pub", NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&path, public).unwrap();
        let options = Options {
            server_key: Some(format!("5:file:{}", path.display())),
            device,
            ..Options::new(CHAIN, "192.0.2.1:5060".parse().unwrap())
        };
        World {
            client: Client::new(&options).unwrap(),
            server,
            now: BEGIN,
            to_app: Vec::new(),
            sent: 0,
        }
    }

    /// Carries packets until there are none.
    fn settle(&mut self) {
        self.client.tick(self.now);
        loop {
            while let Some(output) = self.client.next_output() {
                match output {
                    Output::ToServer(packet) => {
                        self.sent += 1;
                        self.server.take(phone(), &packet, self.now);
                    }
                    Output::ToApp(message) => self.to_app.push(message),
                }
            }
            let answers = std::mem::take(&mut self.server.answers);
            if answers.is_empty() {
                return;
            }
            for answer in answers {
                self.client.receive(self.now, &answer);
            }
        }
    }

    fn say(&mut self, message: &[u8]) {
        self.client.send(self.now, message);
        self.settle();
    }

    fn sleep(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn set_deaf(&mut self, is_deaf: bool) {
        self.server.is_deaf = is_deaf;
    }
}

#[test]
fn the_first_message_goes_along_with_the_enrolment() {
    let mut world = World::new(None);
    world.say(MESSAGE);
    assert_eq!(world.sent, 1);
    assert_eq!(world.server.messages, [MESSAGE]);
    assert_eq!(world.client.counters().accepted, 1);
    world.say(b"second");
    assert_eq!(world.server.messages, [MESSAGE, b"second"]);
    let mut down = Vec::new();
    world
        .server
        .chain
        .encode_for(Some(phone()), b"down", &mut down, MAX)
        .unwrap();
    world.client.receive(world.now, &down);
    world.settle();
    assert_eq!(world.to_app, [b"down"]);
    let counted = world.client.counters();
    assert_eq!((counted.sent, counted.received), (2, 1));
    assert_eq!((counted.enrolments, counted.dropped), (1, 0));
}

#[test]
fn an_enrolment_without_an_answer_is_repeated_more_and_more_rarely_and_then_no_more() {
    let mut world = World::new(None);
    world.set_deaf(true);
    world.say(MESSAGE);
    let mut waits = Vec::new();
    while let Some(at) = world.client.next_tick() {
        waits.push((at - world.now).as_secs());
        world.now = at;
        world.settle();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32, 32]);
    assert_eq!(world.sent, 10);
    // The next message begins again, and the server hears it.
    world.set_deaf(false);
    world.say(b"again");
    assert_eq!(world.server.messages, [b"again"]);
    assert_eq!(world.client.counters().accepted, 1);
}

#[test]
fn what_is_said_before_the_answer_waits_and_is_bounded() {
    let mut world = World::new(None);
    world.set_deaf(true);
    world.say(b"lost");
    for number in 0..40u8 {
        world.say(&[b'm', number]);
    }
    assert_eq!(world.sent, 1);
    world.set_deaf(false);
    world.sleep(1);
    world.settle();
    let heard: Vec<u8> = world.server.messages.iter().map(|it| it[1]).collect();
    assert_eq!(heard, (8..40).collect::<Vec<u8>>());
    assert_eq!(world.client.counters().dropped, 8);
}

#[test]
fn a_late_answer_to_an_earlier_try_counts() {
    let mut world = World::new(None);
    world.client.send(world.now, MESSAGE);
    let Some(Output::ToServer(first)) = world.client.next_output() else {
        panic!("an enrolment");
    };
    world.server.take(phone(), &first, world.now);
    let answers = std::mem::take(&mut world.server.answers);
    world.sleep(1);
    world.client.tick(world.now);
    assert!(world.client.next_output().is_some(), "a second try");
    world.client.receive(world.now, &answers[0]);
    assert_eq!(world.client.counters().accepted, 1);
    world.say(b"more");
    assert_eq!(world.server.messages, [MESSAGE, b"more"]);
}

#[test]
fn the_next_key_is_there_before_the_last_one_ends() {
    let id = DeviceId::random().unwrap();
    let mut world = World::new(Some(id));
    world.say(MESSAGE);
    for round in 2..6usize {
        let due = world.client.next_tick().unwrap();
        assert_eq!((due - world.now).as_secs(), 450);
        world.now = due;
        // The old key goes on until the answer is there.
        world.client.tick(world.now);
        world.client.send(world.now, b"meanwhile");
        world.settle();
        world.say(b"after");
        assert_eq!(world.client.counters().accepted, round as u64);
        assert_eq!(world.server.messages.last().unwrap(), b"after");
    }
    let keys = world.server.store.keys.lock().unwrap();
    let generations: Vec<u8> = keys.iter().map(|key| key.generation()).collect();
    assert_eq!(generations, [1, 2, 3, 4, 5]);
    assert!(keys.iter().all(|key| key.id() == id));
    assert_eq!(world.server.messages.len(), 9, "nothing was lost");
}

#[test]
fn a_server_that_lost_its_memory_is_told_again() {
    let mut world = World::new(None);
    world.say(MESSAGE);
    world.server.store.keys.lock().unwrap().clear();
    world.sleep(1);
    world.say(b"lost");
    assert_eq!(world.client.counters().unknown, 1);
    assert_eq!(world.client.counters().accepted, 2);
    world.say(b"heard");
    assert_eq!(world.server.messages, [MESSAGE, b"heard"]);
}

#[test]
fn a_notice_is_heeded_once_in_a_second_and_only_about_what_was_sent() {
    let mut world = World::new(None);
    world.say(MESSAGE);
    world.client.send(world.now, b"x");
    let Some(Output::ToServer(_)) = world.client.next_output() else {
        panic!("a message");
    };
    // Of a session that nobody began.
    let mut forged = Vec::new();
    let notice = [0xc5; 15];
    world
        .server
        .chain
        .encode_control(&notice, &mut forged, MAX)
        .unwrap();
    world.client.receive(world.now, &forged);
    assert_eq!(world.client.counters().unknown, 0);
    assert_eq!(world.client.counters().refused, 1);
    world.server.store.keys.lock().unwrap().clear();
    world.say(b"too soon");
    let counted = world.client.counters();
    assert_eq!((counted.unknown, counted.enrolments), (1, 1));
    assert!(world.client.next_output().is_none());
}

#[test]
fn an_id_that_is_taken_is_changed_unless_it_was_given() {
    let taken = DeviceId::random().unwrap();
    for device in [None, Some(taken)] {
        let mut world = World::new(device);
        let id = world.client.device().unwrap();
        let until = BEGIN.as_secs() + 100;
        let others = DeviceKey::new(id, 9, &[1; 32], until);
        world
            .server
            .store
            .keys
            .lock()
            .unwrap()
            .push(Arc::new(others));
        world.say(MESSAGE);
        assert_eq!(world.client.counters().taken, 1);
        if device.is_none() {
            assert_ne!(world.client.device().unwrap(), id);
            world.say(b"more");
            assert_eq!(world.server.messages.last().unwrap(), b"more");
        } else {
            assert!(world.server.messages.is_empty());
            // The other key ends.
            world.sleep(100);
            world.say(b"more");
            assert_eq!(world.server.messages, [b"more"]);
        }
    }
}

#[test]
fn a_key_that_nobody_renewed_ends() {
    let mut world = World::new(None);
    world.say(MESSAGE);
    world.set_deaf(true);
    world.sleep(450);
    world.settle();
    world.sleep(151);
    world.say(b"waits");
    world.set_deaf(false);
    world.sleep(32);
    world.settle();
    assert_eq!(world.server.messages, [MESSAGE, b"waits"]);
}

#[test]
fn a_chain_with_a_static_key_needs_no_enrolment() {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder().join("edge.key");
    std::fs::write(&path, [b'k'; 32]).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let options = Options {
        keys: vec![format!("edge=7:file:{}", path.display())],
        ..Options::new("aead(aes-256-gcm, key=edge)", phone())
    };
    let mut client = Client::new(&options).unwrap();
    client.send(BEGIN, MESSAGE);
    let Some(Output::ToServer(packet)) = client.next_output() else {
        panic!("a packet");
    };
    assert_eq!(packet.len(), MESSAGE.len() + 32);
    assert_eq!((client.device(), client.next_tick()), (None, None));
    client.receive(BEGIN, b"noise");
    assert_eq!(client.counters().refused, 1);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Client::new(&options).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let server = phone();
    let with = |chain: &str| Options::new(chain, server);
    let wrong = |options: Options| Client::new(&options).unwrap_err().to_string();
    let said = wrong(with("zstd(sip) | zip"));
    assert!(said.contains("column 13"), "{said}");
    assert!(said.contains("no codec `zip`"), "{said}");
    let said = wrong(with("aead(aes-256-gcm, key=edge)"));
    assert!(said.contains("no key `edge`"), "{said}");
    let said = wrong(with(CHAIN));
    assert!(said.contains("corex keys public"), "{said}");
    let mut unused = with("hex");
    unused.server_key = Some("file:/x".to_owned());
    assert!(wrong(unused).contains("key=device"));
    let mut missing = with(CHAIN);
    missing.server_key = Some("file:/no/such/key".to_owned());
    assert!(wrong(missing).starts_with("/no/such/key: "));
    let mut keys = with("hex");
    keys.keys = vec!["edge".to_owned()];
    assert!(wrong(keys).contains("NAME=[ID:]file:PATH"));
    let mut dictionary = with("hex");
    dictionary.dictionaries = vec!["fleet".to_owned()];
    assert!(wrong(dictionary).contains("NAME=/PATH"));
}
