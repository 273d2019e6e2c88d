//! Random conversations of a client, an app and a target, each with exact windows and tables.
//!
//! A scheduler lets the three act at random: it cuts what they send anywhere, delays what they give
//! back, and freezes them. Each of them fails if
//!
//! - the other side breaks a rule of RFC 9113 or RFC 7541, overruns a window, or names a stream
//!   that it can't know;
//! - a head, trailers or content differ from what was sent, or come from another server;
//! - a stream is reset that no end has reset;
//! - the app's streams do not end while the target is frozen, or anything does not end at all.
//!
//! `INTERCEPTOR_MODEL_SECONDS` sets how long it runs. A failed run prints the state of its random
//! numbers; `INTERCEPTOR_MODEL_SEED` repeats its decisions, but not the timing.

mod end;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    env,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use interceptor_wire::http2::{
    StreamId,
    hpack::{Field, Fields, Indexing, Representation},
};
use testbed::{Daemon, workload};

use self::end::{End, News};
use crate::{
    check_no_panic,
    fixture::{Fixture, run},
    random_frames::Random,
    raw::frame,
};

/// How long conversations are begun, in seconds.
const SECONDS: u64 = 12;
/// Maximum number of turns without progress, about 15 s. A clock would count the time for which
/// the machine does something else.
const STUCK: usize = 150_000;
/// Maximum number of requests of a conversation.
const REQUESTS: usize = 40;
/// Maximum number of streams at once.
const AT_ONCE: usize = 8;

/// The ends, in the order of their places.
const CLIENT: usize = 0;
const APP: usize = 1;
const TARGET: usize = 2;

/// A request, as far as the client is concerned.
struct Request {
    server: usize,
    head: Pairs,
    /// Content to send, and what was sent, in bytes.
    up: (usize, usize),
    /// The same for the response.
    down: (usize, usize),
    has_trailers: bool,
    /// The heads that arrived: of the response, and its trailers.
    heads: usize,
    is_over: bool,
}

/// A request, as far as its server is concerned.
#[derive(Debug)]
struct Served {
    /// The client's number of the stream.
    id: StreamId,
    received: usize,
    heads: usize,
    sent: usize,
    has_begun: bool,
    has_trailers: bool,
}

/// Names and values.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

struct Conversation {
    random: Random,
    ends: [Option<End>; 3],
    /// For how many more turns each end is frozen.
    frozen: [usize; 3],
    /// The target is frozen until the app's streams have ended.
    is_target_frozen: bool,
    requests: BTreeMap<StreamId, Request>,
    /// By server, and by the server's number of the stream.
    served: [BTreeMap<StreamId, Served>; 3],
    /// The streams that an end has reset, by the client's number.
    resets: HashSet<StreamId>,
    /// The number of heads, pieces of content, and ends that have arrived.
    events: usize,
    /// The heads that servers have sent, by the client's number of the stream.
    responses: HashMap<StreamId, Vec<Pairs>>,
}

#[test]
fn three_ends_see_what_the_protocol_allows_and_their_peers_have_sent() {
    run("h2-model", |f| {
        let daemon = Daemon::start_with(
            f.hosts.t,
            &workload(&f.hosts.pod, &f.hosts.debug_rule(8080, 3000)),
            |command| {
                // A test that gets little of the CPU is no target that is away.
                let policy = f.hosts.t.dir().join("policy.yaml");
                std::fs::write(&policy, "connectTimeout: 20s\n")?;
                command.arg("--policy").arg(policy);
                Ok(())
            },
        )?;
        daemon.wait_active(f.hosts.pod.label())?;
        let app = f.hosts.pod.run(|| TcpListener::bind(("0.0.0.0", 8080)))?;
        let target = f.hosts.laptop.run(|| TcpListener::bind(("0.0.0.0", 3000)))?;
        target.set_nonblocking(true)?;
        let seconds = env::var("INTERCEPTOR_MODEL_SECONDS").ok().and_then(|text| text.parse().ok());
        let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
        let seed = env::var("INTERCEPTOR_MODEL_SEED").ok();
        let seed =
            seed.and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
        let mut random = seed.map_or_else(Random::new, Random::from_state);
        let mut conversations = 0;
        while Instant::now() < until {
            let state = random.describe();
            let mut conversation =
                Conversation::begin(&f, &app, Random::from_state(random.next()))?;
            conversation
                .run(&target)
                .with_context(|| format!("conversation {conversations}; {state}"))
                .with_context(|| conversation.describe())?;
            conversations += 1;
        }
        println!("{conversations} conversations");
        let before = daemon.rss_kib()?;
        ensure!(before < 200 << 10, "the daemon has {before} KiB");
        check_no_panic(&daemon)
    });
}

