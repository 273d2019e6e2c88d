//! The node daemon as a library.
pub mod datapath;
pub mod netns;
