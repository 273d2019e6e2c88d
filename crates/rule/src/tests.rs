//! The language as its users see it: tables of good and bad rules, and properties that hold for any text.

mod bad;
mod good;
mod properties;
