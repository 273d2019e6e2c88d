//! What a client and an app exchange on a port with a condition is what they would exchange
//! directly.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use interceptor_wire::http2::{
    BlockHead, Event, FrameSize, Framer, Kind, Opening, PREFACE, Payload, Sender, StreamId, encode,
    hpack::{Decoder, Encoder, Field, Fields, Indexing, MAX_FIELD, Representation},
};

use testbed::wait_until;

use crate::{
    TIMEOUT,
    fixture::run,
    random_frames::{Random, requests, responses},
    raw::frame,
};

/// The number of conversations.
const CONVERSATIONS: usize = 300;
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Any frames in any order, with heads that no rule matches, cut anywhere.
#[test]
fn conversations_without_a_match_pass_byte_for_byte() {
    run("h2-bytes", |f| {
        let _daemon = f.daemon()?;
        let listener = f.hosts.pod.run(|| TcpListener::bind(("0.0.0.0", 8080)))?;
        let mut random = Random::new();
        for n in 0..CONVERSATIONS {
            let seed = random.describe();
            let mut from_client = PREFACE.to_vec();
            from_client.extend(SETTINGS);
            // The first three are a request that does not match, and two that do.
            let frames = [&heads()[..], &requests()[3..]].concat();
            random.append(&mut from_client, &frames);
            let mut from_app = Vec::new();
            if random.below(10) > 0 {
                from_app.extend(SETTINGS);
            }
            random.append(&mut from_app, &responses());
            let cuts = [random.below(from_client.len()), random.below(from_app.len() + 1)];

            let client = f.tcp()?;
            let (app, _) = listener.accept()?;
            let (at_client, at_app) = thread::scope(|scope| {
                let client = scope.spawn(|| converse(client, &from_client, cuts[0]));
                let app = scope.spawn(|| converse(app, &from_app, cuts[1]));
                anyhow::Ok((client.join().expect("no panic")?, app.join().expect("no panic")?))
            })
            .with_context(|| format!("conversation {n}: {seed}"))?;
            let context = || format!("conversation {n}: {seed}");
            same(&at_app, &from_client).context("to the app").with_context(context)?;
            same(&at_client, &from_app).context("to the client").with_context(context)?;
        }
        Ok(())
    });
}

fn same(received: &[u8], sent: &[u8]) -> Result<()> {
    let same = received.iter().zip(sent).take_while(|(a, b)| a == b).count();
    ensure!(
        received == sent,
        "{} bytes arrived of {}; from byte {same} on: {:02x?}, sent: {:02x?}",
        received.len(),
        sent.len(),
        &received[same..],
        &sent[same..]
    );
    Ok(())
}

/// Sends the bytes in two pieces, ends, and returns what the other side sent.
fn converse(mut stream: TcpStream, bytes: &[u8], cut: usize) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_nodelay(true)?;
    let mut reader = stream.try_clone()?;
    let received = thread::spawn(move || {
        let mut received = Vec::new();
        reader.read_to_end(&mut received).map(|_| received)
    });
    stream.write_all(&bytes[..cut])?;
    thread::sleep(Duration::from_micros(500));
    stream.write_all(&bytes[cut..])?;
    stream.shutdown(Shutdown::Write)?;
    received.join().expect("no panic")
}

/// Header blocks in every representation, whole and in several frames.
fn heads() -> Vec<Vec<u8>> {
    let post = b"\x83\x86\x04\x05/echo\x01\x03web";
    vec![
        frame(1, 4, 1, post),
        // With indexing, then the same by its index, then a table of another size.
        frame(1, 4, 7, b"\x82\x86\x84\x41\x03web\x40\x03abc\x03def"),
        frame(1, 5, 9, b"\x82\x86\x84\xbf\xbe"),
        frame(1, 5, 11, b"\x20\x3f\xe1\x1f\x82\x86\x84\x10\x06secret\x03yes"),
        // Padded, with a priority, and followed by a part of its own.
        frame(1, 0x28, 13, b"\x02\0\0\0\x01\x10\x82\x86\x84\0\0"),
        [frame(1, 1, 15, b"\x82\x86\x84\0"), frame(9, 4, 15, b"\x01a\x01b")].concat(),
        // An index that no table has.
        frame(1, 5, 17, b"\xff\x20"),
    ]
}

/// Fields that no library of the daemon's would pass.
const ODD: [(&[u8], &[u8]); 12] = [
    (b":authority", b"extension/ns-demo/auth-server"),
    (b":authority", b"APP:50051,APP:50051"),
    (b":authority", b""),
    (b":path", b"/Say it"),
    (b":path", b"/a?x={\"y\":1}`<b>#part"),
    (b":path", b"http://web/whole"),
    (b"content-length", b"45"),
    (b"connection", b"keep-alive"),
    (b"transfer-encoding", b"chunked"),
    (b"x-del", b"a\x7fb"),
    (b"X-Capital", b"line\nbreak"),
    (b"x-latin", b"\xe9\xff\x00"),
];

