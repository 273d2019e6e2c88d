//! The end of the daemon: the connection is closed between two requests.

use interceptor_api::Remaining;

use super::{
    exchange::Exchange,
    state::{Action, Event},
};
use crate::relay::farewell::Phase;

// === impl Exchange ===

impl Exchange<'_> {
    /// Lets the connection end if the daemon's end is in this `phase` or later, and no request is
    /// under way.
    pub(super) fn take_leave(&mut self, phase: Phase) {
        let now = self.stolen.record.phase();
        if now == Phase::Serving {
            return;
        }
        if now >= phase && self.state.is_idle() && self.is_client_quiet() {
            let action = self.state.on(Event::Farewell);
            debug_assert_eq!(action, Action::Continue);
        } else {
            self.stolen.record.remains(Remaining::Request);
        }
    }

    /// Whether the client has sent no byte of a further request. One that crosses our FIN gets no
    /// response: clients repeat it.
    fn is_client_quiet(&self) -> bool {
        !self.requests.has_buffered() && !self.requests.ended && self.stolen.client.is_idle()
    }
}
