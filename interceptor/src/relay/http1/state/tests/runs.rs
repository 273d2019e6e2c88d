//! Random runs of the state machine, with a model of the connections around it.
//!
//! - No response has two owners: all requests without a response went to the current upstream, and
//!   another one becomes current only when there are none.
//! - No byte of a response passes without a request: bytes are passed only while a response is due,
//!   and bytes that are not due never lead on to another response.
//! - There is always an end: from each state, a client and upstreams that close lead to one.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// Maximum number of events that lead from any state to the end.
const LONGEST_END: usize = 12;

/// The connections around a state.
#[derive(Debug)]
struct World {
    state: State,
    /// The requests without a response: where each went, and what follows it.
    sent: VecDeque<(Current, After)>,
    /// What follows the request whose body is being sent.
    after: After,
    is_app_open: bool,
    /// Whether a target is open: the current one, or one that is watched.
    is_target_open: bool,
    /// A response passes that only the end of the connection ends.
    is_until_close: bool,
    /// Whether a target gave the last response, so that the end of the app's connection is hidden.
    is_app_hidden: bool,
    is_client_ended: bool,
    /// The target of the next request was just opened.
    is_target_fresh: bool,
    /// The app has the beginning of what the client sends next.
    is_given: bool,
    /// Whether the daemon may end. It would end most runs early.
    may_end: bool,
    end: Option<HandOff>,
}

impl World {
    fn new(is_app_open: bool, may_end: bool) -> Self {
        Self {
            state: State::new(is_app_open),
            sent: VecDeque::new(),
            after: After::Keep,
            is_app_open,
            is_target_open: false,
            is_until_close: false,
            is_app_hidden: false,
            is_client_ended: false,
            is_target_fresh: false,
            is_given: false,
            may_end,
            end: None,
        }
    }

    fn is_ended(&self) -> bool {
        self.end.is_some() || self.state.is_over()
    }

    /// All events that may come next.
    fn possible(&self) -> Vec<Event> {
        // The exchange sends the request that waited for the target before it does anything else.
        if self.is_target_fresh {
            return vec![ClientEvent::Head(Owner::CurrentTarget).into()];
        }
        // The exchange leaves a target before it does anything else.
        if self.state.is_target_done() {
            let is_open = [false, true].into_iter().filter(|open| self.is_app_open || !open);
            return is_open
                .map(|is_app_open| TurnEvent::TargetDone { is_app_open }.into())
                .collect();
        }
        let mut events = self.possible_for_the_client();
        events.extend(self.possible_for_the_upstream());
        // The exchange says so only while the client has sent nothing more.
        events.extend((!self.is_client_ended && self.may_end).then_some(Event::Farewell));
        events
    }

    fn possible_for_the_client(&self) -> Vec<Event> {
        let mut events: Vec<Event> = match self.state.sending {
            Sending::Between if !self.is_client_ended && self.is_given => {
                vec![ClientEvent::Head(Owner::App).into(), ClientEvent::Doubt(DOUBT).into()]
            }
            Sending::Between if !self.is_client_ended => {
                let mut owners = vec![Owner::App, Owner::OtherTarget];
                owners.extend(
                    (self.state.current == Current::Target).then_some(Owner::CurrentTarget),
                );
                let heads = owners.into_iter().map(|owner| ClientEvent::Head(owner).into());
                let others = [ClientEvent::Doubt(DOUBT).into(), ClientEvent::PartialHead.into()];
                heads.chain(others).collect()
            }
            Sending::Body if !self.is_client_ended => {
                let end = |has_length| ClientEvent::End { after: self.after, has_length };
                let ends = [false, true].map(|has_length| end(has_length).into());
                ends.into_iter().chain([ClientEvent::Doubt(DOUBT).into()]).collect()
            }
            Sending::Turn(_) => vec![TurnEvent::Examined.into()],
            Sending::Dial(Next::Target) => {
                vec![TurnEvent::TargetOpen.into(), TurnEvent::FellBack.into()]
            }
            Sending::Dial(_) => [false, true]
                .map(|left| TurnEvent::AppFailed { left }.into())
                .into_iter()
                .chain([TurnEvent::AppOpen.into()])
                .collect(),
            _ => Vec::new(),
        };
        if !self.state.sends() && !self.is_client_ended {
            events.push(ClientEvent::Spoke.into());
        }
        if self.state.may_give() && !self.is_client_ended {
            events.push(ClientEvent::Silent.into());
        }
        if self.state.sends() || !self.is_client_ended {
            events.push(ClientEvent::Ended { left: false }.into());
        }
        // Bytes of a body, or behind the last request, are never left.
        let passes_all = matches!(self.state.sending, Sending::Body | Sending::AfterLast);
        if (self.state.sends() || !self.is_client_ended) && !passes_all {
            events.push(ClientEvent::Ended { left: true }.into());
        }
        events
    }