#[test]
fn odd_fields_reach_the_app_unchanged_before_and_after_a_stream_was_diverted() {
    run("h2-odd", |f| {
        let (target, _daemon) = (f.target()?, f.daemon()?);
        let listener = f.hosts.pod.run(|| TcpListener::bind(("0.0.0.0", 8080)))?;
        let mut client = f.tcp()?;
        client.write_all(PREFACE)?;
        client.write_all(&SETTINGS)?;
        let (mut app, _) = listener.accept()?;
        app.set_read_timeout(Some(Duration::from_secs(5)))?;
        app.write_all(&SETTINGS)?;

        let mut encoder = Encoder::new(4096);
        let mut sent = Vec::new();
        let mut next = 1;
        for is_diverted in [false, true] {
            if is_diverted {
                let debug: [(&[u8], &[u8]); 3] =
                    [(b":path", b"/name"), (b":authority", b"web"), (b"x-user", b"debug")];
                let fields = head(&debug, Indexing::Incremental);
                client.write_all(&request(next, &fields, &mut encoder))?;
                next += 2;
            }
            for indexing in [Indexing::Incremental, Indexing::Without, Indexing::Never] {
                for odd in ODD {
                    let fields = head(&[odd], indexing);
                    client.write_all(&request(next, &fields, &mut encoder))?;
                    sent.push((next, list(&fields)));
                    next += 2;
                }
            }
        }
        let mut seen = Vec::new();
        let mut reader = Reader::new();
        while seen.len() < sent.len() {
            let mut bytes = [0; 4096];
            let n = app.read(&mut bytes).context("the app gets too few requests")?;
            ensure!(n > 0, "the connection has ended");
            reader.read(&bytes[..n], &mut seen)?;
        }
        assert_eq!(seen, sent);
        wait_until("the request at the target", TIMEOUT, || !target.record.requests().is_empty())
    });
}

/// The fields of a request, the odd ones after those that every request has.
fn head(odd: &[(&[u8], &[u8])], indexing: Indexing) -> Fields {
    let mut fields = Fields::default();
    let usual: [(&[u8], &[u8]); 2] = [(b":method", b"POST"), (b":scheme", b"http")];
    for (name, value) in usual {
        let representation = Representation::Indexed;
        fields.push(Field { name, value, representation });
    }
    for (name, value) in odd {
        let representation = Representation::Literal { indexing, name_indexed: false };
        fields.push(Field { name, value, representation });
    }
    fields
}

fn request(stream: u32, fields: &Fields, encoder: &mut Encoder) -> Vec<u8> {
    let (block, mut frames) = (encoder.block(fields), Vec::new());
    let stream = StreamId::new(stream).expect("fits");
    let opening = Opening::Headers { end_stream: true, priority: None };
    encode::block(&mut frames, &BlockHead { stream, opening }, &block, FrameSize::MIN);
    frames
}

/// Names, values, and whether each field must never be indexed.
fn list(fields: &Fields) -> Vec<(Vec<u8>, Vec<u8>, bool)> {
    let never = |field: &Field<'_>| {
        matches!(field.representation, Representation::Literal { indexing: Indexing::Never, .. })
    };
    fields.iter().map(|field| (field.name.to_vec(), field.value.to_vec(), never(&field))).collect()
}

/// An app that follows header blocks.
struct Reader {
    framer: Framer,
    decoder: Decoder,
    unread: Vec<u8>,
}

impl Reader {
    fn new() -> Self {
        let framer = Framer::new(Sender::Client, 1 << 20);
        Self { framer, decoder: Decoder::new(MAX_FIELD), unread: Vec::new() }
    }

    #[expect(clippy::type_complexity, reason = "used once")]
    fn read(
        &mut self,
        bytes: &[u8],
        seen: &mut Vec<(u32, Vec<(Vec<u8>, Vec<u8>, bool)>)>,
    ) -> Result<()> {
        self.unread.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let event = self.framer.next(&self.unread[at..]);
            at += event.covers();
            match event {
                Event::NeedMore => break,
                Event::Frame(frame) if frame.header.kind == Kind::Headers => {
                    let Payload::Headers { mut fragment, .. } = frame.payload()? else { continue };
                    let mut fields = Fields::default();
                    while let Some(field) = self.decoder.next(&mut fragment)? {
                        fields.push(field);
                    }
                    self.decoder.finish()?;
                    seen.push((frame.header.stream.number(), list(&fields)));
                }
                Event::Broken(error) => return Err(error.into()),
                _ => {}
            }
        }
        self.unread.drain(..at);
        Ok(())
    }
}
