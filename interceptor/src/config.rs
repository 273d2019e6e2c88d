//! What people configure: the workloads of the stand-alone mode, the annotations on them, and the admin's
//! limits.
//!
//! Text becomes types here and nowhere else; each mistake is answered with its place in the file. Nothing
//! here knows the network, and only the `read` functions do I/O.
//!
//! - [`workloads`]: the file of `--workloads`
//! - [`annotation`]: which annotations are ours and what they say; the same on pods and in that file
//! - [`policy`]: the file of `--policy`
//! - [`yaml`]: what both files have in common

pub mod annotation;
pub mod policy;
pub mod workloads;
pub mod yaml;
