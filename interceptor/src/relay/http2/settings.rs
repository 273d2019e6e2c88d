//! The first frame of each side (RFC 9113, sections 3.4 and 6.5), and what of it is passed on to
//! the other.

use h2::{client, server};
use interceptor_wire::opening::HTTP2_PREFACE as PREFACE;

/// The head of a frame (RFC 9113, section 4.1), in bytes.
pub(super) const FRAME_HEAD: usize = 9;

/// Of a connection as far as it is free for all streams, in bytes: what each stream may have
/// underway comes on top when it is held up.
pub(super) const WINDOW: u32 = 1 << 20;
/// What is announced as the window of a stream at most, in bytes.
const MAX_STREAM_WINDOW: u32 = 4 << 20;
/// As many streams a caller may have open if the application sets no limit, or a higher one.
const MAX_STREAMS: u32 = 1024;
/// What a caller's header list may have at most if the application sets no limit, or a higher one,
/// in bytes as RFC 9113, section 6.5.2 counts them.
const MAX_HEADER_LIST: u32 = 1 << 20;
/// The same for responses of those who announced more, or nothing. The library's own limit.
const MAX_RESPONSE_HEADER_LIST: u32 = 16 << 20;
/// What header compression may remember at most, in bytes.
const MAX_HEADER_TABLE: u32 = 64 << 10;
/// Of a stream on its way out, between the library and the socket, in bytes.
const SEND_BUFFER: usize = 128 << 10;
/// The library gives a connection up when data frames of less than 256 bytes wait to be taken whose
/// missing bytes are more than this. It has to be enough for all messages of a stream that is held
/// up.
const SMALL_FRAMES: usize = 16 << 20;

/// What a side has announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    header_table_size: Option<u32>,
    enable_push: Option<bool>,
    max_concurrent_streams: Option<u32>,
    initial_window_size: Option<u32>,
    max_frame_size: Option<u32>,
    max_header_list_size: Option<u32>,
    enable_connect_protocol: bool,
}

/// What some bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstFrame {
    /// More is needed.
    Partial,
    /// SETTINGS; of so many bytes.
    Settings(Settings, usize),
    /// Nothing that HTTP/2 begins with.
    Other,
}

// === impl FirstFrame ===

impl FirstFrame {
    /// Reads the beginning of what a side says; a client's after the preface.
    pub(super) fn read(bytes: &[u8]) -> Self {
        const DEFAULT_MAX_FRAME_SIZE: usize = 1 << 14;
        const SETTINGS: [u8; 6] = [0x4, 0, 0, 0, 0, 0];
        // Length, type, flags, stream.
        let length = match bytes {
            [] | [0] | [0, _] => return Self::Partial,
            [0, high, low, ..] => usize::from(*high) << 8 | usize::from(*low),
            _ => return Self::Other,
        };
        let rest = &bytes[3..bytes.len().min(FRAME_HEAD)];
        if length > DEFAULT_MAX_FRAME_SIZE || length % 6 != 0 || rest != &SETTINGS[..rest.len()] {
            return Self::Other;
        }
        let Some(payload) = bytes.get(FRAME_HEAD..FRAME_HEAD + length) else {
            return Self::Partial;
        };
        match Settings::read(payload) {
            Some(settings) => Self::Settings(settings, FRAME_HEAD + length),
            None => Self::Other,
        }
    }
}

// === impl Settings ===

impl Settings {
    /// Nothing if a value is out of its range.
    fn read(payload: &[u8]) -> Option<Self> {
        let mut settings = Self::default();
        for entry in payload.chunks_exact(6) {
            let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            match u16::from_be_bytes([entry[0], entry[1]]) {
                0x1 => settings.header_table_size = Some(value),
                0x2 if value <= 1 => settings.enable_push = Some(value == 1),
                0x3 => settings.max_concurrent_streams = Some(value),
                0x4 if value < 1 << 31 => settings.initial_window_size = Some(value),
                0x5 if (1 << 14..1 << 24).contains(&value) => settings.max_frame_size = Some(value),
                0x6 => settings.max_header_list_size = Some(value),
                // RFC 8441, section 3.
                0x8 if value <= 1 => settings.enable_connect_protocol = value == 1,
                0x2 | 0x4 | 0x5 | 0x8 => return None,
                _ => {}
            }
        }
        Some(settings)
    }

    /// How large the window of a new stream is towards who announced this, in bytes.
    pub(super) fn stream_window(&self) -> u32 {
        self.initial_window_size.unwrap_or(65_535)
    }

    /// A client that promises what this caller has promised.
    pub(super) fn client(&self) -> client::Builder {
        let mut builder = client::Builder::new();
        builder
            .initial_window_size(self.stream_window())
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(
                self.max_header_list_size
                    .map_or(MAX_RESPONSE_HEADER_LIST, |size| size.min(MAX_RESPONSE_HEADER_LIST)),
            )
            .enable_push(self.enable_push.unwrap_or(true))
            // Pushed responses are refused, one by one.
            .max_concurrent_streams(0)
            .max_local_error_reset_streams(None)
            .max_send_buffer_size(SEND_BUFFER)
            .data_frame_budget(SMALL_FRAMES);
        if let Some(size) = self.header_table_size {
            builder.header_table_size(size);
        }
        if let Some(size) = self.max_frame_size {
            builder.max_frame_size(size);
        }
        builder
    }

