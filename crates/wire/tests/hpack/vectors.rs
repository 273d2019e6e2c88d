//! The examples of RFC 7541, appendix C.

use interceptor_wire::http2::hpack::{Decoder, Encoder, Indexing, MAX_FIELD, Representation};

use crate::support::{Owned, decode};

/// A block in hexadecimal digits, its fields, and the size of the table behind it.
type Example = (&'static str, &'static [(&'static str, &'static str)], u32);

const REQUESTS: [&[(&str, &str)]; 3] = [
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];

const RESPONSES: [&[(&str, &str)]; 3] = [
    &[
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "307"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ],
];

/// C.3: requests without Huffman code.
const PLAIN_REQUESTS: [Example; 3] = [
    ("828684410f7777772e6578616d706c652e636f6d", REQUESTS[0], 57),
    ("828684be58086e6f2d6361636865", REQUESTS[1], 110),
    ("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", REQUESTS[2], 164),
];

/// C.4: the same with Huffman code.
const REQUESTS_IN_HUFFMAN_CODE: [Example; 3] = [
    ("828684418cf1e3c2e5f23a6ba0ab90f4ff", REQUESTS[0], 57),
    ("828684be5886a8eb10649cbf", REQUESTS[1], 110),
    ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", REQUESTS[2], 164),
];

/// C.5: responses without Huffman code, with a table of 256 bytes.
const PLAIN_RESPONSES: [Example; 3] = [
    (
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54\
         6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        RESPONSES[0],
        222,
    ),
    ("4803333037c1c0bf", RESPONSES[1], 222),
    (
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f\
         3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076\
         657273696f6e3d31",
        RESPONSES[2],
        215,
    ),
];

/// C.6: the same with Huffman code.
const RESPONSES_IN_HUFFMAN_CODE: [Example; 3] = [
    (
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f\
         0b97c8e9ae82ae43d3",
        RESPONSES[0],
        222,
    ),
    ("4883640effc1c0bf", RESPONSES[1], 222),
    (
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335df\
         dfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        RESPONSES[2],
        215,
    ),
];

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

fn pairs(fields: &[Owned]) -> Vec<(&str, &str)> {
    let text = |bytes| str::from_utf8(bytes).expect("text");
    fields.iter().map(|field| (text(&field.name[..]), text(&field.value))).collect()
}

/// Decodes the blocks one after the other, each whole and in single bytes, and encodes them again.
/// `encoded` says whether the strings have Huffman code, as ours have where it is shorter.
fn check(limit: u32, examples: &[Example], encoded: bool) {
    let mut decoder = Decoder::new(MAX_FIELD);
    let mut encoder = Encoder::taking_over(limit, limit);
    // The examples agreed on the size of the table elsewhere.
    let mut sizes = Vec::new();
    encoder.begin(&mut sizes);
    assert_eq!(decode(&mut decoder, &sizes, []), (Vec::new(), Ok(())));
    for (block, expected, size) in examples {
        let block = unhex(block);
        let bytewise = decode(&mut decoder.clone(), &block, 1..block.len());
        let (fields, end) = decode(&mut decoder, &block, []);
        assert_eq!(bytewise, (fields.clone(), end));
        assert_eq!((pairs(&fields), end), (expected.to_vec(), Ok(())));
        assert_eq!(decoder.table_size(), *size);

        let mut out = Vec::new();
        encoder.begin(&mut out);
        fields.iter().for_each(|field| encoder.field(&mut out, field.field()));
        assert_eq!(encoder.table_size(), *size);
        // The code of `307` is as long as the text, so that both are right.
        let text = out.windows(4).position(|window| window == b"\x03307");
        if let (true, Some(at)) = (encoded, text) {
            out.splice(at..at + 4, *b"\x83\x64\x0e\xff");
        }
        if encoded {
            assert_eq!(out, block);
        }
    }
}

#[test]
fn requests_without_huffman_code() {
    check(4096, &PLAIN_REQUESTS, false);
}

#[test]
fn requests_in_huffman_code() {
    check(4096, &REQUESTS_IN_HUFFMAN_CODE, true);
}

#[test]
fn responses_without_huffman_code() {
    check(256, &PLAIN_RESPONSES, false);
}

#[test]
fn responses_in_huffman_code() {
    check(256, &RESPONSES_IN_HUFFMAN_CODE, true);
}

/// C.2: single fields.
#[test]
fn representations() {
    let literal = |indexing, name_indexed| Representation::Literal { indexing, name_indexed };
    let examples = [
        (
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            ("custom-key", "custom-header"),
            literal(Indexing::Incremental, false),
            55,
        ),
        (
            "040c2f73616d706c652f70617468",
            (":path", "/sample/path"),
            literal(Indexing::Without, true),
            0,
        ),
        (
            "100870617373776f726406736563726574",
            ("password", "secret"),
            literal(Indexing::Never, false),
            0,
        ),
        ("82", (":method", "GET"), Representation::Indexed, 0),
    ];
    for (block, pair, representation, size) in examples {
        let mut decoder = Decoder::new(MAX_FIELD);
        let (fields, end) = decode(&mut decoder, &unhex(block), []);
        assert_eq!((pairs(&fields), end), (vec![pair], Ok(())));
        assert_eq!(fields[0].representation, representation);
        assert_eq!(decoder.table_size(), size);
    }
}
