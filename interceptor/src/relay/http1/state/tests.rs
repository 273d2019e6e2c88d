//! The tables of the module documentation, row by row. Properties of whole runs are in `runs.rs`.

mod runs;

use interceptor_wire::{Reason, http1::After};
use rstest::rstest;

use super::*;

const DOUBT: Reason = Reason::ContentLength;
const PIPE: Action = Action::HandOff(HandOff::PIPE);
const IDLE: Sending = Sending::Turn(Next::Idle);

/// A state with this many requests without a response.
fn state(current: Current, sending: Sending, unanswered: usize) -> State {
    State { current, sending, receiving: Receiving::Framed, unanswered, is_app_down: false }
}

fn pipe(why: Piped) -> Action {
    Action::HandOff(HandOff::piped(why))
}

/// One row: the event takes `from` to `to`, and leads to `action`.
fn check(from: State, event: impl Into<Event>, action: Action, to: State) {
    let (mut state, event) = (from, event.into());
    assert_eq!((state.on(event), state), (action, to), "{event:?} in {from:?}");
}

impl From<ClientEvent> for Event {
    fn from(event: ClientEvent) -> Self {
        Self::Client(event)
    }
}

impl From<TurnEvent> for Event {
    fn from(event: TurnEvent) -> Self {
        Self::Turn(event)
    }
}

impl From<UpstreamEvent> for Event {
    fn from(event: UpstreamEvent) -> Self {
        Self::Upstream(event)
    }
}

#[rstest]
#[case::no_app(false, Current::None)]
#[case::open_app(true, Current::SpareApp)]
fn the_app_gets_what_a_target_got_that_closes_at_once(
    #[case] is_app_open: bool,
    #[case] current: Current,
) {
    let to = state(current, Sending::Turn(Next::App), 0);
    for sending in [Sending::Between, Sending::Body, Sending::Answer, Sending::Stopped, IDLE] {
        let from = state(Current::Target, sending, 2);
        check(from, TurnEvent::TargetClosed { is_app_open }, Action::Continue, to);
    }
}

#[test]
fn a_connection_without_a_request_under_way_ends_with_the_daemon() {
    for current in [Current::None, Current::App, Current::SpareApp, Current::Target] {
        for sending in [Sending::Between, IDLE, Sending::Dial(Next::Idle)] {
            let from = state(current, sending, 0);
            let over = State { receiving: Receiving::Over, ..from };
            check(from, Event::Farewell, Action::Continue, over);
        }
        for (sending, unanswered) in [
            (Sending::Between, 1),
            (Sending::Body, 0),
            (Sending::Answer, 1),
            (Sending::Turn(Next::App), 0),
            (Sending::Dial(Next::Target), 0),
            (Sending::Stopped, 0),
            (Sending::AfterLast, 0),
            (Sending::Unframed(DOUBT), 0),
        ] {
            let from = state(current, sending, unanswered);
            check(from, Event::Farewell, Action::Continue, from);
        }
    }
}

// --- The upstream's side ---

#[rstest]
#[case::app(Current::App)]
#[case::target(Current::Target)]
fn a_response_that_agrees_to_upgrade_begins_a_pipe(#[case] current: Current) {
    let from = state(current, Sending::Answer, 1);
    check(from, UpstreamEvent::Switched, pipe(Piped::Tunnel), from);
}

#[test]
fn a_response_that_agrees_to_http2_lets_frames_be_followed_between_client_and_app() {
    let from = state(Current::App, Sending::Answer, 1);
    check(from, UpstreamEvent::SwitchedToHttp2, Action::HandOff(HandOff::Http2), from);
    // The rest of the request is in front of the frames.
    let from = state(Current::App, Sending::Body, 1);
    check(from, UpstreamEvent::SwitchedToHttp2, pipe(Piped::Tunnel), from);
    let from = state(Current::Target, Sending::Answer, 1);
    check(from, UpstreamEvent::SwitchedToHttp2, pipe(Piped::Tunnel), from);
}

