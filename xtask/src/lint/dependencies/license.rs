//! Licence expressions as packages have them: `MIT OR (Apache-2.0 AND ISC)`, or `MIT/Apache-2.0` in
//! old ones.

use std::collections::BTreeSet;

/// Whether the allowed licences satisfy an expression. A malformed one is not allowed.
pub(crate) fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    // An exception belongs to the licence before it.
    let spaced = spaced.replace(" WITH ", "\0");
    let words = spaced.split_whitespace().map(|word| word.replace('\0', " WITH "));
    let words = words.collect::<Vec<_>>();
    let mut rest = words.iter().map(String::as_str);
    let mut rest = Words { ahead: rest.next(), rest: &mut rest, allowed };
    rest.any() == Some(true) && rest.ahead.is_none()
}

/// The words from some place on.
struct Words<'a> {
    ahead: Option<&'a str>,
    rest: &'a mut dyn Iterator<Item = &'a str>,
    allowed: &'a BTreeSet<String>,
}

// === impl Words ===

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        std::mem::replace(&mut self.ahead, self.rest.next())
    }

    /// Alternatives. `AND` binds tighter than `OR`.
    fn any(&mut self) -> Option<bool> {
        let mut is_allowed = self.all()?;
        while self.ahead == Some("OR") {
            self.next();
            is_allowed |= self.all()?;
        }
        Some(is_allowed)
    }

    fn all(&mut self) -> Option<bool> {
        let mut is_allowed = self.one()?;
        while self.ahead == Some("AND") {
            self.next();
            is_allowed &= self.one()?;
        }
        Some(is_allowed)
    }

    fn one(&mut self) -> Option<bool> {
        match self.next()? {
            "(" => {
                let is_allowed = self.any()?;
                (self.next()? == ")").then_some(is_allowed)
            }
            ")" | "AND" | "OR" => None,
            license => Some(self.allowed.contains(license)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_need_one_and_conjunctions_all() {
        let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(String::from).into();
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT AND (GPL-3.0 OR ISC)", true),
            ("GPL-3.0 OR MIT AND ISC", true),
            ("(MIT OR ISC) AND GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT ISC", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
        }
    }
}