    /// A server that promises what this application has promised, within our own limits.
    pub(super) fn server(&self) -> server::Builder {
        let mut builder = server::Builder::new();
        builder
            .initial_window_size(self.server_stream_window())
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(
                self.max_header_list_size.map_or(MAX_HEADER_LIST, |size| size.min(MAX_HEADER_LIST)),
            )
            // An application that allows none yet can't be known to allow some later: its streams
            // wait in line.
            .max_concurrent_streams(
                self.max_concurrent_streams
                    .filter(|&streams| streams > 0)
                    .map_or(MAX_STREAMS, |streams| streams.min(MAX_STREAMS)),
            )
            .max_send_buffer_size(SEND_BUFFER)
            .data_frame_budget(SMALL_FRAMES);
        if let Some(size) = self.header_table_size {
            builder.header_table_size(size.min(MAX_HEADER_TABLE));
        }
        if let Some(size) = self.max_frame_size {
            builder.max_frame_size(size);
        }
        if self.enable_connect_protocol {
            builder.enable_connect_protocol();
        }
        builder
    }

    /// What [`Self::server`] announces as the window of a stream, in bytes.
    pub(super) fn server_stream_window(&self) -> u32 {
        self.stream_window().min(MAX_STREAM_WINDOW)
    }

    /// How a client opens a connection on which it promises this (RFC 9113, section 3.4).
    pub(super) fn opening(&self) -> Vec<u8> {
        let entries = [
            (0x1, self.header_table_size),
            (0x2, self.enable_push.map(u32::from)),
            (0x4, self.initial_window_size),
            (0x5, self.max_frame_size),
            (0x6, self.max_header_list_size),
        ];
        let mut payload = Vec::new();
        for (id, value) in entries {
            if let Some(value) = value {
                payload.extend(u16::to_be_bytes(id));
                payload.extend(value.to_be_bytes());
            }
        }
        let mut opening = PREFACE.to_vec();
        opening.extend([0, 0, payload.len() as u8, 0x4, 0, 0, 0, 0, 0]);
        opening.extend(payload);
        opening
    }

    /// The same promises as far as they may be made to somebody who is not as trusted as the
    /// application.
    pub(super) fn guarded(&self) -> Self {
        Self {
            header_table_size: self.header_table_size.map(|size| size.min(MAX_HEADER_TABLE)),
            enable_push: Some(false),
            max_header_list_size: Some(MAX_HEADER_LIST),
            initial_window_size: Some(self.stream_window().min(MAX_STREAM_WINDOW)),
            max_frame_size: None,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn frame(entries: &[(u16, u32)]) -> Vec<u8> {
        let mut frame = vec![0, 0, (6 * entries.len()) as u8, 4, 0, 0, 0, 0, 0];
        for (id, value) in entries {
            frame.extend(id.to_be_bytes());
            frame.extend(value.to_be_bytes());
        }
        frame
    }

    #[test]
    fn settings_are_read_and_unknown_ones_are_ignored() {
        let mut bytes = frame(&[(3, 7), (4, 1 << 20), (0x9, 1), (0x1a2a, 5), (8, 1)]);
        let length = bytes.len();
        bytes.extend(b"and more");
        let expected = Settings {
            max_concurrent_streams: Some(7),
            initial_window_size: Some(1 << 20),
            enable_connect_protocol: true,
            ..Settings::default()
        };
        assert_eq!(FirstFrame::read(&bytes), FirstFrame::Settings(expected, length));
        for end in 0..length {
            assert_eq!(FirstFrame::read(&bytes[..end]), FirstFrame::Partial, "{end}");
        }
    }

    #[test]
    fn an_opening_says_what_is_promised() {
        let settings = Settings {
            header_table_size: Some(8192),
            enable_push: Some(false),
            initial_window_size: Some(70_000),
            max_header_list_size: Some(1 << 20),
            ..Settings::default()
        };
        let opening = settings.opening();
        let frame = opening.strip_prefix(PREFACE).expect("the preface");
        assert_eq!(FirstFrame::read(frame), FirstFrame::Settings(settings, frame.len()));
    }

    #[rstest]
    #[case(b"HTTP/1.1 400 Bad Request\r\n\r\n")]
    #[case(b"H")]
    #[case(&[0, 0, 5, 4])] // not whole entries
    #[case(&[0, 0, 0, 4, 1])] // an acknowledgement
    #[case(&[0, 0, 0, 4, 0, 0, 0, 0, 1])] // of a stream
    #[case(&[0, 0, 8, 6])] // PING
    #[case(&[1, 0, 0])] // too long
    #[case(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x80, 0, 0, 0])] // a window of 2^31
    #[case(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0x3f, 0xff])] // frames of less than 2^14
    fn what_is_no_first_frame(#[case] bytes: &[u8]) {
        assert_eq!(FirstFrame::read(bytes), FirstFrame::Other);
    }

    proptest! {
        #[test]
        fn whatever_is_announced_makes_a_client_and_a_server(
            entries in prop::collection::vec((0_u16..10, any::<u32>()), 0..10),
        ) {
            if let FirstFrame::Settings(settings, _) = FirstFrame::read(&frame(&entries)) {
                let _ = (settings.client(), settings.server(), settings.guarded().client());
            }
        }
    }
}
