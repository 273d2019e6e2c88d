//! Configuration: the workloads of the stand-alone mode, annotations, and the admin's policy.
//!
//! Text becomes types here and nowhere else. Each error has the place of its mistake. Nothing here
//! uses the network, and only the `read` functions do I/O.
//!
//! ```text
//! workloads.rs    the file of `--workloads`, and the flag `--netns`
//! annotation.rs   the rules in an annotation, of a pod or of that file
//! policy.rs       the file of `--policy`
//! yaml.rs         reads YAML files and finds the places of mistakes; used by both files
//! ```

pub mod annotation;
pub mod policy;
pub mod workloads;
pub mod yaml;