#[test]
fn a_response_until_close_is_the_last_one() {
    let app = state(Current::App, Sending::Between, 1);
    check(app, UpstreamEvent::UntilClose, PIPE, app);
    let target = state(Current::Target, Sending::Between, 1);
    check(target, UpstreamEvent::UntilClose, Action::Continue, target);
}

#[rstest]
#[case::app(Current::App)]
#[case::target(Current::Target)]
fn a_response_that_ends_is_due_no_more(#[case] current: Current) {
    let event = UpstreamEvent::End { after: After::Keep, request: After::Keep };
    for sending in [Sending::Between, Sending::Body, Sending::Turn(Next::App)] {
        check(state(current, sending, 2), event, Action::Continue, state(current, sending, 1));
    }
}

#[rstest]
#[case::upgrade(After::Upgrade, Sending::Between)]
#[case::connect(After::Connect, Sending::Between)]
#[case::another_request_before_it(After::Keep, Sending::Answer)]
fn a_response_that_declines_lets_requests_go_on(#[case] request: After, #[case] then: Sending) {
    let event = UpstreamEvent::End { after: After::Keep, request };
    let from = state(Current::Target, Sending::Answer, 2);
    check(from, event, Action::Continue, state(Current::Target, then, 1));
}

#[test]
fn the_last_response_of_an_upstream_ends_the_connection() {
    let event = UpstreamEvent::End { after: After::Close, request: After::Keep };
    let answered = state(Current::App, Sending::Between, 0);
    check(state(Current::App, Sending::Between, 1), event, PIPE, answered);
    let from = state(Current::Target, Sending::Between, 1);
    let over = State { receiving: Receiving::Over, unanswered: 0, ..from };
    check(from, event, Action::Continue, over);
}

#[rstest]
#[case::with_a_length(Sending::Body)]
#[case::until_close(Sending::AfterLast)]
fn a_target_that_responds_early_still_gets_the_content(#[case] sending: Sending) {
    let event = UpstreamEvent::End { after: After::Close, request: After::Keep };
    let last = State { receiving: Receiving::Last, ..state(Current::Target, sending, 0) };
    check(state(Current::Target, sending, 1), event, Action::Continue, last);
    assert!(last.sends() && !last.is_target_done());
    let over = State { receiving: Receiving::Over, ..last };
    check(last, UpstreamEvent::Ended, Action::Continue, over);
    check(last, UpstreamEvent::Unasked, Action::Continue, over);
    check(last, UpstreamEvent::Broke, Action::HandOff(HandOff::UpstreamBroke), last);
    if sending == Sending::Body {
        let end = ClientEvent::End { after: After::Keep, has_length: true };
        let ended = State { sending: Sending::Between, ..over };
        check(last, end, Action::Continue, ended);
    }
}

#[test]
fn a_response_in_doubt_passes_as_the_last_one() {
    let event = UpstreamEvent::Doubt(DOUBT);
    let app = state(Current::App, Sending::Between, 1);
    check(app, event, pipe(Piped::Response(DOUBT)), app);
    let target = state(Current::Target, Sending::Between, 1);
    let in_doubt = State { receiving: Receiving::InDoubt, ..target };
    check(target, event, Action::Count(Piped::Response(DOUBT)), in_doubt);
    let answer = state(Current::Target, Sending::Answer, 1);
    check(answer, event, pipe(Piped::Response(DOUBT)), answer);
}

#[rstest]
#[case::unasked(UpstreamEvent::Unasked, pipe(Piped::ServerSpoke))]
#[case::fin(UpstreamEvent::Ended, PIPE)]
#[case::rst(UpstreamEvent::Broke, Action::HandOff(HandOff::UpstreamBroke))]
fn the_end_of_the_app_is_the_end_of_the_client(
    #[case] event: UpstreamEvent,
    #[case] action: Action,
) {
    let from = state(Current::App, Sending::Between, 0);
    check(from, event, action, from);
}

