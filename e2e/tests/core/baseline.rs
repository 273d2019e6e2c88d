//! The ground that the other tests stand on: pods of all kinds serve, by all ways, without anything of ours.

use anyhow::Result;
use interceptor_e2e::{Kind, Manifest, Pod, Probe, run};

#[test]
fn pods_of_every_kind_serve_without_us() {
    run("ground", |f| {
        let workloads = [
            Manifest::new(Kind::Deployment, "web").replicas(2),
            Manifest::new(Kind::StatefulSet, "store").probe(Probe::Grpc),
            Manifest::new(Kind::DaemonSet, "agent").probe(Probe::Tcp),
            Manifest::new(Kind::Job, "work").probe(Probe::Http),
            Manifest::new(Kind::Pod, "bare").ports(&[8080, 9090]),
            Manifest::new(Kind::Pod, "host").ports(&[18099]).host_network(),
        ];
        let workloads =
            workloads.map(|manifest| f.start(manifest)).into_iter().collect::<Result<Vec<_>>>()?;
        for workload in &workloads {
            for pod in workload.pods()? {
                assert_eq!(pod.who()?, pod.name());
                assert_eq!((pod.active()?, pod.events()?.len()), (None, 0));
            }
        }
        let web = &workloads[0];
        let pods = web.pods()?;
        for way in [web.cluster_ip()?, web.node_port()?] {
            f.wait_answering(way)?;
            let who = f.ask(way)?.tag;
            assert!(pods.iter().any(|pod| pod.name() == who), "{who}");
        }
        let callers = f.callers_of(&pods.iter().map(Pod::address).collect::<Vec<_>>())?;
        callers.wait_for_calls(100)?;
        assert_eq!(pods[0].exec(&["hostname"])?.trim(), pods[0].name());
        callers.stop().assert_none_failed();
        Ok(())
    });
}
