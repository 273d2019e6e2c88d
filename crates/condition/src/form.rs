//! The canonical form of a condition, by which conditions with the same meaning are recognised.
//!
//! Two texts have one form if they differ in white space, quotes, parentheses, the order of
//! operands or the place of a negation. Different forms may still mean the same: nothing here
//! calculates.
//!
//! A part of a condition is true, false or an error, and an error is no match. Each rewriting keeps
//! all three, so that a form is exact also for requests without a header that the condition reads.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::attribute::TextAttribute;
use crate::needs::Needs;
use crate::tree::{Number, Predicate, Relation, Text, Texts};

/// Maximum number of steps of one comparison. Nested conditions of the maximum size could otherwise
/// take very long; beyond the maximum, they count as different.
const MAX_STEPS: usize = 2_000;

/// The canonical form of a condition. Equal forms match the same requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    node: Node,
    needs: Needs,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Node {
    Constant(bool),
    /// A test, as unambiguous text.
    Test {
        text: String,
        negated: bool,
    },
    /// At least two different nodes, none of which is `All`.
    All(BTreeSet<Node>),
    /// At least two different nodes, none of which is `Any`.
    Any(BTreeSet<Node>),
}

// === impl Form ===

impl Form {
    pub(crate) fn of(predicate: &Predicate, needs: Needs) -> Self {
        Self { node: node(predicate, false), needs }
    }

    /// Whether the condition matches every request.
    pub fn is_always(&self) -> bool {
        self.node == Node::Constant(true)
    }

    /// Whether this condition, asked first, surely leaves nothing to `other`: it matches whatever
    /// `other` matches, and it is decided no later.
    ///
    /// Nothing covers a condition that can never match.
    pub fn covers(&self, other: &Self) -> bool {
        // A condition about requests is not asked about connections without any.
        let in_time = self.needs == Needs::Connection || self.needs == other.needs;
        in_time
            && other.node != Node::Constant(false)
            && implies(&other.node, &self.node, &Cell::new(MAX_STEPS))
    }
}

/// Whether `wide` is true whenever `narrow` is. May say no though it is so.
fn implies(narrow: &Node, wide: &Node, steps: &Cell<usize>) -> bool {
    let Some(left) = steps.get().checked_sub(1) else { return false };
    steps.set(left);
    if narrow == wide {
        return true;
    }
    match (narrow, wide) {
        (_, Node::Constant(always)) => *always,
        (Node::Any(parts), _) => parts.iter().all(|part| implies(part, wide, steps)),
        (_, Node::All(parts)) => parts.iter().all(|part| implies(narrow, part, steps)),
        (_, Node::Any(parts)) if parts.iter().any(|part| implies(narrow, part, steps)) => true,
        (Node::All(parts), _) => parts.iter().any(|part| implies(part, wide, steps)),
        _ => false,
    }
}

/// The form of `predicate`, or of its negation.
fn node(predicate: &Predicate, negated: bool) -> Node {
    match predicate {
        Predicate::Constant(value) => Node::Constant(*value != negated),
        Predicate::Not(inner) => node(inner, !negated),
        // The negation of "all" is "any is not", also with errors.
        Predicate::All(operands) => joined(operands, negated, !negated),
        Predicate::Any(operands) => joined(operands, negated, negated),
        Predicate::Text(relation, sides) => {
            compared(*relation, text(&sides[0]), text(&sides[1]), negated)
        }
        Predicate::Number(relation, sides) => {
            compared(*relation, number(&sides[0]), number(&sides[1]), negated)
        }
        // Without an error in an item, `x in [a, b]` is `x == a || x == b`.
        Predicate::TextIn(parts) => match &parts.1 {
            Texts::Listed(items) if items.iter().all(|i| matches!(i, Text::Constant(_))) => {
                let wanted = text(&parts.0);
                one_of(&wanted, items.iter().map(text), negated)
            }
            list => test(format!("{} in {}", text(&parts.0), texts(list)), negated),
        },
        Predicate::NumberIn(parts) => {
            let constants = parts.1.iter().all(|item| matches!(item, Number::Constant(_)));
            let items: Vec<String> = parts.1.iter().map(number).collect();
            if constants {
                one_of(&number(&parts.0), items.into_iter(), negated)
            } else {
                test(format!("{} in [{}]", number(&parts.0), items.join(",")), negated)
            }
        }
        other => test(tested(other), negated),
    }
}

fn test(text: String, negated: bool) -> Node {
    Node::Test { text, negated }
}

/// `&&` if `all`, else `||`, of operands that may have to be negated.
fn joined(operands: &[Predicate], negated: bool, all: bool) -> Node {
    collected(operands.iter().map(|operand| node(operand, negated)), all)
}

