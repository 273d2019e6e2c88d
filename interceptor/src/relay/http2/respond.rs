//! Sends the response of a diverted stream to the client.

use interceptor_wire::http2::{
    BlockHead, ErrorCode, Opening, StreamId, encode, hpack::size_update,
};

use super::{
    down::Down as ToClient,
    limits::MAX_WAITING,
    server::Server,
    stream::{Diverted, Down},
};

/// Sends what waits of a response. Streams that a reset ends are appended to `over`.
pub(super) fn respond(
    id: StreamId,
    stream: &mut Diverted,
    mut server: Option<&mut Server<'_>>,
    down: &mut ToClient,
    over: &mut Vec<StreamId>,
) -> bool {
    let mut moved = false;
    let size = down.client.in_force().max_frame_size;
    while down.is_at_boundary() && down.out.size() < MAX_WAITING {
        // What was inserted before, such as a window, keeps its place.
        down.release();
        let mut frames = Vec::new();
        if let Some(Down::Data { bytes, .. }) = stream.down.front()
            && !stream.is_worth_sending_down(bytes.len())
        {
            break;
        }
        match stream.down.front_mut() {
            None => break,
            Some(Down::Block { block, end }) => {
                let opening = Opening::Headers { end_stream: *end, priority: None };
                let head = BlockHead { stream: id, opening };
                let mut whole = Vec::new();
                if let Some(table) = down.table_size {
                    size_update(&mut whole, table);
                }
                whole.append(block);
                encode::block(&mut frames, &head, &whole, size);
                stream.down.pop_front();
            }
            Some(Down::Data { bytes, end }) => {
                let room = down.room_for_targets().min(stream.client_window.available());
                let n = bytes.len().min(room.min(size.bytes()) as usize);
                if n == 0 && !bytes.is_empty() {
                    if let Some(Down::Reset(code)) = stream.down.back()
                        && *code != ErrorCode::NO_ERROR
                    {
                        // The client has no room for what was sent before the reset.
                        let reset = Down::Reset(*code);
                        let waiting = stream.waiting_down() as u32;
                        stream.down = [reset].into();
                        if let Some(server) = &mut server {
                            server.content_taken(waiting);
                        }
                        continue;
                    }
                    break;
                }
                let content: Vec<u8> = bytes.drain(..n).collect();
                let is_last = bytes.is_empty();
                encode::data(&mut frames, id, &content, *end && is_last, size);
                down.use_for_target(n as u32);
                // Fits: that is how much there is room for.
                let _ = stream.client_window.consume(n as u32);
                if let Some(server) = &mut server {
                    server.content_taken(n as u32);
                }
                if is_last {
                    stream.down.pop_front();
                }
                down.out.push(&frames);
                // Other streams have their turn.
                return true;
            }
            Some(Down::Reset(code)) => {
                encode::rst_stream(&mut frames, id, *code);
                stream.down.clear();
                over.push(id);
            }
        }
        down.out.push(&frames);
        moved = true;
    }
    moved
}
