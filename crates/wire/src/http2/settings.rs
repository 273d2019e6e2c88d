//! SETTINGS, and when they take effect: RFC 9113 sections 6.5 and 6.5.3.
//!
//! [`Negotiated`] follows the settings of one side: its SETTINGS frames in one direction of the
//! connection, and their acknowledgements in the other.

use std::collections::VecDeque;

use super::error_code::ErrorCode;
use super::window::MAX_WINDOW;

/// The size of the header table in bytes before any SETTINGS.
pub const DEFAULT_TABLE_SIZE: u32 = 4096;

/// Maximum number of SETTINGS frames that await their acknowledgement. Peers send one or two.
pub const MAX_UNACKNOWLEDGED: usize = 32;

/// The values that the relay has to know. Other settings pass it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `HEADER_TABLE_SIZE`: maximum size in bytes of the table for the header blocks that the side
    /// receives.
    pub header_table_size: u32,
    /// `ENABLE_PUSH`.
    pub enable_push: bool,
    /// `MAX_CONCURRENT_STREAMS`: maximum number of open streams that the other side opened.
    pub max_concurrent_streams: Option<u32>,
    /// `INITIAL_WINDOW_SIZE`: the window in bytes of each stream for what the side receives.
    pub initial_window_size: u32,
    /// `MAX_FRAME_SIZE`: maximum length of a frame's payload that the side receives.
    pub max_frame_size: FrameSize,
    /// `MAX_HEADER_LIST_SIZE`: maximum size in bytes of a head that the side accepts. Advice only.
    pub max_header_list_size: Option<u32>,
    /// `ENABLE_CONNECT_PROTOCOL`, RFC 8441: a server accepts extended CONNECT.
    pub enable_connect_protocol: bool,
}

/// A length of payloads that a `MAX_FRAME_SIZE` may announce: 16,384 to 16,777,215 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameSize(u32);

/// One setting as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Which setting.
    pub id: SettingId,
    /// Its value.
    pub value: u32,
}

/// The identifier of a setting. Those without a name pass the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SettingId(pub u16);

/// The content of a SETTINGS frame without ACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingsFrame<'a> {
    /// A whole number of settings.
    bytes: &'a [u8],
}

/// What is wrong with SETTINGS. Each ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A value that the setting does not allow.
    #[error("setting {:#x} has the value {}", .0.id.0, .0.value)]
    Value(Setting),
    /// An acknowledgement without SETTINGS.
    #[error("SETTINGS were acknowledged that were not sent")]
    Unasked,
    /// More than [`MAX_UNACKNOWLEDGED`] frames await their acknowledgement.
    #[error("more than {MAX_UNACKNOWLEDGED} SETTINGS frames are not acknowledged")]
    TooMany,
}

/// The settings of one side: those in force and those that await their acknowledgement.
#[derive(Debug, Clone, Default)]
pub struct Negotiated {
    in_force: Settings,
    announced: VecDeque<Announced>,
}

/// One SETTINGS frame.
#[derive(Debug, Clone, Copy)]
struct Announced {
    settings: Settings,
    smallest_table_size: Option<u32>,
}

/// What an acknowledgement changed. The other side's frames behind it follow the new values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The values in front of the acknowledgement.
    pub before: Settings,
    /// The values behind it.
    pub after: Settings,
    /// The smallest `HEADER_TABLE_SIZE` in the frame, which may have several. The last one is in
    /// `after`. An encoder must signal both, RFC 7541 section 4.2.
    pub smallest_table_size: Option<u32>,
}

// === impl Settings ===

impl Default for Settings {
    /// The values before any SETTINGS.
    fn default() -> Self {
        Self {
            header_table_size: DEFAULT_TABLE_SIZE,
            enable_push: true,
            max_concurrent_streams: None,
            initial_window_size: 65_535,
            max_frame_size: FrameSize::MIN,
            max_header_list_size: None,
            enable_connect_protocol: false,
        }
    }
}

impl Settings {
    /// Takes a setting over. One without a name changes nothing.
    ///
    /// # Errors
    ///
    /// The setting does not allow its value. The values stay as they are.
    pub fn apply(&mut self, setting: Setting) -> Result<(), SettingsError> {
        let Setting { id, value } = setting;
        let invalid = SettingsError::Value(setting);
        let flag = || match value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(invalid),
        };
        match id {
            SettingId::HEADER_TABLE_SIZE => self.header_table_size = value,
            SettingId::ENABLE_PUSH => self.enable_push = flag()?,
            SettingId::MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = Some(value),
            SettingId::INITIAL_WINDOW_SIZE if value > MAX_WINDOW => return Err(invalid),
            SettingId::INITIAL_WINDOW_SIZE => self.initial_window_size = value,
            SettingId::MAX_FRAME_SIZE => {
                self.max_frame_size = FrameSize::new(value).ok_or(invalid)?;
            }
            SettingId::MAX_HEADER_LIST_SIZE => self.max_header_list_size = Some(value),
            SettingId::ENABLE_CONNECT_PROTOCOL => self.enable_connect_protocol = flag()?,
            _ => {}
        }
        Ok(())
    }
}

// === impl FrameSize ===

