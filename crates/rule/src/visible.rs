//! Makes foreign text safe to show on a terminal, in a log line and in a pod condition.

/// Maximum number of characters of a rejected text that a message repeats.
const MAX_QUOTED: usize = 40;
/// Maximum number of characters shown before the marked place, and again from its start on.
const MAX_SHOWN: usize = 60;
/// Replaces a tab, whose width depends on the reader's terminal.
const TAB: &str = "    ";

/// Tells whether `c` is invisible or changes how its neighbours are shown.
///
/// Tab, line feed and carriage return do not count, because people type them.
pub(crate) fn is_invisible(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        // Soft hyphen, text direction marks, line and paragraph separators, joiners, tags.
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => {
            true
        }
        '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

/// Puts `text` in backticks, escaped and cut to a length that suits a message.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("`");
    for (index, c) in text.chars().enumerate() {
        if index == MAX_QUOTED {
            out.push('…');
            break;
        }
        if is_invisible(c) || matches!(c, '\t' | '\n' | '\r') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push('`');
    out
}

/// The line of `text` in which `span` begins, and below it `^^^` under the span.
///
/// A span of several lines is marked to the end of its first line. An empty span gets a single `^`.
/// Tabs become spaces, and control and invisible characters become escapes. A long line is cut
/// around the span. Each character counts as one column, which is wrong for double-width scripts.
pub(crate) fn caret(text: &str, span: crate::Span) -> String {
    let start = text.floor_char_boundary(span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let line = text[line_start..line_end].trim_end_matches('\r');
    let (before, after) = line.split_at(start.min(line_start + line.len()) - line_start);
    let marked = text.floor_char_boundary(span.end).saturating_sub(start).min(after.len());

    let cut = before.char_indices().rev().nth(MAX_SHOWN - 1).map_or(0, |(at, _)| at);
    let mut shown = String::from(if cut > 0 { "…" } else { "" });
    show(&before[cut..], &mut shown);
    let indent = shown.chars().count();

    let cut = after.char_indices().nth(MAX_SHOWN).map_or(after.len(), |(at, _)| at);
    let marked = marked.min(cut);
    show(&after[..marked], &mut shown);
    let carets = (shown.chars().count() - indent).max(1);
    show(&after[marked..cut], &mut shown);
    if cut < after.len() {
        shown.push('…');
    }
    format!("{shown}\n{}{}", " ".repeat(indent), "^".repeat(carets))
}

fn show(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\t' => out.push_str(TAB),
            '\r' => out.extend(c.escape_default()),
            c if is_invisible(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::Span;

    #[rstest]
    #[case("abc", 1, 2, "abc\n ^")]
    #[case("abc", 0, 3, "abc\n^^^")]
    #[case("abc", 3, 3, "abc\n   ^")]
    #[case("", 0, 0, "\n^")]
    #[case("äöü", 2, 4, "äöü\n ^")]
    #[case("a\tb", 2, 3, "a    b\n     ^")]
    #[case("a\tb", 1, 2, "a    b\n ^^^^")]
    #[case("a\u{1b}[1mb", 1, 2, "a\\u{1b}[1mb\n ^^^^^^")]
    #[case("a\u{202e}b", 4, 5, "a\\u{202e}b\n         ^")]
    #[case("one\ntwo\nthree", 5, 6, "two\n ^")]
    #[case("one\r\ntwo", 1, 7, "one\n ^^")]
    #[case("one\ntwo", 3, 3, "one\n   ^")]
    #[case("one\r\ntwo", 4, 4, "one\n   ^")]
    fn the_caret_marks_the_span(
        #[case] text: &str,
        #[case] start: usize,
        #[case] end: usize,
        #[case] picture: &str,
    ) {
        assert_eq!(caret(text, Span::new(start, end)), picture);
    }

    #[test]
    fn long_lines_are_cut_around_the_span() {
        let text = format!("{}HERE{}", "<".repeat(500), ">".repeat(500));
        let expected =
            format!("…{}HERE{}…\n{}^^^^", "<".repeat(60), ">".repeat(56), " ".repeat(61));
        assert_eq!(caret(&text, Span::new(500, 504)), expected);
    }

    #[test]
    fn a_span_of_another_text_does_not_panic() {
        assert_eq!(caret("ä", Span::new(1, 700)), "ä\n^");
        assert_eq!(caret("ä", Span::new(700, 800)), "ä\n ^");
    }

    #[test]
    fn quoted_text_is_escaped_and_cut() {
        assert_eq!(quoted("a\0\tb"), r"`a\u{0}\tb`");
        assert_eq!(quoted(&"x".repeat(1000)), format!("`{}…`", "x".repeat(40)));
    }
}
