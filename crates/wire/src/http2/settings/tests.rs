//! Which values are in force, and which are refused.

use rstest::rstest;

use super::*;

fn frame(settings: &[(SettingId, u32)]) -> Vec<u8> {
    settings.iter().flat_map(|&(id, value)| Setting { id, value }.to_bytes()).collect()
}

fn sent(negotiated: &mut Negotiated, settings: &[(SettingId, u32)]) -> Result<(), SettingsError> {
    negotiated.sent(SettingsFrame::read(&frame(settings)).expect("whole settings"))
}

#[test]
fn settings_take_effect_with_their_acknowledgement() {
    let mut negotiated = Negotiated::default();
    let before = Settings::default();
    assert_eq!(
        sent(
            &mut negotiated,
            &[
                (SettingId::HEADER_TABLE_SIZE, 1),
                (SettingId::ENABLE_PUSH, 0),
                (SettingId::MAX_CONCURRENT_STREAMS, 3),
                (SettingId::INITIAL_WINDOW_SIZE, 4),
                (SettingId::MAX_FRAME_SIZE, 50_000),
                (SettingId::MAX_HEADER_LIST_SIZE, 6),
                (SettingId::ENABLE_CONNECT_PROTOCOL, 1),
                (SettingId(0x7777), u32::MAX),
            ]
        ),
        Ok(())
    );
    let after = Settings {
        header_table_size: 1,
        enable_push: false,
        max_concurrent_streams: Some(3),
        initial_window_size: 4,
        max_frame_size: FrameSize::new(50_000).expect("allowed"),
        max_header_list_size: Some(6),
        enable_connect_protocol: true,
    };
    assert_eq!((negotiated.in_force(), negotiated.announced()), (&before, &after));
    let change = Change { before, after, smallest_table_size: Some(1) };
    assert_eq!(negotiated.acknowledged(), Ok(change));
    assert_eq!((negotiated.in_force(), negotiated.announced()), (&after, &after));
    assert_eq!(negotiated.acknowledged(), Err(SettingsError::Unasked));
}

#[test]
fn each_acknowledgement_is_that_of_the_oldest_frame() {
    let mut negotiated = Negotiated::default();
    let id = SettingId::HEADER_TABLE_SIZE;
    assert_eq!(sent(&mut negotiated, &[(id, 10), (id, 5), (id, 20)]), Ok(()));
    assert_eq!(sent(&mut negotiated, &[(SettingId::INITIAL_WINDOW_SIZE, 7)]), Ok(()));
    assert_eq!(negotiated.unacknowledged(), 2);

    let change = negotiated.acknowledged().expect("sent");
    assert_eq!((change.after.header_table_size, change.smallest_table_size), (20, Some(5)));
    assert_eq!(change.after.initial_window_size, 65_535);
    let change = negotiated.acknowledged().expect("sent");
    assert_eq!((change.after.header_table_size, change.smallest_table_size), (20, None));
    assert_eq!((change.before.initial_window_size, change.after.initial_window_size), (65_535, 7));
}

#[rstest]
#[case::push(SettingId::ENABLE_PUSH, 2, ErrorCode::PROTOCOL_ERROR)]
#[case::window(SettingId::INITIAL_WINDOW_SIZE, 1 << 31, ErrorCode::FLOW_CONTROL_ERROR)]
#[case::small_frames(SettingId::MAX_FRAME_SIZE, 16_383, ErrorCode::PROTOCOL_ERROR)]
#[case::large_frames(SettingId::MAX_FRAME_SIZE, 1 << 24, ErrorCode::PROTOCOL_ERROR)]
#[case::connect(SettingId::ENABLE_CONNECT_PROTOCOL, 2, ErrorCode::PROTOCOL_ERROR)]
fn other_values_are_refused(#[case] id: SettingId, #[case] value: u32, #[case] code: ErrorCode) {
    let mut negotiated = Negotiated::default();
    let table = (SettingId::HEADER_TABLE_SIZE, 1);
    let error = SettingsError::Value(Setting { id, value });
    assert_eq!(sent(&mut negotiated, &[table, (id, value)]), Err(error));
    assert_eq!(error.code(), code);
    assert_eq!((negotiated.unacknowledged(), *negotiated.announced()), (0, Settings::default()));
}

#[test]
fn frames_without_an_acknowledgement_have_a_maximum_number() {
    let mut negotiated = Negotiated::default();
    for _ in 0..MAX_UNACKNOWLEDGED {
        assert_eq!(sent(&mut negotiated, &[]), Ok(()));
    }
    assert_eq!(sent(&mut negotiated, &[]), Err(SettingsError::TooMany));
}

#[test]
fn a_part_of_a_setting_is_refused() {
    for length in 0..20 {
        assert_eq!(SettingsFrame::read(&[0; 20][..length]).is_some(), length % 6 == 0);
    }
}
