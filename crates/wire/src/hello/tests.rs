//! ClientHellos built by hand, whole and in pieces.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// A list that is preceded by its length in two bytes.
fn list16(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes()[..], content].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &list16(data)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(SERVER_NAME, &list16(&[&[0][..], &list16(name)].concat()))
}

fn alpn(names: &[&str]) -> Vec<u8> {
    let names = names.iter().flat_map(|name| [&[name.len() as u8][..], name.as_bytes()].concat());
    extension(ALPN, &list16(&names.collect::<Vec<_>>()))
}

/// A handshake message with these extensions.
fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[2, 8, 8]); // session
    body.extend_from_slice(&[0, 4, 0x13, 1, 0x13, 2]); // cipher suites
    body.extend_from_slice(&[1, 0]); // compression
    body.extend_from_slice(&list16(&extensions.concat()));
    [&[CLIENT_HELLO, 0][..], &list16(&body)].concat()
}

/// Records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |fragment: &[u8]| [&[HANDSHAKE, 3, 1][..], &list16(fragment)].concat();
    message.chunks(size).flat_map(record).collect()
}

fn extra() -> Vec<u8> {
    extension(43, &[2, 3, 4])
}

fn hello_of(bytes: &[u8]) -> (Option<String>, Vec<String>, usize) {
    match client_hello(bytes) {
        Parsed::Complete { head, len } => {
            let protocols = head.protocols().map(|name| String::from_utf8_lossy(name).into_owned());
            (head.server_name.as_deref().map(str::to_owned), protocols.collect(), len)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn name_and_protocols() {
    let message = message(&[extra(), sni(b"Shop.example"), extra(), alpn(&["h2", "http/1.1"])]);
    let mut bytes = records(&message, usize::MAX);
    let len = bytes.len();
    let expected =
        (Some("Shop.example".to_owned()), vec!["h2".to_owned(), "http/1.1".to_owned()], len);
    assert_eq!(hello_of(&bytes), expected);
    // The reader does not look at the bytes after the ClientHello.
    bytes.extend_from_slice(&[20, 3, 3, 0, 1, 1]);
    assert_eq!(hello_of(&bytes), expected);
}

#[test]
fn without_extensions() {
    assert_eq!(hello_of(&records(&message(&[]), 9999)).0, None);
    let mut old = message(&[]);
    old.truncate(old.len() - 2);
    let body = (old.len() - MESSAGE_HEADER) as u8;
    old[3] = body;
    assert_eq!(hello_of(&records(&old, 9999)), (None, vec![], old.len() + RECORD_HEADER));
}

#[test]
fn a_hello_that_is_not_complete_is_partial_in_records_of_every_size() {
    let message = message(&[sni(b"shop.example"), alpn(&["h2"])]);
    for size in message.len().div_ceil(MAX_RECORDS)..=message.len() {
        let bytes = records(&message, size);
        let (name, protocols, len) = hello_of(&bytes);
        assert_eq!(
            (name.as_deref(), &protocols[..], len),
            (Some("shop.example"), &["h2".to_owned()][..], bytes.len())
        );
        for end in 0..bytes.len() {
            assert_eq!(
                client_hello(&bytes[..end]),
                Parsed::Partial,
                "{end} bytes, records of {size}"
            );
        }
    }
    let many = records(&message, (message.len() - 1) / MAX_RECORDS);
    assert_eq!(client_hello(&many), Parsed::Unframed(Reason::HelloTooLong));
}

/// The number of bytes after which they are refused, and the reason.
#[rstest]
#[case::http(b"GET / HTTP/1.1\r\n".to_vec(), 1, Reason::NotTls)]
#[case::other_record(vec![23, 3, 3, 0, 1, 0], 1, Reason::NotTls)]
#[case::other_version(vec![HANDSHAKE, 2, 0], 2, Reason::NotTls)]
#[case::sslv2(vec![0x80, 46, 1, 3, 1], 1, Reason::NotTls)]
#[case::empty_record(vec![HANDSHAKE, 3, 1, 0, 0, 1], 5, Reason::Hello)]
#[case::long_record(vec![HANDSHAKE, 3, 1, 0x40, 1, 1], 5, Reason::NotTls)]
#[case::server_hello(vec![HANDSHAKE, 3, 3, 0, 50, 2], 6, Reason::Hello)]
#[case::long_message(vec![HANDSHAKE, 3, 1, 1, 0, 1, 0, 0x40, 0], 9, Reason::HelloTooLong)]
fn other_bytes_are_refused_at_the_first_byte_that_differs(
    #[case] bytes: Vec<u8>,
    #[case] enough: usize,
    #[case] reason: Reason,
) {
    for end in 0..=bytes.len() {
        let expected = if end < enough { Parsed::Partial } else { Parsed::Unframed(reason) };
        assert_eq!(client_hello(&bytes[..end]), expected, "{end} bytes");
    }
}

#[rstest]
#[case::name_twice(message(&[sni(b"a"), sni(b"a")]))]
#[case::protocols_twice(message(&[alpn(&["h2"]), alpn(&["h2"])]))]
#[case::empty_name(message(&[sni(b"")]))]
#[case::nul_in_name(message(&[sni(b"shop\0.evil")]))]
#[case::space_in_name(message(&[sni(b"a b")]))]
#[case::name_not_ascii(message(&[sni("sh\u{f6}p".as_bytes())]))]
#[case::long_name(message(&[sni(&[b'a'; MAX_NAME + 1])]))]
#[case::no_name(message(&[extension(SERVER_NAME, &[])]))]
#[case::empty_list(message(&[extension(SERVER_NAME, &[0, 0])]))]
#[case::name_of_another_type(message(&[extension(SERVER_NAME, &[0, 4, 1, 0, 1, b'a'])]))]
#[case::two_names(message(&[extension(SERVER_NAME, &[0, 8, 0, 0, 1, b'a', 0, 0, 1, b'b'])]))]
#[case::bytes_after_the_list(message(&[extension(SERVER_NAME, &[0, 4, 0, 0, 1, b'a', 0])]))]
#[case::no_protocol(message(&[extension(ALPN, &[0, 0])]))]
#[case::empty_protocol(message(&[extension(ALPN, &[0, 1, 0])]))]
#[case::cut_protocol(message(&[extension(ALPN, &[0, 2, 2, b'h'])]))]
#[case::cut_extension(message(&[vec![0, 0, 0]]))]
fn malformed_messages_are_refused(#[case] message: Vec<u8>) {
    assert_eq!(client_hello(&records(&message, usize::MAX)), Parsed::Unframed(Reason::Hello));
    assert_eq!(client_hello(&records(&message, 40)), Parsed::Unframed(Reason::Hello));
}

#[test]
fn bytes_after_the_hello_in_its_record_are_refused() {
    let mut bytes = message(&[sni(b"a")]);
    bytes.push(0);
    assert_eq!(client_hello(&records(&bytes, usize::MAX)), Parsed::Unframed(Reason::Hello));
}

#[test]
fn a_record_of_another_kind_in_the_middle_is_refused() {
    let mut bytes = records(&message(&[sni(b"a")]), 30);
    bytes[RECORD_HEADER + 30] = 21;
    assert_eq!(client_hello(&bytes), Parsed::Unframed(Reason::Hello));
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let good = message(&[sni(b"a")]);
    // Each byte that is a length, increased and decreased by one.
    for at in [3, 38, 42, 47, 50, 54, 56, 59] {
        for change in [1, u8::MAX] {
            let mut bytes = good.clone();
            bytes[at] = bytes[at].wrapping_add(change);
            let bytes = records(&bytes, usize::MAX);
            let parsed = client_hello(&bytes);
            assert!(!matches!(parsed, Parsed::Complete { .. }), "byte {at}: {parsed:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_name_is_found_in_any_records(
        name in "[a-zA-Z0-9._-]{1,255}",
        protocols in proptest::collection::vec("[!-~]{1,20}", 1..5),
        size in 30_usize..2000,
        padding in 0_usize..300,
    ) {
        let protocols = protocols.iter().map(String::as_str).collect::<Vec<_>>();
        let padding = extension(21, &vec![0; padding]);
        let bytes = records(&message(&[padding, alpn(&protocols), sni(name.as_bytes())]), size);
        let (found, offered, len) = hello_of(&bytes);
        prop_assert_eq!(found, Some(name));
        prop_assert_eq!(offered, protocols);
        prop_assert_eq!(len, bytes.len());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        at in 0_usize..400,
    ) {
        let _ = client_hello(&bytes);
        // The same with a hello of which only some bytes are replaced.
        let mut hello = records(&message(&[sni(b"shop"), alpn(&["h2"])]), 60);
        let at = at % hello.len();
        let end = hello.len().min(at + bytes.len() % 8);
        hello[at..end].copy_from_slice(&bytes[..end - at]);
        if let Parsed::Complete { len, .. } = client_hello(&hello) {
            prop_assert!(len <= hello.len());
        }
    }
}