#[rstest]
#[case::unasked(UpstreamEvent::Unasked)]
#[case::fin(UpstreamEvent::Ended)]
fn the_client_does_not_see_how_a_spare_app_ends(#[case] event: UpstreamEvent) {
    for sending in [Sending::Between, Sending::Dial(Next::Target)] {
        let (from, to) = (state(Current::SpareApp, sending, 0), state(Current::None, sending, 0));
        check(from, event, Action::DropApp, to);
    }
}

#[test]
fn a_spare_app_that_resets_resets_the_client() {
    let from = state(Current::SpareApp, Sending::Between, 0);
    check(from, UpstreamEvent::Broke, Action::HandOff(HandOff::UpstreamBroke), from);
}

/// What happens when a target dies in the middle of a response.
#[test]
fn a_target_that_dies_ends_the_connection_as_it_ended() {
    for sending in [Sending::Between, Sending::Body, Sending::Turn(Next::App), Sending::Answer] {
        for receiving in [Receiving::Framed, Receiving::InDoubt] {
            let from = State { receiving, ..state(Current::Target, sending, 1) };
            let over = State { receiving: Receiving::Over, ..from };
            check(from, UpstreamEvent::Ended, Action::Continue, over);
            check(from, UpstreamEvent::Broke, Action::HandOff(HandOff::UpstreamBroke), from);
        }
    }
}

#[test]
fn a_target_that_speaks_unasked_ends_the_connection() {
    let from = state(Current::Target, Sending::Body, 0);
    let over = State { receiving: Receiving::Over, ..from };
    check(from, UpstreamEvent::Unasked, Action::Continue, over);
}

#[rstest]
#[case::unasked(UpstreamEvent::Unasked)]
#[case::fin(UpstreamEvent::Ended)]
#[case::rst(UpstreamEvent::Broke)]
fn an_idle_target_that_ends_leaves_the_client_to_the_app(#[case] event: UpstreamEvent) {
    let from = state(Current::None, Sending::Between, 0);
    check(from, event, Action::DropTargets, state(Current::None, IDLE, 0));
    let dialling = state(Current::None, Sending::Dial(Next::Target), 0);
    check(dialling, event, Action::DropTargets, dialling);
}

// --- The client's side ---

#[rstest]
#[case::app(Current::App, Owner::App, Current::App)]
#[case::spare_app(Current::SpareApp, Owner::App, Current::App)]
#[case::target(Current::Target, Owner::CurrentTarget, Current::Target)]
fn a_head_for_the_current_upstream_is_sent(
    #[case] current: Current,
    #[case] owner: Owner,
    #[case] then: Current,
) {
    let from = state(current, Sending::Between, 3);
    check(from, ClientEvent::Head(owner), Action::Send, state(then, Sending::Body, 4));
}

#[rstest]
#[case::app_for_a_target(Current::App, Owner::OtherTarget, Next::Target)]
#[case::spare_app_for_a_target(Current::SpareApp, Owner::OtherTarget, Next::Target)]
#[case::target_for_a_target(Current::Target, Owner::OtherTarget, Next::Target)]
#[case::target_for_the_app(Current::Target, Owner::App, Next::App)]
#[case::none_for_a_target(Current::None, Owner::OtherTarget, Next::Target)]
#[case::none_for_the_app(Current::None, Owner::App, Next::App)]
fn a_head_for_another_upstream_waits(
    #[case] current: Current,
    #[case] owner: Owner,
    #[case] next: Next,
) {
    let from = state(current, Sending::Between, 1);
    let to = state(current, Sending::Turn(next), 1);
    check(from, ClientEvent::Head(owner), Action::Wait, to);
}

#[rstest]
#[case::keep(After::Keep, Current::Target, 1, Sending::Between)]
#[case::upgrade(After::Upgrade, Current::Target, 1, Sending::Answer)]
#[case::connect(After::Connect, Current::App, 1, Sending::Answer)]
#[case::declined_early(After::Upgrade, Current::Target, 0, Sending::Between)]
#[case::last_for_the_app(After::Close, Current::App, 1, Sending::AfterLast)]
#[case::last_for_a_target(After::Close, Current::Target, 1, Sending::Stopped)]
#[case::last_for_a_target_declined(After::Close, Current::Target, 0, Sending::Stopped)]
fn the_end_of_a_request_says_what_follows(
    #[case] after: After,
    #[case] current: Current,
    #[case] unanswered: usize,
    #[case] then: Sending,
) {
    let from = state(current, Sending::Body, unanswered);
    let end = ClientEvent::End { after, has_length: true };
    check(from, end, Action::Continue, state(current, then, unanswered));
}

