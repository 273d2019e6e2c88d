//! Single steps, and windows against the sum of all changes.

use proptest::prelude::*;

use super::*;

#[test]
fn a_connection_begins_with_the_window_of_the_standard() {
    let mut window = ConnectionWindow::default();
    assert_eq!(window.available(), 65_535);
    assert_eq!(window.consume(65_535), Ok(()));
    assert_eq!(window.consume(0), Ok(()));
    assert_eq!(window.consume(1), Err(WindowError::Overrun { window: 0, bytes: 1 }));
    assert_eq!(window.add(Increment::new(7).expect("fits")), Ok(()));
    assert_eq!(window.available(), 7);
}

#[test]
fn increments_have_31_bits_and_are_not_zero() {
    assert_eq!(Increment::<OfStream>::new(0), None);
    assert_eq!(Increment::<OfStream>::new(MAX_WINDOW + 1), None);
    assert_eq!(Increment::<OfStream>::new(MAX_WINDOW).map(Increment::bytes), Some(MAX_WINDOW));
}

#[test]
fn a_window_may_become_negative_by_a_setting_only() {
    let mut window = StreamWindow::new(100);
    assert_eq!(window.consume(80), Ok(()));
    assert_eq!(window.change_initial(100, 10), Ok(()));
    assert_eq!((window.size(), window.available()), (-70, 0));
    assert_eq!(window.consume(1), Err(WindowError::Overrun { window: -70, bytes: 1 }));
    assert_eq!(window.consume(0), Ok(()));
    assert_eq!(window.add(Increment::new(75).expect("fits")), Ok(()));
    assert_eq!(window.available(), 5);
}

#[test]
fn a_window_beyond_its_maximum_is_refused() {
    let mut window = StreamWindow::new(u32::MAX);
    assert_eq!(window.available(), MAX_WINDOW);
    let one = Increment::new(1).expect("fits");
    let overflow = WindowError::Overflow { window: MAX_WINDOW.into(), bytes: 1 };
    assert_eq!(window.add(one), Err(overflow));
    assert_eq!(window.change_initial(0, 1), Err(overflow));
    assert_eq!(window.available(), MAX_WINDOW);
}

proptest! {
    /// Against the sum of all changes.
    #[test]
    fn a_window_is_the_sum_of_its_changes(
        initial in 0..200_000_u32, steps in prop::collection::vec((0..3_u8, 0..200_000_u32), 0..50)
    ) {
        let (mut window, mut sum) = (StreamWindow::new(initial), i64::from(initial));
        let mut announced = initial;
        for (kind, bytes) in steps {
            match kind {
                0 => {
                    let fits = i64::from(bytes) <= sum.max(0);
                    prop_assert_eq!(window.consume(bytes).is_ok(), fits);
                    sum -= if fits { i64::from(bytes) } else { 0 };
                }
                1 => {
                    let Some(increment) = Increment::new(bytes) else { continue };
                    prop_assert_eq!(window.add(increment), Ok(()));
                    sum += i64::from(bytes);
                }
                _ => {
                    prop_assert_eq!(window.change_initial(announced, bytes), Ok(()));
                    sum += i64::from(bytes) - i64::from(announced);
                    announced = bytes;
                }
            }
            prop_assert_eq!(window.size(), sum);
            prop_assert_eq!(i64::from(window.available()), sum.max(0));
        }
    }
}