/// `&&` if `all`, else `||`, without operands of the same kind inside.
fn collected(nodes: impl Iterator<Item = Node>, all: bool) -> Node {
    let mut parts = BTreeSet::new();
    for node in nodes {
        match (node, all) {
            (Node::All(inner), true) | (Node::Any(inner), false) => parts.extend(inner),
            (node, _) => _ = parts.insert(node),
        }
    }
    match parts.len() {
        1 => parts.pop_first().unwrap_or(Node::Constant(all)),
        _ if all => Node::All(parts),
        _ => Node::Any(parts),
    }
}

fn one_of(wanted: &str, items: impl Iterator<Item = String>, negated: bool) -> Node {
    let equal = items.map(|item| compared(Relation::Equal, wanted.to_owned(), item, negated));
    collected(equal, negated)
}

/// A comparison by `==`, `<` or `<=`, with the sides of `==` in alphabetical order.
fn compared(relation: Relation, left: String, right: String, negated: bool) -> Node {
    let (sign, swapped, negated) = match (relation, negated) {
        (Relation::Equal, negated) => ("==", left > right, negated),
        (Relation::NotEqual, negated) => ("==", left > right, !negated),
        (Relation::Less, false) | (Relation::GreaterOrEqual, true) => ("<", false, false),
        (Relation::Greater, false) | (Relation::LessOrEqual, true) => ("<", true, false),
        (Relation::LessOrEqual, false) | (Relation::Greater, true) => ("<=", false, false),
        (Relation::GreaterOrEqual, false) | (Relation::Less, true) => ("<=", true, false),
    };
    let (left, right) = if swapped { (right, left) } else { (left, right) };
    test(format!("({left} {sign} {right})"), negated)
}

/// A predicate as unambiguous text.
fn predicate(of: &Predicate) -> String {
    fn shown(node: &Node, out: &mut String) {
        let (name, parts) = match node {
            Node::Constant(value) => return out.push_str(if *value { "true" } else { "false" }),
            Node::Test { text, negated } => {
                out.push_str(if *negated { "!" } else { "" });
                return out.push_str(text);
            }
            Node::All(parts) => ("all", parts),
            Node::Any(parts) => ("any", parts),
        };
        out.push_str(name);
        out.push('(');
        for part in parts {
            shown(part, out);
            out.push(',');
        }
        out.push(')');
    }
    let mut out = String::new();
    shown(&node(of, false), &mut out);
    out
}

fn tested(of: &Predicate) -> String {
    match of {
        Predicate::Same(sides) => {
            let mut sides = [predicate(&sides[0]), predicate(&sides[1])];
            sides.sort();
            format!("same({},{})", sides[0], sides[1])
        }
        Predicate::Choice(parts) => {
            let (of, yes, no) = &**parts;
            format!("({} ? {} : {})", predicate(of), predicate(yes), predicate(no))
        }
        Predicate::Part(part, sides) => {
            format!("{part:?}({},{})", text(&sides[0]), text(&sides[1]))
        }
        Predicate::Matches(parts, _) => {
            format!("matches({},{:?})", text(&parts.0), parts.1.regex.as_str())
        }
        Predicate::Present(of) => format!("has({})", text(of)),
        // `node` handles the others.
        other => predicate(other),
    }
}

fn text(of: &Text) -> String {
    match of {
        Text::Constant(value) => format!("{value:?}"),
        // Both read the same header in the same way.
        Text::Attribute(TextAttribute::UserAgent, _) => "header(\"user-agent\")".to_owned(),
        Text::Attribute(attribute, _) => format!("{attribute:?}"),
        Text::Header(name, _) => format!("header({name:?})"),
        Text::Joined(sides, _) => format!("({}+{})", text(&sides[0]), text(&sides[1])),
        Text::Changed(change, of, _) => format!("{change:?}({})", text(of)),
        Text::Number(of) => format!("string({})", number(of)),
        Text::Item(parts, _) => format!("{}[{}]", texts(&parts.0), number(&parts.1)),
        Text::Choice(parts) => {
            let (of, yes, no) = &**parts;
            format!("({} ? {} : {})", predicate(of), text(yes), text(no))
        }
    }
}

fn number(of: &Number) -> String {
    match of {
        Number::Constant(value) => value.to_string(),
        Number::Attribute(attribute) => format!("{attribute:?}"),
        Number::Characters(of) => format!("characters({})", text(of)),
        Number::Items(of) => format!("items({})", texts(of)),
        Number::Parsed(of, _) => format!("int({})", text(of)),
        Number::Negated(of, _) => format!("-({})", number(of)),
        Number::Calculated(calculation, sides, _) => {
            format!("{calculation:?}({},{})", number(&sides[0]), number(&sides[1]))
        }
        Number::Choice(parts) => {
            let (of, yes, no) = &**parts;
            format!("({} ? {} : {})", predicate(of), number(yes), number(no))
        }
    }
}

fn texts(of: &Texts) -> String {
    match of {
        Texts::Listed(items) => {
            let mut list = String::from("[");
            for item in items {
                _ = write!(list, "{},", text(item));
            }
            list + "]"
        }
        Texts::Split(of, by) => format!("split({},{by:?})", text(of)),
    }
}
