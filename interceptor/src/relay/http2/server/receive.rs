//! What a server of diverted streams sends: responses, and what concerns its connection.

use interceptor_wire::http2::{
    ErrorCode, Event, Flags, Frame, FrameHeader, Kind, Part, Payload, Scope, Setting, SettingId,
    StreamId, encode, hpack::encode_stateless,
};

use super::state::{Block, Broken, Link, Server, WINDOW};
use crate::relay::{
    direction::Direction,
    http2::{limits::MAX_FIELDS, stream::Down, streams::Streams},
    observe::Observer as _,
};

impl Server<'_> {
    /// Follows the server's frames. Returns how many bytes are covered.
    pub(super) fn on_bytes(
        &mut self,
        bytes: &[u8],
        streams: &mut Streams,
    ) -> Result<usize, Broken> {
        let mut at = 0;
        loop {
            let event = self.framer.next(&bytes[at..]);
            let start = at;
            at += event.covers();
            match event {
                Event::NeedMore => return Ok(at),
                Event::Preface => {}
                Event::Frame(frame) => self.on_frame(&frame, streams)?,
                Event::Start(header) if header.kind == Kind::Data => {
                    self.on_data(&header, streams)?;
                }
                Event::Start(header) if header.is_in_block() => {
                    return Err(Broken(ErrorCode::ENHANCE_YOUR_CALM));
                }
                Event::Start(_) => self.content_of = None,
                Event::Piece(part, _) => self.on_piece(part, &bytes[start..at], streams)?,
                Event::End(header) => self.on_data_end(&header, streams),
                Event::Broken(error) => return Err(Broken(error.code())),
                Event::Beyond(_) => return Err(Broken(ErrorCode::PROTOCOL_ERROR)),
            }
        }
    }

    /// A DATA frame begins.
    fn on_data(&mut self, header: &FrameHeader, streams: &mut Streams) -> Result<(), Broken> {
        let stream = self.streams.get(&header.stream).and_then(|id| streams.get_mut(*id));
        let Some(stream) = stream.filter(|stream| !stream.is_reset) else {
            // What nobody wants uses up the connection's window, too.
            self.content_of = None;
            self.content_taken(header.length);
            return Ok(());
        };
        if stream.server_ended {
            return Err(Broken(ErrorCode::STREAM_CLOSED));
        }
        if stream.granted.consume(header.length).is_err() {
            self.content_of = None;
            self.content_taken(header.length);
            self.write(|out| encode::rst_stream(out, header.stream, ErrorCode::FLOW_CONTROL_ERROR));
            self.lose(header.stream, ErrorCode::FLOW_CONTROL_ERROR, streams);
            return Ok(());
        }
        stream.arriving_down = true;
        self.content_of = Some(header.stream);
        Ok(())
    }

    fn on_piece(&mut self, part: Part, bytes: &[u8], streams: &mut Streams) -> Result<(), Broken> {
        let Some(theirs) = self.content_of else { return Ok(()) };
        let stream = self.streams.get(&theirs).and_then(|id| streams.get_mut(*id));
        let Some(stream) = stream.filter(|stream| !stream.is_reset) else {
            // It was reset while the frame arrived.
            self.content_taken(bytes.len() as u32);
            return Ok(());
        };
        if part == Part::Content {
            stream.push_down(bytes, false);
            self.observer().bytes(Direction::Down, bytes);
            self.waiting += bytes.len() as u32;
            if self.waiting > WINDOW {
                return Err(Broken(ErrorCode::FLOW_CONTROL_ERROR));
            }
        } else {
            // The client does not see padding, so nobody else gives it back.
            let padding = bytes.len() as u32;
            self.credit(stream, padding);
            self.content_taken(padding);
        }
        Ok(())
    }

    fn on_data_end(&mut self, header: &FrameHeader, streams: &mut Streams) {
        let Some(theirs) = self.content_of.take() else { return };
        let ends = header.flags.contains(Flags::END_STREAM);
        if let Some(stream) = self.streams.get(&theirs).and_then(|id| streams.get_mut(*id)) {
            stream.arriving_down = false;
            if ends {
                stream.push_down(&[], true);
            }
        }
    }

    fn on_frame(&mut self, frame: &Frame<'_>, streams: &mut Streams) -> Result<(), Broken> {
        let id = frame.header.stream;
        let payload = match frame.payload() {
            Ok(payload) => payload,
            Err(error) => match error.scope() {
                Scope::Connection => return Err(Broken(error.code())),
                Scope::Stream(_) => {
                    self.lose(id, error.code(), streams);
                    return Ok(());
                }
            },
        };
        match payload {
            Payload::Settings(settings) => {
                for setting in settings.iter() {
                    self.apply(setting, streams)?;
                }
                self.write(encode::settings_ack);
                self.link = match std::mem::replace(&mut self.link, Link::Closed) {
                    Link::Greeting(upstream, _) => Link::Open(upstream),
                    link => link,
                };
            }
            Payload::SettingsAck => {
                let before = self.granted.largest();
                if !self.granted.acknowledge() {
                    return Err(Broken(ErrorCode::PROTOCOL_ERROR));
                }
                self.regrant(before, streams);
            }
            Payload::Ping(opaque) => self.write(|out| encode::ping_ack(out, opaque)),
            Payload::ConnectionWindow(more) => {
                self.window.add(more).map_err(|_| Broken(ErrorCode::FLOW_CONTROL_ERROR))?;
            }
            Payload::StreamWindow(more) => {
                let stream = self.streams.get(&id).and_then(|id| streams.get_mut(*id));
                if stream.is_some_and(|stream| stream.server_window.add(more).is_err()) {
                    self.write(|out| encode::rst_stream(out, id, ErrorCode::FLOW_CONTROL_ERROR));
                    self.lose(id, ErrorCode::FLOW_CONTROL_ERROR, streams);
                }
            }
            Payload::RstStream(code) => self.lose(id, code, streams),
            Payload::GoAway { last, .. } => {
                self.is_leaving = true;
                let lost: Vec<StreamId> =
                    self.streams.keys().copied().filter(|&theirs| theirs > last).collect();
                for theirs in lost {
                    // The server says that it has not processed them.
                    self.lose(theirs, ErrorCode::REFUSED_STREAM, streams);
                }
            }
            Payload::Headers { fragment, .. } => {
                let stream = self.streams.get(&id).copied().filter(|id| streams.contains(*id));
                let end = frame.header.flags.contains(Flags::END_STREAM);
                self.block = Some(Block { stream, end, encoded: Vec::new() });
                self.on_fragment(fragment, &frame.header, streams)?;
            }
            Payload::Continuation(fragment) => {
                self.on_fragment(fragment, &frame.header, streams)?;
            }
            // Push is switched off.
            Payload::PushPromise { .. } => return Err(Broken(ErrorCode::PROTOCOL_ERROR)),
            Payload::Data(_)
            | Payload::Priority(_)
            | Payload::PingAck(_)
            | Payload::PriorityUpdate(..)
            | Payload::Other(_) => {}
        }
        Ok(())
    }

    fn apply(&mut self, setting: Setting, streams: &mut Streams) -> Result<(), Broken> {
        let before = self.settings.initial_window_size;
        self.settings.apply(setting).map_err(|error| Broken(error.code()))?;
        match setting.id {
            SettingId::HEADER_TABLE_SIZE => self.encoder.set_limit(setting.value),
            SettingId::INITIAL_WINDOW_SIZE => {
                for id in self.streams.values() {
                    let Some(stream) = streams.get_mut(*id) else { continue };
                    let changed = stream.server_window.change_initial(before, setting.value);
                    changed.map_err(|_| Broken(ErrorCode::FLOW_CONTROL_ERROR))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A part of a header block, encoded for the client as it comes.
    fn on_fragment(
        &mut self,
        mut fragment: &[u8],
        header: &FrameHeader,
        streams: &mut Streams,
    ) -> Result<(), Broken> {
        let Some(block) = &mut self.block else { return Ok(()) };
        let wrong = |_| Broken(ErrorCode::COMPRESSION_ERROR);
        while let Some(field) = self.decoder.next(&mut fragment).map_err(wrong)? {
            if block.stream.is_some() {
                encode_stateless(&mut block.encoded, field);
            }
            if block.encoded.len() > MAX_FIELDS {
                return Err(Broken(ErrorCode::ENHANCE_YOUR_CALM));
            }
        }
        if !header.ends_block() {
            return Ok(());
        }
        self.decoder.finish().map_err(wrong)?;
        let Some(Block { stream: Some(id), end, encoded }) = self.block.take() else {
            return Ok(());
        };
        if let Some(stream) = streams.get_mut(id).filter(|stream| !stream.is_reset) {
            if stream.server_ended {
                return Err(Broken(ErrorCode::STREAM_CLOSED));
            }
            self.observer().head(Direction::Down, &mut stream.clock);
            self.observer().bytes(Direction::Down, &[]);
            stream.server_ended |= end;
            stream.down.push_back(Down::Block { block: encoded, end });
        }
        Ok(())
    }

    /// The server has ended a stream by an error.
    fn lose(&mut self, theirs: StreamId, code: ErrorCode, streams: &mut Streams) {
        if let Some(stream) = self.streams.remove(&theirs).and_then(|id| streams.get_mut(id)) {
            stream.reset(code);
        }
    }
}