// === impl Conversation ===

impl Conversation {
    fn begin(f: &Fixture<'_>, app: &TcpListener, mut random: Random) -> Result<Self> {
        let client = End::new("client", f.tcp()?, &mut random)?;
        let app = End::new("app", app.accept()?.0, &mut random)?;
        Ok(Self {
            is_target_frozen: random.below(3) == 0,
            random,
            ends: [Some(client), Some(app), None],
            frozen: [0; 3],
            requests: BTreeMap::new(),
            served: Default::default(),
            resets: HashSet::new(),
            events: 0,
            responses: HashMap::new(),
        })
    }

    fn run(&mut self, target: &TcpListener) -> Result<()> {
        let mut idle = 0;
        while !self.is_over() {
            if self.ends[TARGET].is_none()
                && let Ok((stream, _)) = target.accept()
            {
                self.ends[TARGET] = Some(End::new("target", stream, &mut self.random)?);
            }
            let events = self.events;
            if !self.turn()? {
                thread::sleep(Duration::from_micros(50));
            }
            // PING and windows alone are no progress.
            idle = if self.events == events { idle + 1 } else { 0 };
            ensure!(idle < STUCK, "nothing moves");
        }
        ensure!(target.accept().is_err(), "a second connection to the target");
        Ok(())
    }

    /// Whether everything has happened.
    fn is_over(&self) -> bool {
        self.requests.len() == REQUESTS
            && self.requests.values().all(|request| request.is_over)
            && self.ends.iter().flatten().all(|end| end.is_answered() && end.waiting() == 0)
    }

    /// Lets each end act. Whether anything moved.
    fn turn(&mut self) -> Result<bool> {
        let mut moved = false;
        for place in [CLIENT, APP, TARGET] {
            if self.ends[place].is_none() {
                continue;
            }
            if self.is_frozen(place) {
                continue;
            }
            let (most, cut) = (1 + self.random.below(20_000), 1 + self.random.below(20_000));
            if self.random.below(4) > 0 {
                moved |= self.end(place).take(most)?;
                ensure!(
                    !self.end(place).is_over,
                    "the {}'s connection has ended",
                    self.end(place).name
                );
                while let Some(news) = self.end(place).news.pop_front() {
                    self.events += 1;
                    self.on_news(place, news)
                        .with_context(|| format!("at the {}", self.end(place).name))?;
                }
            }
            self.act(place)?;
            if self.random.below(4) > 0 {
                moved |= self.end(place).pass(cut)?;
            }
        }
        Ok(moved)
    }

    fn is_frozen(&mut self, place: usize) -> bool {
        if place == TARGET && self.is_target_frozen {
            // All requests are open or over, and none of the app's is left.
            let is_left = |request: &Request| request.server == APP && !request.is_over;
            let may_open = self.requests.len() < REQUESTS && self.open().count() < AT_ONCE;
            if may_open || self.requests.values().any(is_left) {
                return true;
            }
            self.is_target_frozen = false;
        }
        if self.frozen[place] > 0 {
            self.frozen[place] -= 1;
        } else if self.random.below(300) == 0 {
            self.frozen[place] = self.random.below(300);
        }
        self.frozen[place] > 0
    }

    fn end(&mut self, place: usize) -> &mut End {
        self.ends[place].as_mut().expect("an end that acts")
    }

    fn open(&self) -> impl Iterator<Item = StreamId> {
        self.requests.iter().filter(|(_, request)| !request.is_over).map(|(id, _)| *id)
    }

    /// Does something at random.
    fn act(&mut self, place: usize) -> Result<()> {
        match self.random.below(24) {
            0..=5 => return self.give_back(place),
            6 if self.open().next().is_some() => {
                let Self { random, ends, .. } = self;
                if let Some(end) = &mut ends[place] {
                    match random.below(12) {
                        0 => end.ping(random),
                        1 => end.announce(random)?,
                        2 => end.widen(random)?,
                        3 if place == CLIENT && end.highest > StreamId::CONNECTION => {
                            // PRIORITY, and a type that no end knows.
                            let id = end.highest.number();
                            end.write(|out| out.extend(frame(2, 0, id, b"\0\0\0\0\x10")));
                            end.write(|out| out.extend(frame(0xfa, 0xff, id, b"unknown")));
                        }
                        _ => {}
                    }
                }
            }
            7 if self.random.below(20) == 0 => self.reset(place),
            _ if self.end(place).waiting() > 50_000 => {}
            8..=10 if place == CLIENT => self.request(),
            _ if place == CLIENT => return self.send_up(),
            _ => return self.send_down(place),
        }
        Ok(())
    }

