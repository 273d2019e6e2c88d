//! Any text is a list of rules that parse again to equal ones when printed, or an error whose place
//! is in the text.

use interceptor_rule::{Position, Rule, parse};

/// Runs the target.
pub fn run(text: &str) {
    match parse(text) {
        Ok(rules) => {
            let printed: Vec<String> = rules.iter().map(Rule::to_string).collect();
            // The canonical form of a text just below the limit may be longer than the limit.
            let printed = printed.join(";");
            if printed.len() <= interceptor_rule::MAX_RULE_TEXT {
                assert_eq!(parse(&printed), Ok(rules.clone()), "{printed:?}");
            }
            for rule in rules {
                let own = rule.places().rule.of(text);
                if let Some(unsupported) = rule.unsupported() {
                    assert!(!unsupported.span.of(text).is_empty());
                }
                assert_eq!(parse(own), Ok(vec![rule]), "{own:?}");
            }
        }
        Err(error) => {
            let span = error.span();
            assert!(text.get(span.range()).is_some(), "{span:?}");
            assert_eq!(error.position(), Position::of(text, span.start));
            assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
            let caret = error.caret(text);
            assert_eq!(caret.split('\n').count(), 2, "{caret:?}");
            assert!(caret.ends_with('^'), "{caret:?}");
        }
    }
}