/// As `SOURCE` of HTTP/1.0: nothing says where the content ends.
#[test]
fn a_last_request_without_a_length_goes_on_until_the_client_closes() {
    let from = state(Current::Target, Sending::Body, 1);
    let end = ClientEvent::End { after: After::Close, has_length: false };
    check(from, end, Action::Continue, state(Current::Target, Sending::AfterLast, 1));
}

#[rstest]
#[case::app(Current::App, Sending::Between)]
#[case::spare_app(Current::SpareApp, Sending::Between)]
#[case::behind_upgrade(Current::App, Sending::Answer)]
fn the_app_gets_what_is_held_of_a_silent_client(
    #[case] current: Current,
    #[case] sending: Sending,
) {
    let from = state(current, sending, 1);
    assert!(from.may_give());
    check(from, ClientEvent::Silent, Action::Give, state(Current::App, sending, 1));
}

/// The app would see these bytes before those that are meant for it, or too often.
#[rstest]
#[case::target(Current::Target, Sending::Between)]
#[case::behind_an_upgrade_of_a_target(Current::Target, Sending::Answer)]
#[case::no_app_yet(Current::None, Sending::Between)]
#[case::waits_for_a_target(Current::App, Sending::Turn(Next::Target))]
#[case::dialling(Current::None, Sending::Dial(Next::Idle))]
#[case::body(Current::App, Sending::Body)]
fn what_is_held_of_a_silent_client_waits(#[case] current: Current, #[case] sending: Sending) {
    let from = state(current, sending, 1);
    assert!(!from.may_give());
    check(from, ClientEvent::Silent, Action::Wait, from);
}

#[test]
fn a_rule_may_want_a_request_although_the_app_is_down() {
    let dial = state(Current::None, Sending::Dial(Next::Idle), 0);
    let down = State { is_app_down: true, ..state(Current::None, Sending::Between, 0) };
    check(dial, TurnEvent::AppFailed { left: true }, Action::Continue, down);
    // The app is not dialled for each piece of the head.
    check(down, ClientEvent::PartialHead, Action::Continue, down);
    let broke = Action::HandOff(HandOff::UpstreamBroke);
    assert!(down.may_give());
    check(down, ClientEvent::Silent, broke, down);
    check(down, ClientEvent::Ended { left: true }, broke, down);
    let turn = State { sending: Sending::Turn(Next::Target), ..down };
    check(down, ClientEvent::Head(Owner::OtherTarget), Action::Wait, turn);
    let target = State { current: Current::Target, ..down };
    let none = state(Current::None, Sending::Between, 0);
    check(target, TurnEvent::TargetDone { is_app_open: false }, Action::Continue, none);
}

#[rstest]
#[case::app(Current::App, Sending::Unframed(DOUBT))]
#[case::spare_app(Current::SpareApp, Sending::Unframed(DOUBT))]
#[case::target(Current::Target, Sending::Turn(Next::Unframed(DOUBT)))]
#[case::none(Current::None, Sending::Turn(Next::Unframed(DOUBT)))]
fn a_head_in_doubt_is_for_the_app(#[case] current: Current, #[case] then: Sending) {
    let from = state(current, Sending::Between, 0);
    check(from, ClientEvent::Doubt(DOUBT), Action::Continue, state(current, then, 0));
}

#[test]
fn a_body_in_doubt_is_for_the_upstream_that_has_the_head() {
    let from = state(Current::Target, Sending::Body, 1);
    check(from, ClientEvent::Doubt(DOUBT), pipe(Piped::Request(DOUBT)), from);
}

