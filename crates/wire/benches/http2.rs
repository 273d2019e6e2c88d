//! The cost of reading HTTP/2 on the side: nanoseconds for frames and typical header blocks.
//!
//!     cargo bench -p interceptor-wire --bench http2

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use interceptor_wire::http2::hpack::{
    Decoder, Encoder, Field, Fields, Indexing, MAX_FIELD, Representation, encode_stateless,
};
use interceptor_wire::http2::{
    BlockHead, ErrorCode, Event, FrameSize, Framer, Opening, PREFACE, Sender, StreamId, encode,
};

/// The request of a gRPC client, forwarded by a mesh.
const GRPC: [(&str, &str); 12] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/hipstershop.CartService/GetCart"),
    (":authority", "cartservice.shop.svc.cluster.local:7070"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("user-agent", "grpc-go/1.71.0"),
    ("grpc-accept-encoding", "gzip"),
    ("grpc-timeout", "4999936u"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("x-request-id", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
    ("x-user", "debug"),
];

/// The result is the best of this many rounds: other work on the machine only adds to the time.
const ROUNDS: usize = 1000;
/// Length of a round, short enough for some rounds to run without an interruption.
const ROUND: Duration = Duration::from_micros(500);

fn main() {
    let added = Representation::Literal { indexing: Indexing::Incremental, name_indexed: true };
    let mut encoder = Encoder::new(4096);
    let first = block(&mut encoder, added);
    let indexed = block(&mut encoder, Representation::Indexed);
    let mut literal = Vec::new();
    for (name, value) in GRPC {
        encode_stateless(&mut literal, field(name, value, Representation::Indexed));
    }
    // What changes with each call is a literal, the rest is indexed.
    let mut usual = Vec::new();
    for (name, value) in GRPC {
        let changes = ["grpc-timeout", "traceparent", "x-request-id"].contains(&name);
        let representation = if changes { added } else { Representation::Indexed };
        encoder.field(&mut usual, field(name, value, representation));
    }

    println!("decode a gRPC request of {} fields", GRPC.len());
    let (mut decoder, mut fields) = (Decoder::new(MAX_FIELD), Fields::default());
    assert_eq!(decode(&mut decoder, &first, &mut fields), GRPC.len());
    let size = indexed.len();
    report(&format!("  all indexed, {size} bytes"), || _ = run(&mut decoder, &indexed));
    report("  the same, collected", || _ = decode(&mut decoder, &indexed, &mut fields));
    let size = usual.len();
    report(&format!("  three added, {size} bytes"), || _ = run(&mut decoder, &usual));
    let size = literal.len();
    report(&format!("  all literal, in Huffman code, {size} bytes"), || {
        _ = run(&mut decoder, &literal);
    });
    let size = first.len();
    report(&format!("  all added, in Huffman code, {size} bytes"), || {
        _ = run(&mut decoder, &first);
    });
    report("  all indexed, byte by byte", || {
        indexed.chunks(1).for_each(
            |mut piece| {
                while decoder.next(&mut piece).expect("a field").is_some() {}
            },
        );
        decoder.finish().expect("a block");
    });

    println!("encode the same");
    let mut out = Vec::new();
    report("  all indexed", || {
        out.clear();
        for (name, value) in GRPC {
            encoder.field(&mut out, field(name, value, Representation::Indexed));
        }
    });
    report("  for a table of another sender", || {
        out.clear();
        for (name, value) in GRPC {
            encode_stateless(&mut out, field(name, value, Representation::Indexed));
        }
    });

    println!("frames of 100 requests: HEADERS, DATA of 100 bytes, RST_STREAM");
    let mut bytes = PREFACE.to_vec();
    encode::settings(&mut bytes, []);
    for number in 0..100 {
        let stream = StreamId::new(2 * number + 1).expect("31 bits");
        let opening = Opening::Headers { end_stream: false, priority: None };
        encode::block(&mut bytes, &BlockHead { stream, opening }, &indexed, FrameSize::MIN);
        encode::data(&mut bytes, stream, &[0; 100], true, FrameSize::MIN);
        encode::rst_stream(&mut bytes, stream, ErrorCode::CANCEL);
    }
    report("  framed", || _ = frames(&bytes));
}

fn report(name: &str, mut run: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let (started, mut times) = (Instant::now(), 0_u32);
        while started.elapsed() < ROUND {
            (0..20).for_each(|_| run());
            times += 20;
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e9 / f64::from(times));
    }
    println!("{name:<46}{best:>10.1} ns {:>12.0}/s", 1e9 / best);
}

fn field<'a>(name: &'a str, value: &'a str, representation: Representation) -> Field<'a> {
    Field { name: name.as_bytes(), value: value.as_bytes(), representation }
}

fn block(encoder: &mut Encoder, representation: Representation) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for (name, value) in GRPC {
        encoder.field(&mut out, field(name, value, representation));
    }
    out
}

/// Decodes a block without looking at its fields.
fn run(decoder: &mut Decoder, block: &[u8]) -> usize {
    let (mut piece, mut bytes) = (black_box(block), 0);
    while let Some(field) = decoder.next(&mut piece).expect("a field") {
        bytes += black_box(field).value.len();
    }
    decoder.finish().expect("a block");
    bytes
}

/// Decodes a block, and keeps its fields.
fn decode(decoder: &mut Decoder, block: &[u8], fields: &mut Fields) -> usize {
    fields.clear();
    let mut piece = black_box(block);
    while let Some(field) = decoder.next(&mut piece).expect("a field") {
        fields.push(field);
    }
    decoder.finish().expect("a block");
    black_box(fields).len()
}

fn frames(bytes: &[u8]) -> usize {
    let (mut framer, mut at, mut count) = (Framer::new(Sender::Client, 16_384), 0, 0);
    loop {
        let event = framer.next(black_box(&bytes[at..]));
        match event {
            Event::NeedMore => return count,
            Event::Broken(error) => panic!("{error}"),
            _ => count += 1,
        }
        at += event.covers();
    }
}
