//! The codes by which RST_STREAM and GOAWAY say why.

use std::fmt;

/// The reason for RST_STREAM or GOAWAY, RFC 9113 section 7. Codes without a name are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

// === impl ErrorCode ===

/// Declares the codes and their names together.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// The name of the code, if it has one.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// No error: a connection or stream that is no longer needed.
    NO_ERROR = 0x0,
    /// An error without a more specific code.
    PROTOCOL_ERROR = 0x1,
    /// The sender of the code failed.
    INTERNAL_ERROR = 0x2,
    /// More bytes than a window allows, or a window beyond its maximum.
    FLOW_CONTROL_ERROR = 0x3,
    /// SETTINGS were not acknowledged in time.
    SETTINGS_TIMEOUT = 0x4,
    /// A frame on a stream that its sender had closed.
    STREAM_CLOSED = 0x5,
    /// A frame of a wrong length.
    FRAME_SIZE_ERROR = 0x6,
    /// The stream was not processed at all, and may be repeated.
    REFUSED_STREAM = 0x7,
    /// The stream is no longer needed.
    CANCEL = 0x8,
    /// A header block that can't be decoded.
    COMPRESSION_ERROR = 0x9,
    /// The connection behind CONNECT failed.
    CONNECT_ERROR = 0xa,
    /// The peer causes too much work.
    ENHANCE_YOUR_CALM = 0xb,
    /// The connection is not secure enough.
    INADEQUATE_SECURITY = 0xc,
    /// The sender of the code wants HTTP/1.1.
    HTTP_1_1_REQUIRED = 0xd,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorCode({self})")
    }
}