#[rstest]
#[case::no_upstream(Current::None, Sending::Between, IDLE)]
#[case::app(Current::App, Sending::Between, Sending::Between)]
#[case::dialling(Current::None, Sending::Dial(Next::Target), Sending::Dial(Next::Target))]
fn a_head_that_is_not_complete_needs_the_app(
    #[case] current: Current,
    #[case] sending: Sending,
    #[case] then: Sending,
) {
    let from = state(current, sending, 0);
    check(from, ClientEvent::PartialHead, Action::Continue, state(current, then, 0));
}

#[test]
fn bytes_of_an_idle_client_do_not_wait_for_the_app() {
    let from = state(Current::None, Sending::Dial(Next::Idle), 0);
    let to = state(Current::None, Sending::Between, 0);
    check(from, ClientEvent::Spoke, Action::LeaveDial, to);
    for sending in [Sending::Dial(Next::App), Sending::Turn(Next::App), Sending::Answer] {
        let from = state(Current::Target, sending, 1);
        check(from, ClientEvent::Spoke, Action::Wait, from);
    }
}

#[rstest]
#[case::between(Current::App, Sending::Between, PIPE)]
#[case::spare_app(Current::SpareApp, Sending::Between, PIPE)]
#[case::body(Current::Target, Sending::Body, PIPE)]
#[case::after_the_last(Current::App, Sending::AfterLast, PIPE)]
#[case::answer(Current::Target, Sending::Answer, PIPE)]
#[case::stopped(Current::Target, Sending::Stopped, PIPE)]
#[case::turn(Current::Target, Sending::Turn(Next::App), Action::FinishTarget)]
#[case::turn_behind_the_app(Current::App, Sending::Turn(Next::Target), Action::Wait)]
#[case::dial(Current::None, Sending::Dial(Next::App), Action::Wait)]
fn fin_of_a_client_whose_bytes_are_sent(
    #[case] current: Current,
    #[case] sending: Sending,
    #[case] action: Action,
) {
    let from = state(current, sending, 1);
    check(from, ClientEvent::Ended { left: false }, action, from);
}

#[rstest]
#[case::answer_of_the_app(Current::App, Sending::Answer, PIPE, Sending::Answer)]
#[case::answer(Current::Target, Sending::Answer, Action::FinishTarget, Sending::Answer)]
#[case::stopped(Current::Target, Sending::Stopped, Action::FinishTarget, Sending::Stopped)]
#[case::partial_head(Current::Target, Sending::Between, Action::Continue, IDLE)]
#[case::partial_head_for_the_app(Current::App, Sending::Between, PIPE, Sending::Between)]
fn fin_of_a_client_with_bytes_left(
    #[case] current: Current,
    #[case] sending: Sending,
    #[case] action: Action,
    #[case] then: Sending,
) {
    let from = state(current, sending, 1);
    check(from, ClientEvent::Ended { left: true }, action, state(current, then, 1));
}

#[test]
fn fin_of_a_client_without_an_upstream_ends_the_connection() {
    let from = state(Current::None, Sending::Between, 0);
    let over = State { receiving: Receiving::Over, ..from };
    check(from, ClientEvent::Ended { left: false }, Action::Continue, over);
}

#[test]
fn a_client_with_the_maximum_of_unanswered_requests_waits() {
    let full = state(Current::App, Sending::Between, MAX_UNANSWERED);
    assert!(full.is_blocked() && !full.sends());
    check(full, ClientEvent::Ended { left: true }, Action::Wait, full);
    let room = state(Current::App, Sending::Between, MAX_UNANSWERED - 1);
    assert!(!room.is_blocked() && room.sends());
}

// --- The way of the next request to its upstream ---

#[rstest]
#[case::app_open(true, Current::SpareApp)]
#[case::app_closed(false, Current::None)]
fn a_target_whose_responses_have_passed_is_left(#[case] is_app_open: bool, #[case] then: Current) {
    for sending in [Sending::Between, Sending::Turn(Next::App)] {
        let from = state(Current::Target, sending, 0);
        assert!(from.is_target_done());
        let event = TurnEvent::TargetDone { is_app_open };
        check(from, event, Action::Continue, state(then, sending, 0));
    }
}

