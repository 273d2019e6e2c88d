//! The decoder of actix-http: heads by `httparse`, everything else of its own.

use actix_http::h1::{Codec, Message, MessageType};
use bytes::BytesMut;
use tokio_util::codec::Decoder as _;

use super::{Saw, line};

/// It decodes without waiting, but its settings start a clock, which needs a place to run.
pub(super) fn saw(bytes: &[u8]) -> Saw {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async { decode(bytes) })
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
