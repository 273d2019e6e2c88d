//! A workload, its pods and its Service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::wait_until;

use crate::{Cluster, LONG_TIMEOUT, Manifest, Pod, pod::is_ready};

/// The addresses of the first node, which clients use for node ports.
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));
const NODE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd3e, 0x9c51, 0xa7d2, 0x99, 0, 0, 0, 1));

/// A Deployment, StatefulSet, DaemonSet, Job or bare pod.
#[derive(Clone, Debug)]
pub struct Workload {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
    pub(crate) manifest: Manifest,
}

impl Workload {
    /// All pods of the workload, once they are ready, ordered by name.
    pub fn pods(&self) -> Result<Vec<Pod>> {
        let wanted = match self.manifest.kind {
            crate::Kind::DaemonSet if self.manifest.node.is_none() => self.cluster.nodes()?.len(),
            _ => self.manifest.replicas,
        };
        wait_until(&format!("{wanted} ready pods of {}", self.manifest.name), LONG_TIMEOUT, || {
            let pods = self.list()?;
            let alive = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
            let (ready, others): (Vec<_>, Vec<_>) = alive.partition(|pod| is_ready(pod));
            ensure!(
                ready.len() == wanted && others.is_empty(),
                "{} ready, {} not",
                ready.len(),
                others.len()
            );
            ready.into_iter().map(|pod| Pod::new(&self.cluster, pod)).collect()
        })
    }

    /// The only pod of the workload, once it is ready.
    pub fn pod(&self) -> Result<Pod> {
        let [pod] = self.pods()?.try_into().ok().context("the workload has more than one pod")?;
        Ok(pod)
    }

    /// The first pod of the workload, ready or not.
    pub fn first_pod(&self) -> Result<Pod> {
        let pods = self.list()?;
        Pod::new(&self.cluster, pods.first().context("the workload has no pod yet")?)
    }

    /// All pods of the workload, ready or not, ordered by name.
    pub fn list(&self) -> Result<Vec<Value>> {
        let app = format!("app={}", self.manifest.name);
        let pods =
            self.cluster.get(&["--namespace", &self.namespace, "pods", "--selector", &app])?;
        Ok(pods["items"].as_array().cloned().unwrap_or_default())
    }

    /// Annotates all pods by one command: `key=value`, or `key-` to remove.
    pub fn annotate(&self, annotation: &str) -> Result<()> {
        let app = format!("--selector=app={}", self.manifest.name);
        let words = ["annotate", "pods", "--namespace", &self.namespace, &app, annotation];
        self.cluster.kubectl(&words).map(drop)
    }

    /// The cluster address of the Service.
    pub fn cluster_ip(&self) -> Result<SocketAddr> {
        let ip = self.service()?["spec"]["clusterIP"].as_str().unwrap_or_default().parse();
        Ok(SocketAddr::new(ip.context("the Service has no address")?, 80))
    }

    /// The node port of the Service, on the first node.
    pub fn node_port(&self) -> Result<SocketAddr> {
        Ok(SocketAddr::new(NODE, node_port(&self.service()?)?))
    }

    /// All addresses of the Service: cluster addresses and node ports, of both families.
    pub fn service_addresses(&self) -> Result<Vec<SocketAddr>> {
        let service = self.service()?;
        let ips =
            service.pointer("/spec/clusterIPs").and_then(Value::as_array).into_iter().flatten();
        let ips = ips
            .filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok())
            .map(|ip| SocketAddr::new(ip, 80));
        let port = node_port(&service)?;
        Ok(ips.chain([NODE, NODE6].map(|node| SocketAddr::new(node, port))).collect())
    }

    fn service(&self) -> Result<Value> {
        self.cluster.get(&["--namespace", &self.namespace, "service", &self.manifest.name])
    }
}

fn node_port(service: &Value) -> Result<u16> {
    let port = service.pointer("/spec/ports/0/nodePort").and_then(Value::as_u64);
    Ok(port.context("the Service has no node port")?.try_into()?)
}