impl FrameSize {
    /// The value before any SETTINGS, and the smallest one.
    pub const MIN: Self = Self(1 << 14);
    /// The largest value.
    pub const MAX: Self = Self((1 << 24) - 1);

    /// A size of this many bytes, if a setting may announce it.
    pub fn new(bytes: u32) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&bytes).then_some(Self(bytes))
    }

    /// The size in bytes.
    pub fn bytes(self) -> u32 {
        self.0
    }
}

// === impl SettingId ===

impl SettingId {
    /// `SETTINGS_HEADER_TABLE_SIZE`.
    pub const HEADER_TABLE_SIZE: Self = Self(0x1);
    /// `SETTINGS_ENABLE_PUSH`.
    pub const ENABLE_PUSH: Self = Self(0x2);
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`.
    pub const MAX_CONCURRENT_STREAMS: Self = Self(0x3);
    /// `SETTINGS_INITIAL_WINDOW_SIZE`.
    pub const INITIAL_WINDOW_SIZE: Self = Self(0x4);
    /// `SETTINGS_MAX_FRAME_SIZE`.
    pub const MAX_FRAME_SIZE: Self = Self(0x5);
    /// `SETTINGS_MAX_HEADER_LIST_SIZE`.
    pub const MAX_HEADER_LIST_SIZE: Self = Self(0x6);
    /// `SETTINGS_ENABLE_CONNECT_PROTOCOL`, RFC 8441.
    pub const ENABLE_CONNECT_PROTOCOL: Self = Self(0x8);
}

// === impl Setting ===

impl Setting {
    /// Length of a setting in bytes.
    pub const LENGTH: usize = 6;

    /// The bytes of the setting.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let ([i0, i1], [v0, v1, v2, v3]) = (self.id.0.to_be_bytes(), self.value.to_be_bytes());
        [i0, i1, v0, v1, v2, v3]
    }
}

// === impl SettingsFrame ===

impl<'a> SettingsFrame<'a> {
    /// Reads a payload, whose length must be that of a whole number of settings. An HTTP/1 request
    /// that offers h2c has the same bytes in `HTTP2-Settings`, RFC 7540 section 3.2.1.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        bytes.len().is_multiple_of(Setting::LENGTH).then_some(Self { bytes })
    }

    /// The settings in order. A later one of the same identifier overrides an earlier one.
    pub fn iter(&self) -> impl Iterator<Item = Setting> + use<'a> {
        self.bytes.as_chunks().0.iter().map(|[i0, i1, v0, v1, v2, v3]| Setting {
            id: SettingId(u16::from_be_bytes([*i0, *i1])),
            value: u32::from_be_bytes([*v0, *v1, *v2, *v3]),
        })
    }
}

// === impl SettingsError ===

impl SettingsError {
    /// The code by which a recipient ends the connection.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Value(Setting { id: SettingId::INITIAL_WINDOW_SIZE, .. }) => {
                ErrorCode::FLOW_CONTROL_ERROR
            }
            Self::Value(_) | Self::Unasked => ErrorCode::PROTOCOL_ERROR,
            Self::TooMany => ErrorCode::ENHANCE_YOUR_CALM,
        }
    }
}

// === impl Negotiated ===

impl Negotiated {
    /// The settings that the other side has acknowledged. Its frames follow them.
    pub fn in_force(&self) -> &Settings {
        &self.in_force
    }

    /// The settings that the side sent last, acknowledged or not.
    pub fn announced(&self) -> &Settings {
        self.announced.back().map_or(&self.in_force, |last| &last.settings)
    }

    /// How many SETTINGS frames await their acknowledgement.
    pub fn unacknowledged(&self) -> usize {
        self.announced.len()
    }

    /// The side sends SETTINGS without ACK.
    ///
    /// # Errors
    ///
    /// A value is not allowed, or too many frames await their acknowledgement. Nothing changes.
    pub fn sent(&mut self, frame: SettingsFrame<'_>) -> Result<(), SettingsError> {
        if self.announced.len() >= MAX_UNACKNOWLEDGED {
            return Err(SettingsError::TooMany);
        }
        let mut announced = Announced { settings: *self.announced(), smallest_table_size: None };
        for setting in frame.iter() {
            announced.settings.apply(setting)?;
            if setting.id == SettingId::HEADER_TABLE_SIZE {
                let smallest = announced.smallest_table_size.unwrap_or(setting.value);
                announced.smallest_table_size = Some(smallest.min(setting.value));
            }
        }
        self.announced.push_back(announced);
        Ok(())
    }

    /// The other side sends SETTINGS with ACK: the oldest frame takes effect.
    ///
    /// # Errors
    ///
    /// No frame awaits its acknowledgement.
    pub fn acknowledged(&mut self) -> Result<Change, SettingsError> {
        let Announced { settings, smallest_table_size } =
            self.announced.pop_front().ok_or(SettingsError::Unasked)?;
        let before = std::mem::replace(&mut self.in_force, settings);
        if self.announced.is_empty() {
            // Settings are rare: an idle connection keeps no memory for them.
            self.announced = VecDeque::new();
        }
        Ok(Change { before, after: settings, smallest_table_size })
    }
}

#[cfg(test)]
mod tests;
