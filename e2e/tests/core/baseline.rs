//! The baseline: pods of all kinds serve, at all their addresses, without the product.

use anyhow::Result;
use interceptor_e2e::{Kind, Manifest, Pod, Probe, run};

#[test]
fn pods_of_every_kind_serve_without_the_product() {
    run("baseline", |f| {
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
                assert_eq!(pod.served_by()?, pod.name());
                assert_eq!((pod.active()?, pod.events()?.len()), (None, 0));
            }
        }
        let web = &workloads[0];
        let pods = web.pods()?;
        for address in [web.cluster_ip()?, web.node_port()?] {
            f.wait_answering(address)?;
            let server = f.ask(address)?.tag;
            assert!(pods.iter().any(|pod| pod.name() == server), "{server}");
        }
        let load = f.load_on(&pods.iter().map(Pod::address).collect::<Vec<_>>())?;
        load.wait_for_calls(100)?;
        assert_eq!(pods[0].exec(&["hostname"])?.trim(), pods[0].name());
        load.stop().assert_none_failed();
        Ok(())
    });
}
