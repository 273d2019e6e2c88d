//! Manifests of workloads. The container of each runs the cluster's own server, which answers with
//! the name of its pod.

use std::fmt::Write as _;

/// The kind of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Deployment, with a Service that also has a node port.
    Deployment,
    /// A StatefulSet, with a Service.
    StatefulSet,
    /// A DaemonSet: one pod on each node.
    DaemonSet,
    /// A Job that never completes.
    Job,
    /// A pod without a controller.
    Pod,
}

/// How kubelet probes the app, every second. After three failures it restarts the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `GET /live`
    Http,
    /// The gRPC health service.
    Grpc,
    /// A TCP connection.
    Tcp,
    /// A command in the container, which calls the app.
    Exec,
}

/// The command of an `exec` check: `GET /<word>` on the app, for as long as an app may take to
/// listen.
fn call(port: u16, word: &str) -> String {
    let call = format!("timeout 2 wget -qO- http://127.0.0.1:{port}/{word}");
    let script = format!("for n in 1 2 3 4 5 6 7 8; do {call} && exit 0; sleep 0.2; done; exit 1");
    format!("exec: {{command: [sh, -c, {script:?}]}}")
}

/// The manifest of a workload.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) replicas: usize,
    pub(crate) ports: Vec<u16>,
    pub(crate) declares_ports: bool,
    pub(crate) probe: Option<Probe>,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) host_network: bool,
    pub(crate) own_users: bool,
    pub(crate) node: Option<String>,
    pub(crate) init: Option<String>,
    pub(crate) dual_stack: bool,
    pub(crate) hooks: bool,
    pub(crate) sidecar: bool,
}