    fn possible_for_the_upstream(&self) -> Vec<Event> {
        let is_read = match self.state.current {
            Current::App | Current::SpareApp => self.is_app_open,
            Current::Target | Current::None => self.is_target_open,
        };
        if !is_read {
            return Vec::new();
        }
        let mut events = vec![UpstreamEvent::Ended, UpstreamEvent::Broke];
        match self.sent.front() {
            None => events.push(UpstreamEvent::Unasked),
            Some(_) if self.is_until_close || self.state.receiving != Receiving::Framed => {}
            Some(&(_, request)) => {
                let end = |after| UpstreamEvent::End { after, request };
                events.extend([end(After::Keep), end(After::Close)]);
                events.extend([UpstreamEvent::UntilClose, UpstreamEvent::Doubt(DOUBT)]);
                if matches!(request, After::Upgrade | After::Connect) {
                    events.extend([UpstreamEvent::Switched, UpstreamEvent::SwitchedToHttp2]);
                }
            }
        }
        let may_repeat = self.state.current == Current::Target
            && !self.sent.is_empty()
            && !self.is_until_close
            && self.state.receiving == Receiving::Framed;
        let repeats = [false, true]
            .into_iter()
            .filter(|is_app_open| may_repeat && (self.is_app_open || !is_app_open))
            .map(|is_app_open| TurnEvent::TargetClosed { is_app_open }.into());
        events.into_iter().map(Event::from).chain(repeats).collect()
    }

    /// Lets an event happen, and checks the state after it.
    fn happen(&mut self, event: Event, after: After) {
        let before = self.state;
        let action = self.state.on(event);
        self.is_target_fresh = event == TurnEvent::TargetOpen.into();
        match event {
            Event::Client(ClientEvent::Head(_)) => {
                (self.after, self.is_given) = (after, false);
            }
            Event::Client(ClientEvent::Ended { .. }) => self.is_client_ended = true,
            Event::Client(_) => {}
            Event::Turn(TurnEvent::TargetOpen) => self.is_target_open = true,
            Event::Turn(TurnEvent::AppOpen) => {
                (self.is_app_open, self.is_app_hidden) = (true, false);
            }
            Event::Turn(TurnEvent::TargetDone { is_app_open }) => self.is_app_open = is_app_open,
            // The requests that it got are the next ones again.
            Event::Turn(TurnEvent::TargetClosed { is_app_open }) => {
                (self.is_app_open, self.is_app_hidden) = (is_app_open, true);
                self.is_target_open = false;
                self.sent.clear();
            }
            Event::Turn(_) => {}
            Event::Upstream(event) => self.check_upstream(before, event),
            Event::Farewell => assert!(!self.state.is_over() || self.sent.is_empty()),
        }
        self.check_action(before, event, action);

        assert_eq!(self.state.unanswered, self.sent.len());
        let current = self.state.current;
        assert!(self.sent.iter().all(|(owner, _)| *owner == current), "two owners: {self:?}");
        let is_repeated = matches!(event, Event::Turn(TurnEvent::TargetClosed { .. }));
        if current != before.current && current != Current::App && !is_repeated {
            assert!(!before.is_response_due(), "{event:?} leaves {before:?}");
        }
        assert!(!matches!(current, Current::App | Current::SpareApp) || self.is_app_open);
        // What can't be framed is piped at once.
        if matches!(self.state.sending, Sending::Unframed(_)) && !self.state.is_blocked() {
            self.hand_off(HandOff::PIPE);
        }
    }

