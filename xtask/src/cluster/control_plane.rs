//! etcd, API server, scheduler and controllers, one of each: no leader elections, and no waiting
//! for the disk.

use std::process::Command;

use anyhow::Result;

use super::{
    Families, Part, State,
    addresses::{API_PORT, ETCD_PEER_PORT, ETCD_PORT, FIRST_NODE, PODS, SERVICES},
};
use crate::run;

/// Starts what the other parts need, and returns at once.
pub(crate) fn start_store(state: &State, families: Families) -> Result<()> {
    let data = state.join("etcd");
    let (client, peer) =
        (format!("http://127.0.0.1:{ETCD_PORT}"), format!("http://127.0.0.1:{ETCD_PEER_PORT}"));
    part(
        state,
        "etcd",
        "etcd",
        &[
            format!("--data-dir={}", data.display()),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ],
    )?;
    let pki = state.join("pki");
    let pki = pki.display();
    part(
        state,
        "apiserver",
        "kube-apiserver",
        &[
            format!("--etcd-servers={client}"),
            format!("--bind-address={FIRST_NODE}"),
            format!("--advertise-address={FIRST_NODE}"),
            format!("--secure-port={API_PORT}"),
            format!("--service-cluster-ip-range={}", families.list(SERVICES)),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--profiling=false".to_owned(),
            format!("--client-ca-file={pki}/ca.crt"),
            format!("--tls-cert-file={pki}/apiserver.crt"),
            format!("--tls-private-key-file={pki}/apiserver.key"),
            format!("--kubelet-client-certificate={pki}/kubelet-client.crt"),
            format!("--kubelet-client-key={pki}/kubelet-client.key"),
            format!("--kubelet-certificate-authority={pki}/ca.crt"),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--requestheader-client-ca-file={pki}/front-ca.crt"),
            "--requestheader-allowed-names=front-proxy-client".to_owned(),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={pki}/sa.pub"),
            format!("--service-account-signing-key-file={pki}/sa.key"),
        ],
    )
    .map(drop)
}

/// Waits for the API, and starts the parts that use it.
pub(crate) fn start_controllers(state: &State, families: Families) -> Result<()> {
    wait_for_api(state)?;
    let as_client = |who: &str| {
        let kubeconfig = state.kubeconfig(who);
        let mut arguments = ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
            .map(|flag| format!("--{flag}={}", kubeconfig.display()))
            .to_vec();
        arguments.extend(["--bind-address=127.0.0.1", "--leader-elect=false"].map(str::to_owned));
        // With the default of 20 requests a second, the first service account of a namespace is
        // late.
        arguments.extend(["--kube-api-qps=200", "--kube-api-burst=400"].map(str::to_owned));
        arguments
    };
    part(state, "scheduler", "kube-scheduler", &as_client("scheduler"))?;
    let pki = state.join("pki");
    let pki = pki.display();
    let mut arguments = as_client("controllers");
    arguments.extend([
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={pki}/sa.key"),
        format!("--root-ca-file={pki}/ca.crt"),
        format!("--cluster-signing-cert-file={pki}/ca.crt"),
        format!("--cluster-signing-key-file={pki}/ca.key"),
        format!("--cluster-cidr={}", families.list(PODS)),
        format!("--service-cluster-ip-range={}", families.list(SERVICES)),
        format!("--flex-volume-plugin-dir={}", state.join("volume-plugins").display()),
    ]);
    part(state, "controllers", "kube-controller-manager", &arguments).map(drop)
}

pub(crate) fn wait_for_api(state: &State) -> Result<()> {
    Part::named(state, "apiserver")?.wait_until("the API server to be ready", || {
        // This needs no credentials. Starting kubectl would take longer than the whole request.
        let mut ask = Command::new("curl");
        ask.args(["--silent", "--fail", "--max-time", "5", "--cacert"])
            .arg(state.join("pki/ca.crt"));
        ask.arg(format!("https://{FIRST_NODE}:{API_PORT}/readyz"));
        Ok(run::output(&mut ask).is_ok())
    })
}

fn part(state: &State, name: &str, program: &str, arguments: &[String]) -> Result<Part> {
    Part::start(state, name, Command::new(state.bin(program)).args(arguments))
}
