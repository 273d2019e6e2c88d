//! The connection to the app or to a target that serves a client, with what is held as long as it
//! is open.

use super::{
    liveness::Watch, loop_guard::Registration, netns_stream::NetnsStream, suspicion::Unanswered,
};
use crate::datapath::{caller::ShownCaller, steal::bypass::BypassEntry};

/// An open connection to the app or to a target.
///
/// Fields are dropped in this order.
#[derive(Debug)]
pub struct Upstream {
    /// Lets the app see the client's address. Withdrawn before the socket is closed: after that the
    /// kernel may give its source port to another connection.
    #[expect(dead_code, reason = "held while the connection is open")]
    pub(super) shown: Option<ShownCaller>,
    /// The connection.
    pub stream: NetnsStream,
    /// Lets the connection pass our own kernel program, if its destination is inside the namespace.
    #[expect(dead_code, reason = "held while the connection is open")]
    pub(super) bypass: Option<BypassEntry>,
    /// What the connection was made for, so that a loop is found when it comes back to us.
    #[expect(dead_code, reason = "held while the connection is open")]
    pub(super) registration: Option<Registration>,
    /// Counts the connection until its target has answered, if it is one for a client.
    pub(super) unanswered: Option<Unanswered>,
    /// Has the worker look whether both sides are still there, if it is one for a client.
    pub(super) watch: Option<Watch>,
}
