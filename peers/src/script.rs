//! What one side of a raw connection does, step by step: the language of the oddities' `client`
//! and `app`.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// Maximum wait of a step for the other side. The daemon may hold bytes back for a second while it
/// does not know what they are; a machine that is busy needs more.
pub const MAXIMUM_WAIT: Duration = Duration::from_millis(2500);

/// A step as written in an oddity: a table with one key.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Written {
    /// Sends the bytes of a text.
    Send(String),
    /// Sends bytes in hexadecimal. Whitespace between them does not count.
    Hex(String),
    /// Sends the bytes of a file beside the oddity.
    File(String),
    /// Sends a text many times, in one write.
    Repeat {
        /// The text.
        text: String,
        /// How often.
        times: usize,
    },
    /// Waits until the other side has sent this text, behind what earlier waits have found.
    Until(String),
    /// Waits until the other side has sent these bytes, in hexadecimal.
    UntilHex(String),
    /// Waits until the other side has sent this number of bytes in all.
    UntilBytes(usize),
    /// Waits until the other side has ended the connection, or its half of it.
    UntilEnd(bool),
    /// Waits until a server of HTTP/2 has sent a head, a reset or GOAWAY.
    UntilAnswer(bool),
    /// Lets time pass, in milliseconds.
    PauseMs(u64),
    /// Ends the connection.
    End(End),
}

/// How a side ends a connection.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Sends a FIN and goes on receiving.
    Finish,
    /// Sends a RST.
    Reset,
    /// Closes the socket.
    Close,
}

/// A step that is ready to be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends these bytes in one write.
    Send(Vec<u8>),
    /// Waits for these bytes.
    Until(Vec<u8>),
    /// Waits for this number of bytes in all.
    UntilBytes(usize),
    /// Waits for the end of the other side's half.
    UntilEnd,
    /// Waits for an answer by HTTP/2.
    UntilAnswer,
    /// Lets time pass.
    Pause(Duration),
    /// Ends the connection.
    End(End),
}

// === impl Step ===

impl Step {
    /// Reads a step. Files are relative to `folder`.
    ///
    /// # Errors
    /// Digits that are not hexadecimal, a file that can't be read, or a step that does nothing.
    pub fn read(written: &Written, folder: &Path) -> Result<Self> {
        Ok(match written {
            Written::Send(text) => Self::Send(text.as_bytes().to_vec()),
            Written::Hex(text) => Self::Send(hex(text)?),
            Written::File(name) => {
                let path = folder.join(name);
                Self::Send(fs::read(&path).with_context(|| format!("read {}", path.display()))?)
            }
            Written::Repeat { text, times } => Self::Send(text.repeat(*times).into_bytes()),
            Written::Until(text) => Self::Until(text.as_bytes().to_vec()),
            Written::UntilHex(text) => Self::Until(hex(text)?),
            Written::UntilBytes(number) => Self::UntilBytes(*number),
            Written::UntilEnd(true) => Self::UntilEnd,
            Written::UntilAnswer(true) => Self::UntilAnswer,
            Written::UntilEnd(false) | Written::UntilAnswer(false) => {
                bail!("a wait with `false` does nothing: remove it")
            }
            Written::PauseMs(time) => Self::Pause(Duration::from_millis(*time)),
            Written::End(end) => Self::End(*end),
        })
    }

    /// The time that this step takes at least.
    pub fn pause(&self) -> Duration {
        if let Self::Pause(time) = self { *time } else { Duration::ZERO }
    }
}

fn hex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    ensure!(digits.len().is_multiple_of(2), "an odd number of hexadecimal digits in {text:?}");
    let bytes = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).context("not ASCII")?;
        u8::from_str_radix(pair, 16).with_context(|| format!("{pair:?} is not hexadecimal"))
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_bytes_may_be_spaced() {
        assert_eq!(hex("16 03\n01ff").expect("bytes"), [0x16, 3, 1, 0xff]);
        for bad in ["1", "zz"] {
            hex(bad).expect_err(bad);
        }
    }
}