    fn give_back(&mut self, place: usize) -> Result<()> {
        let Self { random, ends, .. } = self;
        ends[place].as_mut().map_or(Ok(()), |end| end.give_back(random))
    }

    /// The client opens a stream.
    fn request(&mut self) {
        if self.requests.len() == REQUESTS || self.open().count() >= AT_ONCE {
            return;
        }
        let number = 1 + 2 * self.requests.len() as u32;
        let id = StreamId::new(number).expect("a small number");
        let server = if self.random.below(2) == 0 { APP } else { TARGET };
        let mut head: Pairs = vec![
            (b":method".to_vec(), b"POST".to_vec()),
            (b":scheme".to_vec(), b"http".to_vec()),
            (b":path".to_vec(), b"/".to_vec()),
            (b":authority".to_vec(), b"web".to_vec()),
            (b"id".to_vec(), number.to_string().into()),
        ];
        self.add_extras(&mut head);
        if server == TARGET {
            head.push((b"x-user".to_vec(), b"debug".to_vec()));
        }
        let fields = self.fields(&head);
        let (up, down) = (self.size(), self.size());
        let has_trailers = self.random.below(4) == 0;
        let request = Request {
            server,
            head,
            up: (up, 0),
            down: (down, 0),
            has_trailers,
            heads: 0,
            is_over: false,
        };
        let is_all = up == 0 && !has_trailers;
        self.requests.insert(id, request);
        self.end(CLIENT).open(id);
        self.end(CLIENT).head(id, is_all, &fields);
    }

    /// Many messages are short, and some exceed all windows.
    fn size(&mut self) -> usize {
        match self.random.below(6) {
            0 => 0,
            1 => self.random.below(300_000),
            _ => self.random.below(5_000),
        }
    }

    fn add_extras(&mut self, head: &mut Pairs) {
        for _ in 0..self.random.below(4) {
            let (name, value): (&[u8], Vec<u8>) = match self.random.below(6) {
                0 => (b"cookie", format!("a={}", self.random.below(3)).into()),
                1 => (b"x-long", vec![b'v'; self.random.below(400)]),
                2 => (b"x-bytes", vec![0xff, 0x80, self.random.below(256) as u8]),
                3 if self.random.below(10) == 0 => (b"x-huge", vec![b'h'; 20_000]),
                _ => (b"accept", b"*/*".to_vec()),
            };
            head.push((name.to_vec(), value));
        }
    }

