//! Texts with and without findings.

use super::{passages::Kind, *};

/// The findings in a text, each with its line.
fn found(text: &str, kind: Kind) -> Vec<(usize, String)> {
    let sentences = passages::read(text, kind).into_iter().flat_map(|passage| check(&passage));
    width::find(text, kind, false).into_iter().chain(sentences).collect()
}

fn lines(text: &str, kind: Kind) -> Vec<usize> {
    found(text, kind).into_iter().map(|(line, _)| line).collect()
}

#[test]
fn a_phrase_is_found_in_comments_and_strings_alike() {
    for text in [
        "\n/// The client is told about it.\nstruct A;",
        "\n// It was\n",
        "\nconst A: &str = \"the client was told about it\";",
        "\n    //! Nobody reads this.",
    ] {
        let expected = if text.ends_with("was\n") { vec![] } else { vec![2] };
        assert_eq!(lines(text, Kind::Rust), expected, "{text}");
    }
    // Over the end of a line, and with the line on which it begins.
    assert_eq!(lines("// a\n// client is\n// told b", Kind::Rust), [2]);
}

#[test]
fn code_and_keys_are_no_prose() {
    for text in [
        "// The user `nobody` runs it.",
        "const USER: &str = \"nobody\";",
        "fn his() { let him = 1; }",
        "// See https://example.com/nobody/his for more.",
        "// A [page](nobody.md) says more.",
        "const BYTES: &[u8] = b\"nobody is told this\";",
        "/// ```\n/// let nobody = 1;\n/// ```\nfn a() {}",
    ] {
        assert_eq!(found(text, Kind::Rust), [], "{text}");
    }
    assert_eq!(found("| nobody | is told |\n\n```\nnobody\n```\n", Kind::Markdown), []);
    assert_eq!(found("user: nobody # who reads it\n", Kind::Hash), []);
}

#[test]
fn a_long_sentence_is_found_and_several_short_ones_are_not() {
    let words = |count| vec!["so"; count].join(" ");
    let long = format!("// Short.\n// {}\n// {}.", words(20), words(6));
    let [(2, message)] = &found(&long, Kind::Rust)[..] else {
        panic!("{:?}", found(&long, Kind::Rust))
    };
    assert_eq!(message, "a sentence of 26 words; the maximum is 25: split it");
    for text in [
        format!("// {}. {}.", words(15), words(15)),
        format!("// {};\n// {}.", words(15), words(15)),
        format!("// - {}\n// - {}", words(15), words(15)),
        format!("// {}\n//\n// {}", words(15), words(15)),
    ] {
        assert_eq!(found(&text, Kind::Rust), [], "{text}");
    }
}

#[test]
fn long_lines_are_found_unless_they_can_not_be_broken() {
    let long = "word ".repeat(21);
    let spaces = " ".repeat(100);
    for (text, expected) in [
        (format!("\n// {}", "word, word. ".repeat(9)), vec![2]),
        (format!("{spaces}const A: &str = \"one two three four\";"), vec![1]),
        // Code, one word, and a test.
        (format!("{spaces}let a = 1;"), vec![]),
        (format!("{spaces}const A: &str = \"one\";"), vec![]),
        (format!("#[cfg(test)] const A: &str = \"{long}\";"), vec![]),
        (format!("// https://example.com/{}", "a".repeat(100)), vec![]),
    ] {
        assert_eq!(lines(&text, Kind::Rust), expected, "{text}");
    }
    assert_eq!(lines(&format!("| {long} |\n\n{long}"), Kind::Markdown), [3]);
}

#[test]
fn every_phrase_of_the_table_is_found() {
    for text in [
        "The peer closes his connection.",
        "Somebody writes it.",
        "The daemon was told.",
        "This is what is written.",
        "The kernel knows whose it is.",
        "So many sockets are made at once at most.",
        "So many are there.",
        "As many are unused.",
        "It begins anew.",
        "For strangers.",
        "Done by half.",
        "The lineage of a connection.",
        "A client who has told no one.",
    ] {
        assert_ne!(found(text, Kind::Markdown), [], "{text}");
    }
}
