//! The standard health service.

use anyhow::Context as _;
use tonic_health::{ServingStatus, pb::HealthCheckRequest};

use crate::fixture::run;

#[test]
fn metadata_selects_the_server_whose_health_is_reported() {
    run("grpc-health", |f| {
        let (app, target) = (f.app()?, f.target()?);
        f.run_health_client(async |mut health, client| {
            let request = || HealthCheckRequest::default();
            let mut watched = Vec::new();
            for client in [&client.debug(false), &client.debug(true)] {
                let mut watch = health.watch(client.request(request())).await?.into_inner();
                assert_eq!(
                    watch.message().await?.context("the end")?.status,
                    ServingStatus::Serving as i32
                );
                watched.push(watch);
            }
            target.health.send(ServingStatus::NotServing)?;
            let change = watched[1].message().await?.context("the end")?;
            assert_eq!(change.status, ServingStatus::NotServing as i32);
            for (is_debug, status) in
                [(false, ServingStatus::Serving), (true, ServingStatus::NotServing)]
            {
                let client = client.debug(is_debug);
                let answer = health.check(client.request(request())).await?.into_inner();
                assert_eq!(answer.status, status as i32);
            }
            app.health.send(ServingStatus::NotServing)?;
            let change = watched[0].message().await?.context("the end")?;
            assert_eq!(change.status, ServingStatus::NotServing as i32);
            Ok(())
        })
    });
}