    fn check_upstream(&mut self, before: State, event: UpstreamEvent) {
        match event {
            UpstreamEvent::End { .. } => {
                let (owner, _) = self.sent.pop_front().expect("a response is due");
                self.is_app_hidden = owner == Current::Target;
            }
            UpstreamEvent::UntilClose => self.is_until_close = true,
            UpstreamEvent::Unasked | UpstreamEvent::Ended | UpstreamEvent::Broke => {
                // No response follows: the upstream is given up, or piped.
                if before.current == Current::Target {
                    assert!(self.state.is_over() || event == UpstreamEvent::Broke);
                }
            }
            UpstreamEvent::Switched | UpstreamEvent::SwitchedToHttp2 | UpstreamEvent::Doubt(_) => {
                assert!(before.is_response_due());
            }
        }
    }

    fn check_action(&mut self, before: State, event: Event, action: Action) {
        match action {
            Action::Continue | Action::Wait | Action::OpenTarget | Action::Count(_) => {}
            Action::Send => {
                assert!(before.sends(), "{event:?} is sent in {before:?}");
                self.sent.push_back((self.state.current, self.after));
            }
            Action::Give => {
                assert!(self.is_app_open && self.state.current == Current::App);
                self.is_given = true;
            }
            Action::DialApp => assert!(!self.is_app_open, "a second connection to the app"),
            Action::LeaveDial => assert_eq!(before.sending, Sending::Dial(Next::Idle)),
            Action::FinishTarget => assert_eq!(before.current, Current::Target),
            Action::DropApp => {
                assert!(self.is_app_open && self.is_app_hidden && self.sent.is_empty());
                self.is_app_open = false;
            }
            Action::DropTargets => {
                assert_eq!(before.current, Current::None);
                self.is_target_open = false;
            }
            Action::HandOff(hand_off) => self.hand_off(hand_off),
        }
    }

    fn hand_off(&mut self, hand_off: HandOff) {
        if let HandOff::Pipe { .. } = hand_off {
            assert!(self.state.current != Current::None, "a pipe to nowhere: {self:?}");
        }
        if hand_off == HandOff::Http2 {
            assert_eq!(self.state.current, Current::App, "HTTP/2 with a target: {self:?}");
            assert_eq!(self.state.sending, Sending::Answer, "frames in a request: {self:?}");
        }
        self.end = Some(hand_off);
    }

    /// All sides close.
    fn close(&mut self) {
        for _ in 0..LONGEST_END {
            if self.is_ended() {
                return;
            }
            let possible = self.possible();
            let is = |wanted: Event| possible.contains(&wanted).then_some(wanted);
            let (before, fresh) = (self.state, self.is_target_fresh);
            let closing = is(TurnEvent::TargetDone { is_app_open: self.is_app_open }.into())
                .or_else(|| is(ClientEvent::Head(Owner::CurrentTarget).into()).filter(|_| fresh))
                .or_else(|| is(TurnEvent::TargetOpen.into()))
                .or_else(|| is(TurnEvent::AppOpen.into()))
                .or_else(|| is(TurnEvent::Examined.into()).filter(|_| !before.is_response_due()))
                .or_else(|| is(ClientEvent::Ended { left: false }.into()))
                .or_else(|| is(UpstreamEvent::Ended.into()));
            let closing = closing.unwrap_or_else(|| panic!("there is no end: {self:?}"));
            self.happen(closing, After::Keep);
        }
        panic!("there is no end: {self:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn each_run_has_one_owner_for_a_response_and_an_end(
        is_app_open: bool,
        may_end: bool,
        steps in vec((any::<Index>(), prop::sample::select(&[
            After::Keep, After::Keep, After::Close, After::Upgrade, After::Connect,
        ][..])), 0..60),
    ) {
        let mut world = World::new(is_app_open, may_end);
        for (step, after) in steps {
            if world.is_ended() {
                break;
            }
            let possible = world.possible();
            prop_assert!(!possible.is_empty(), "nothing can happen: {:?}", world);
            world.happen(*step.get(&possible), after);
        }
        world.close();
    }
}