#[rstest]
#[case::response_due(state(Current::Target, Sending::Between, 1))]
#[case::in_a_request(state(Current::Target, Sending::Body, 0))]
#[case::last_request(state(Current::Target, Sending::Stopped, 0))]
#[case::app(state(Current::App, Sending::Between, 0))]
#[case::over(State { receiving: Receiving::Over, ..state(Current::Target, Sending::Between, 0) })]
fn a_target_is_not_left(#[case] state: State) {
    assert!(!state.is_target_done());
}

#[rstest]
#[case::response_due(Current::App, Next::Target, 1, Action::Wait, Sending::Turn(Next::Target))]
#[case::target(Current::App, Next::Target, 0, Action::OpenTarget, Sending::Dial(Next::Target))]
#[case::app_open(Current::SpareApp, Next::App, 0, Action::Continue, Sending::Between)]
#[case::app_not_open(Current::None, Next::App, 0, Action::DialApp, Sending::Dial(Next::App))]
#[case::idle(Current::None, Next::Idle, 0, Action::DialApp, Sending::Dial(Next::Idle))]
#[case::doubt(
    Current::None,
    Next::Unframed(DOUBT),
    0,
    Action::DialApp,
    Sending::Dial(Next::Unframed(DOUBT))
)]
#[case::doubt_and_app_open(
    Current::SpareApp,
    Next::Unframed(DOUBT),
    0,
    Action::Continue,
    Sending::Unframed(DOUBT)
)]
fn the_turn_comes_when_all_responses_have_passed(
    #[case] current: Current,
    #[case] next: Next,
    #[case] unanswered: usize,
    #[case] action: Action,
    #[case] then: Sending,
) {
    let from = state(current, Sending::Turn(next), unanswered);
    check(from, TurnEvent::Examined, action, state(current, then, unanswered));
}

#[test]
fn a_request_behind_a_response_in_doubt_ends_the_connection() {
    let turn = state(Current::Target, Sending::Turn(Next::App), 1);
    let from = State { receiving: Receiving::InDoubt, ..turn };
    let over = State { receiving: Receiving::Over, ..turn };
    check(from, TurnEvent::Examined, Action::Wait, over);
}

#[rstest]
#[case::app(Current::App)]
#[case::spare_app(Current::SpareApp)]
#[case::none(Current::None)]
fn an_open_target_is_current(#[case] current: Current) {
    let from = state(current, Sending::Dial(Next::Target), 0);
    let to = state(Current::Target, Sending::Between, 0);
    check(from, TurnEvent::TargetOpen, Action::Continue, to);
}

#[test]
fn the_app_gets_the_request_of_a_target_that_fails() {
    let from = state(Current::SpareApp, Sending::Dial(Next::Target), 0);
    let to = state(Current::SpareApp, Sending::Turn(Next::App), 0);
    check(from, TurnEvent::FellBack, Action::Continue, to);
}

#[rstest]
#[case::request(Next::App, Sending::Between)]
#[case::idle(Next::Idle, Sending::Between)]
#[case::doubt(Next::Unframed(DOUBT), Sending::Unframed(DOUBT))]
fn an_open_app_is_current(#[case] next: Next, #[case] then: Sending) {
    let from = state(Current::None, Sending::Dial(next), 0);
    check(from, TurnEvent::AppOpen, Action::Continue, state(Current::App, then, 0));
}

#[rstest]
#[case::request(Next::App)]
#[case::doubt(Next::Unframed(DOUBT))]
fn an_app_that_fails_resets_the_client(#[case] next: Next) {
    let from = state(Current::None, Sending::Dial(next), 0);
    let broke = Action::HandOff(HandOff::UpstreamBroke);
    check(from, TurnEvent::AppFailed { left: true }, broke, from);
}

#[test]
fn an_idle_client_ends_in_order_if_the_app_fails() {
    let from = state(Current::None, Sending::Dial(Next::Idle), 0);
    let over = State { receiving: Receiving::Over, ..from };
    check(from, TurnEvent::AppFailed { left: false }, Action::Continue, over);
}
