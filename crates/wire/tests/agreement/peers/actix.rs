//! The decoder of actix-http, which reads heads with `httparse` and the rest with its own code.

use actix_http::body::BodySize;
use actix_http::h1::{ClientCodec, Codec, Message, MessageType};
use actix_http::{Method, RequestHead, RequestHeadType};
use bytes::BytesMut;
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::{Saw, line};

pub(super) fn saw(bytes: &[u8]) -> Saw {
    on_a_runtime(|| decode(bytes))
}

pub(super) fn got(method: &str, bytes: &[u8]) -> Option<String> {
    on_a_runtime(|| decode_response(method, bytes))
}

/// Decodes inside a runtime. The decoder does not wait, but its settings spawn a clock.
fn on_a_runtime<T>(decode: impl FnOnce() -> T) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async { decode() })
}

fn decode(bytes: &[u8]) -> Saw {
    let mut codec = Codec::default();
    let mut rest = BytesMut::from(bytes);
    let mut requests = Vec::new();
    let (mut head, mut content) = (String::new(), Vec::new());
    let refused = loop {
        match codec.decode(&mut rest) {
            Ok(Some(Message::Item(request))) => {
                head = format!("{} {}", request.method(), request.uri());
                content.clear();
                if matches!(codec.message_type(), MessageType::None) {
                    requests.push(line(&head, &content));
                }
            }
            Ok(Some(Message::Chunk(Some(data)))) => content.extend_from_slice(&data),
            Ok(Some(Message::Chunk(None))) => requests.push(line(&head, &content)),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    Saw { requests, refused }
}

fn decode_response(method: &str, bytes: &[u8]) -> Option<String> {
    let mut codec = ClientCodec::default();
    let mut request = RequestHead::default();
    request.method = Method::from_bytes(method.as_bytes()).expect("a method");
    let request = Message::Item((RequestHeadType::Owned(request), BodySize::None));
    codec.encode(request, &mut BytesMut::new()).expect("is encoded");

    let mut rest = BytesMut::from(bytes);
    let head = codec.decode(&mut rest).ok()??;
    // The decoder returns interim responses like final ones.
    if head.status.is_informational() {
        return None;
    }
    let until_close = matches!(codec.message_type(), MessageType::Stream);
    let mut content = Vec::new();
    if !matches!(codec.message_type(), MessageType::None) {
        let mut payload = codec.into_payload_codec();
        loop {
            match payload.decode(&mut rest).ok()? {
                Some(Some(data)) => content.extend_from_slice(&data),
                Some(None) => break,
                None if until_close => break,
                None => return None,
            }
        }
    }
    Some(line(head.status.as_str(), &content))
}
