//! Tests of the language as users see it: tables of valid and invalid rules, and properties of any
//! text.

mod bad;
mod good;
mod newcomers;
mod properties;