    /// The same with random representations.
    fn fields(&mut self, head: &Pairs) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in head {
            let indexing = match self.random.below(3) {
                0 => Indexing::Incremental,
                1 => Indexing::Without,
                _ => Indexing::Never,
            };
            let name_indexed = self.random.below(2) == 0;
            let representation = match self.random.below(3) {
                0 => Representation::Indexed,
                _ => Representation::Literal { indexing, name_indexed },
            };
            fields.push(Field { name, value, representation });
        }
        fields
    }

    /// The client sends content of a request.
    fn send_up(&mut self) -> Result<()> {
        let open: Vec<StreamId> = self.open().collect();
        if open.is_empty() {
            return Ok(());
        }
        let id = open[self.random.below(open.len())];
        let Self { random, ends, requests, .. } = self;
        let (Some(end), Some(request)) = (&mut ends[CLIENT], requests.get_mut(&id)) else {
            bail!("no request {id:?}");
        };
        let stream = end.streams.get(&id).context("no stream")?;
        if stream.has_ended || stream.is_reset {
            return Ok(());
        }
        let (all, sent) = request.up;
        let n = (all - sent).min(random.below(30_000));
        let content: Vec<u8> = (sent..sent + n).map(|at| byte(id, CLIENT, at)).collect();
        let is_last = sent + n == all;
        request.up.1 += end.data(id, &content, is_last && !request.has_trailers, random)?;
        if request.up.1 == all && request.has_trailers {
            let trailers = vec![(b"x-end".to_vec(), id.number().to_string().into_bytes())];
            let fields = self.fields(&trailers);
            self.end(CLIENT).head(id, true, &fields);
        }
        Ok(())
    }

    /// A server sends some of a response.
    fn send_down(&mut self, place: usize) -> Result<()> {
        let open: Vec<StreamId> = self.served[place].keys().copied().collect();
        if open.is_empty() {
            return Ok(());
        }
        let theirs = open[self.random.below(open.len())];
        let stream = self.end(place).streams.get(&theirs).context("no stream")?;
        if stream.has_ended || stream.is_reset {
            return Ok(());
        }
        let served = self.served[place].get_mut(&theirs).context("not served")?;
        let (id, has_trailers) = (served.id, served.has_trailers);
        let all = self.requests.get(&id).context("no request")?.down.0;
        if !std::mem::replace(&mut served.has_begun, true) {
            let mut head: Pairs = vec![
                (b":status".to_vec(), b"200".to_vec()),
                (b"server".to_vec(), place.to_string().into_bytes()),
            ];
            self.add_extras(&mut head);
            let fields = self.fields(&head);
            self.responses.entry(id).or_default().push(head);
            self.end(place).head(theirs, all == 0 && !has_trailers, &fields);
            return Ok(());
        }
        let Self { random, ends, served, .. } = self;
        let served = served[place].get_mut(&theirs).context("not served")?;
        let Some(end) = &mut ends[place] else { bail!("no end") };
        let n = (all - served.sent).min(random.below(30_000));
        let content: Vec<u8> =
            (served.sent..served.sent + n).map(|at| byte(id, place, at)).collect();
        let is_last = served.sent + n == all;
        served.sent += end.data(theirs, &content, is_last && !has_trailers, random)?;
        if served.sent == all && has_trailers {
            let trailers = vec![(b"x-sum".to_vec(), all.to_string().into_bytes())];
            let fields = self.fields(&trailers);
            self.responses.entry(id).or_default().push(trailers);
            self.end(place).head(theirs, true, &fields);
        }
        Ok(())
    }

    /// An end resets one of its streams.
    fn reset(&mut self, place: usize) {
        let open: Vec<(StreamId, StreamId)> = match place {
            CLIENT => self.open().map(|id| (id, id)).collect(),
            _ => self.served[place].iter().map(|(theirs, served)| (*theirs, served.id)).collect(),
        };
        if open.is_empty() {
            return;
        }
        let (theirs, id) = open[self.random.below(open.len())];
        let is_done = self
            .end(place)
            .streams
            .get(&theirs)
            .is_none_or(|stream| stream.is_reset || (stream.has_ended && stream.peer_ended));
        if is_done {
            return;
        }
        self.resets.insert(id);
        self.end(place).reset(theirs);
        if place == CLIENT
            && let Some(request) = self.requests.get_mut(&id)
        {
            request.is_over = true;
        }
    }

    fn on_news(&mut self, place: usize, news: News) -> Result<()> {
        match (place, news) {
            (CLIENT, News::Head(id, fields)) => {
                let request = self.requests.get_mut(&id).context("no request")?;
                let sent = self.responses.get(&id).and_then(|heads| heads.get(request.heads));
                let sent = sent.with_context(|| format!("a head of {id:?} that no server sent"))?;
                ensure!(
                    pairs(&fields) == *sent,
                    "{id:?}: {:?} instead of {sent:?}",
                    pairs(&fields)
                );
                if request.heads == 0 {
                    let server = fields.value(b"server").context("no server")?;
                    ensure!(server == request.server.to_string().as_bytes(), "another server");
                }
                request.heads += 1;
            }
            (CLIENT, News::Content(id, content)) => {
                let request = self.requests.get_mut(&id).context("no request")?;
                check_content(id, request.server, &mut request.down.1, &content)?;
            }
            (CLIENT, News::End(id)) => {
                let request = self.requests.get_mut(&id).context("no request")?;
                let (all, received) = request.down;
                ensure!(all == received, "{received} of {all} bytes of {id:?}");
                self.settle(id)?;
            }
            (CLIENT, News::Reset(id, code)) => {
                ensure!(self.resets.contains(&id), "{id:?} was reset with {code:?}");
                self.requests.get_mut(&id).context("no request")?.is_over = true;
            }
            (_, News::Head(theirs, fields)) => self.on_request(place, theirs, &fields)?,
            (_, News::Content(theirs, content)) => {
                let served = self.served[place].get_mut(&theirs).context("not served")?;
                check_content(served.id, CLIENT, &mut served.received, &content)?;
            }
            (_, News::End(theirs)) => {
                let served = self.served[place].get(&theirs).context("not served")?;
                let request = self.requests.get(&served.id).context("no request")?;
                let (all, _) = request.up;
                ensure!(served.received == all, "{} of {all} bytes up", served.received);
                let heads = 1 + usize::from(request.has_trailers);
                ensure!(served.heads == heads, "{} heads of {heads}", served.heads);
                let id = served.id;
                self.settle(id)?;
            }
            (_, News::Reset(theirs, code)) => {
                let served = self.served[place].get(&theirs).context("not served")?;
                ensure!(self.resets.contains(&served.id), "{theirs:?} was reset with {code:?}");
            }
        }
        Ok(())
    }

    /// A head or trailers at a server.
    fn on_request(&mut self, place: usize, theirs: StreamId, fields: &Fields) -> Result<()> {
        if let Some(served) = self.served[place].get_mut(&theirs) {
            served.heads += 1;
            let number = fields.value(b"x-end").context("no trailers")?;
            ensure!(number == served.id.number().to_string().as_bytes(), "another's trailers");
            return Ok(());
        }
        let number = fields.value(b"id").and_then(|id| std::str::from_utf8(id).ok());
        let id = number.and_then(|number| number.parse().ok()).and_then(StreamId::new);
        let id = id.context("no request of the client")?;
        let request = self.requests.get(&id).context("no request")?;
        ensure!(request.server == place, "{id:?} is not for this server");
        ensure!(pairs(fields) == request.head, "{:?}, not {:?}", pairs(fields), request.head);
        if place == APP {
            ensure!(theirs == id, "the app sees {id:?} as {theirs:?}");
        }
        let has_trailers = self.random.below(4) == 0;
        let served = Served { id, received: 0, heads: 1, sent: 0, has_begun: false, has_trailers };
        self.served[place].insert(theirs, served);
        Ok(())
    }

    /// A request is over when both sides have ended it.
    fn settle(&mut self, id: StreamId) -> Result<()> {
        let request = self.requests.get(&id).context("no request")?;
        let stream = self.ends[CLIENT].as_ref().and_then(|end| end.streams.get(&id));
        let stream = stream.context("no stream")?;
        let at_server = self.served[request.server].iter().find(|(_, served)| served.id == id);
        let has_arrived = at_server.is_some_and(|(theirs, _)| {
            let server = self.ends[request.server].as_ref();
            server.and_then(|end| end.streams.get(theirs)).is_some_and(|at| at.peer_ended)
        });
        if stream.peer_ended
            && has_arrived
            && let Some(request) = self.requests.get_mut(&id)
        {
            request.is_over = true;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for (id, request) in self.requests.iter().filter(|(_, request)| !request.is_over) {
            let (up, down) = (request.up, request.down);
            text += &format!("{id:?} of {}: up {up:?}, down {down:?}; ", request.server);
            let stream = |place: usize, id| {
                let end = self.ends[place].as_ref();
                end.and_then(|end| end.streams.get(id)).map(|stream| format!("{stream:?}"))
            };
            text += &format!("at the client: {:?}; ", stream(CLIENT, id));
            let served = self.served[request.server].iter().find(|(_, served)| served.id == *id);
            if let Some((theirs, served)) = served {
                text +=
                    &format!("at the server: {served:?}, {:?}; ", stream(request.server, theirs));
            }
        }
        for end in self.ends.iter().flatten() {
            let (waiting, send) = (end.waiting(), end.send.size());
            text += &format!("{}: {waiting} bytes wait, window {send}; ", end.name);
        }
        text + &format!("frozen: {:?}, {}", self.frozen, self.is_target_frozen)
    }
}

/// The content of a stream from an end, at a place.
fn byte(id: StreamId, from: usize, at: usize) -> u8 {
    (id.number() as usize * 7 + from * 31 + at) as u8
}

fn check_content(id: StreamId, from: usize, received: &mut usize, content: &[u8]) -> Result<()> {
    for got in content {
        let expected = byte(id, from, *received);
        ensure!(*got == expected, "byte {received} of {id:?} is {got}, not {expected}");
        *received += 1;
    }
    Ok(())
}

fn pairs(fields: &Fields) -> Pairs {
    fields.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
}
