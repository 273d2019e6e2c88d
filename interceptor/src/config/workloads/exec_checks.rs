//! The `exec` probes and hooks of a pod: processes inside its containers, which may connect to its
//! ports.

use std::{fmt, sync::Arc};

/// The containers of a pod that has `exec` probes or hooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecChecks {
    /// The containers that have some. Empty for a pod without them.
    pub containers: Vec<CheckedContainer>,
    /// The ids of all other containers, as far as they are known.
    pub others: Vec<ContainerId>,
}

/// A container with `exec` probes or hooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedContainer {
    /// Its name.
    pub name: Arc<str>,
    /// The id of its last start, if the kubelet has reported it. Each restart gives it another.
    pub id: Option<ContainerId>,
    /// What it has. At least one.
    pub checks: Vec<ExecCheck>,
    /// Whether connections from this container go to the app. A container that has only hooks is
    /// spared while they may run: a mesh's proxy often has some, and relays its clients' traffic
    /// for all the time after.
    pub is_spared: bool,
}

/// A kind of probe or hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecCheck {
    /// `livenessProbe`
    Liveness,
    /// `readinessProbe`
    Readiness,
    /// `startupProbe`
    Startup,
    /// `lifecycle.postStart`
    PostStart,
    /// `lifecycle.preStop`
    PreStop,
}

/// The id that a runtime gave a container: hexadecimal digits, which also name its cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerId(Arc<str>);

// === impl ExecChecks ===

impl ExecChecks {
    /// The ids of all containers, as far as they are known.
    pub fn ids(&self) -> impl Iterator<Item = &ContainerId> {
        self.containers.iter().filter_map(|container| container.id.as_ref()).chain(&self.others)
    }
}

impl fmt::Display for ExecChecks {
    /// As the subject of a sentence: `container web: its exec liveness probe`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, container) in self.containers.iter().enumerate() {
            let begin = if n == 0 { "" } else { "; " };
            let checks = container.checks.iter().map(ToString::to_string).collect::<Vec<_>>();
            write!(f, "{begin}container {}: its exec {}", container.name, checks.join(" and "))?;
        }
        Ok(())
    }
}

// === impl CheckedContainer ===

impl CheckedContainer {
    /// Whether one of its checks may run before the kubelet has reported the container's id.
    #[must_use]
    pub fn is_checked_early(&self) -> bool {
        self.checks.iter().any(|check| check.is_probe() || *check == ExecCheck::PostStart)
    }
}

// === impl ExecCheck ===

impl ExecCheck {
    /// Whether it runs again and again.
    #[must_use]
    pub fn is_probe(self) -> bool {
        match self {
            Self::Liveness | Self::Readiness | Self::Startup => true,
            Self::PostStart | Self::PreStop => false,
        }
    }
}

impl fmt::Display for ExecCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Liveness => "liveness probe",
            Self::Readiness => "readiness probe",
            Self::Startup => "startup probe",
            Self::PostStart => "postStart hook",
            Self::PreStop => "preStop hook",
        })
    }
}

// === impl ContainerId ===

impl ContainerId {
    /// Minimum length of an id. A shorter one might be a part of another folder's name.
    const MIN_LENGTH: usize = 32;

    /// Reads an id as the pod's status has it: `containerd://<id>`.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let (_, id) = text.split_once("://")?;
        let is_id = id.len() >= Self::MIN_LENGTH && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| Self(id.into()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[rstest]
    #[case(format!("containerd://{ID}"), Some(ID))]
    #[case(format!("cri-o://{ID}"), Some(ID))]
    #[case("containerd://", None)]
    #[case("containerd://../../system.slice/0123456789abcdef", None)]
    #[case(ID.to_owned(), None)]
    fn a_container_id_is_a_long_number(#[case] text: String, #[case] id: Option<&str>) {
        assert_eq!(ContainerId::new(&text).as_ref().map(ContainerId::as_str), id);
    }

    #[test]
    fn checks_are_named_with_their_containers() {
        let container = |name: &str, checks: &[ExecCheck]| CheckedContainer {
            name: name.into(),
            id: None,
            checks: checks.to_vec(),
            is_spared: true,
        };
        let containers = vec![
            container("web", &[ExecCheck::Liveness, ExecCheck::PostStart]),
            container("proxy", &[ExecCheck::Startup]),
        ];
        let checks = ExecChecks { containers, others: Vec::new() };
        assert_eq!(
            checks.to_string(),
            "container web: its exec liveness probe and postStart hook; container proxy: its exec \
             startup probe"
        );
    }
}
