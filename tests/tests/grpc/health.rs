//! The standard health service.

use anyhow::Context as _;
use tonic_health::{ServingStatus, pb::HealthCheckRequest};

use crate::fixture::run;

#[test]
fn health_is_that_of_whoever_is_asked() {
    run("grpc-health", |f| {
        let (app, target) = (f.app()?, f.target()?);
        f.calling_health(async |mut client, debug| {
            let request = || HealthCheckRequest::default();
            let mut watched = Vec::new();
            for caller in [&debug.debug(false), &debug.debug(true)] {
                let mut watch = client.watch(caller.request(request())).await?.into_inner();
                assert_eq!(
                    watch.message().await?.context("the end")?.status,
                    ServingStatus::Serving as i32
                );
                watched.push(watch);
            }
            target.health.send(ServingStatus::NotServing)?;
            let told = watched[1].message().await?.context("the end")?;
            assert_eq!(told.status, ServingStatus::NotServing as i32);
            for (is_debug, status) in
                [(false, ServingStatus::Serving), (true, ServingStatus::NotServing)]
            {
                let caller = debug.debug(is_debug);
                let health = client.check(caller.request(request())).await?.into_inner();
                assert_eq!(health.status, status as i32);
            }
            app.health.send(ServingStatus::NotServing)?;
            let told = watched[0].message().await?.context("the end")?;
            assert_eq!(told.status, ServingStatus::NotServing as i32);
            Ok(())
        })
    });
}