impl Manifest {
    /// A workload of one pod that serves on port 8080.
    pub fn new(kind: Kind, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            replicas: 1,
            ports: vec![8080],
            declares_ports: true,
            probe: None,
            annotations: Vec::new(),
            host_network: false,
            own_users: false,
            node: None,
            init: None,
            dual_stack: false,
            hooks: false,
            sidecar: false,
        }
    }

    /// Sets the number of pods of a Deployment or a StatefulSet.
    pub fn replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }

    /// Sets the ports that the app listens on.
    pub fn ports(self, ports: &[u16]) -> Self {
        Self { ports: ports.to_vec(), ..self }
    }

    /// Leaves the ports out of the pod's spec.
    pub fn declares_no_ports(self) -> Self {
        Self { declares_ports: false, ..self }
    }

    /// Adds a liveness and a readiness probe of this kind.
    pub fn probe(self, probe: Probe) -> Self {
        Self { probe: Some(probe), ..self }
    }

    /// Adds a startup probe, and hooks at start and end. They are commands that call `/startup`,
    /// `/start` and `/stop` of the app.
    pub fn hooks(self) -> Self {
        Self { hooks: true, ..self }
    }

    /// Adds a second container that does nothing, for `kubectl exec`.
    pub fn sidecar(self) -> Self {
        Self { sidecar: true, ..self }
    }

    /// Adds an annotation to the pod template.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Puts the pod into the node's network namespace.
    pub fn host_network(self) -> Self {
        Self { host_network: true, ..self }
    }

    /// Gives the pod a user namespace of its own.
    pub fn own_users(self) -> Self {
        Self { own_users: true, ..self }
    }

    /// Puts the pods on this node.
    pub fn on(self, node: &str) -> Self {
        Self { node: Some(node.to_owned()), ..self }
    }

    /// Adds a shell script that has to end before the app starts.
    pub fn after(self, script: &str) -> Self {
        Self { init: Some(script.to_owned()), ..self }
    }

    /// Gives the Service an address of each family.
    pub fn dual_stack(self) -> Self {
        Self { dual_stack: true, ..self }
    }

    /// The manifest as YAML.
    pub(crate) fn yaml(&self) -> String {
        let Self { kind, name, replicas, .. } = self;
        let head = |api: &str, kind: &str| {
            format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}}}\n")
        };
        let select = format!("  selector: {{matchLabels: {{app: {name}}}}}\n");
        let template = format!("  template:\n{}", indented(&self.pod(), 4));
        match kind {
            Kind::Pod => format!(
                "apiVersion: v1\nkind: Pod\n{}",
                self.pod().replacen("metadata:\n", &format!("metadata:\n  name: {name}\n"), 1)
            ),
            Kind::Deployment => {
                head("apps/v1", "Deployment")
                    + &format!(
                        "spec:\n  replicas: {replicas}\n{select}{template}{}",
                        self.service("NodePort")
                    )
            }
            Kind::StatefulSet => {
                head("apps/v1", "StatefulSet")
                    + &format!(
                        "spec:\n  replicas: {replicas}\n  serviceName: {name}\n  \
                         podManagementPolicy: Parallel\n{select}{template}{}",
                        self.service("ClusterIP"),
                    )
            }
            Kind::DaemonSet => head("apps/v1", "DaemonSet") + &format!("spec:\n{select}{template}"),
            Kind::Job => {
                head("batch/v1", "Job") + &format!("spec:\n{template}      restartPolicy: Never\n")
            }
        }
    }

    fn pod(&self) -> String {
        let mut pod = format!("metadata:\n  labels: {{app: {}}}\n", self.name);
        if !self.annotations.is_empty() {
            pod += "  annotations:\n";
            for (key, value) in &self.annotations {
                let _ = writeln!(pod, "    {key}: {value:?}");
            }
        }
        // The cluster has no DNS.
        pod += "spec:\n  terminationGracePeriodSeconds: 5\n  dnsPolicy: Default\n";
        if self.host_network {
            pod += "  hostNetwork: true\n";
        }
        if self.own_users {
            pod += "  hostUsers: false\n";
        }
        if let Some(node) = &self.node {
            let _ = writeln!(pod, "  nodeSelector: {{kubernetes.io/hostname: {node}}}");
        }
        if let Some(script) = &self.init {
            let _ = writeln!(
                pod,
                "  initContainers:\n    - {{name: first, image: 'localhost/guest:1', \
                 imagePullPolicy: Never, command: [sh, -c, {script:?}]}}"
            );
        }
        let ports = self
            .ports
            .iter()
            .map(|port| format!("{:?}", port.to_string()))
            .collect::<Vec<_>>()
            .join(", ");
        let _ = write!(
            pod,
            "  containers:
    - name: app
      image: localhost/guest:1
      imagePullPolicy: Never
      args: [{ports}]
      env:
        - {{name: NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        - {{name: LINGER, value: '2'}}
      resources: {{requests: {{cpu: 1m, memory: 4Mi}}}}
"
        );
        if self.declares_ports {
            let ports = self
                .ports
                .iter()
                .map(|port| format!("{{containerPort: {port}}}"))
                .collect::<Vec<_>>();
            let _ = writeln!(pod, "      ports: [{}]", ports.join(", "));
        }
        let port = self.ports[0];
        if let Some(probe) = self.probe {
            let action = match probe {
                Probe::Http => format!("httpGet: {{path: /live, port: {port}}}"),
                Probe::Grpc => format!("grpc: {{port: {port}}}"),
                Probe::Tcp => format!("tcpSocket: {{port: {port}}}"),
                Probe::Exec => {
                    format!("exec: {{command: [wget, -qO-, 'http://127.0.0.1:{port}/live']}}")
                }
            };
            // Starting a command takes longer.
            let timeout = if probe == Probe::Exec { 2 } else { 1 };
            for which in ["livenessProbe", "readinessProbe"] {
                let _ = writeln!(
                    pod,
                    "      {which}: {{{action}, periodSeconds: 1, timeoutSeconds: {timeout}, \
                     failureThreshold: 3}}"
                );
            }
        } else if !self.host_network {
            let _ = writeln!(
                pod,
                "      readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}"
            );
        }
        if self.hooks {
            let (startup, start, stop) =
                (call(port, "startup"), call(port, "start"), call(port, "stop"));
            let _ = writeln!(
                pod,
                "      startupProbe: {{{startup}, periodSeconds: 1, timeoutSeconds: 4, \
                 failureThreshold: 3}}\n      lifecycle: {{postStart: {{{start}}}, preStop: \
                 {{{stop}}}}}"
            );
        }
        if self.sidecar {
            pod += "    - {name: sidecar, image: 'localhost/guest:1', imagePullPolicy: Never, \
                    command: [sleep, '3600']}\n";
        }
        pod
    }

    fn service(&self, kind: &str) -> String {
        let Self { name, ports, .. } = self;
        let families = if self.dual_stack { "ipFamilyPolicy: RequireDualStack, " } else { "" };
        format!(
            "---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  {{type: {kind}, {families}selector: {{app: {name}}}, ports: [{{port: 80, targetPort: {}}}]}}
",
            ports[0]
        )
    }
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}
