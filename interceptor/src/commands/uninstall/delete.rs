//! Deletions of objects that may be gone already.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};

/// Deletes a pod's object without waiting for its node.
pub(super) async fn delete_by_force(pods: &Api<Pod>, name: &str, uid: &str) -> Result<()> {
    let only_this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let params = DeleteParams::default().grace_period(0).preconditions(only_this);
    match pods.delete(name, &params).await {
        // Another pod has its name.
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
        deleted => existed(deleted).map(drop),
    }
    .with_context(|| format!("delete the pod {name} by force"))
}

/// Whether the deleted object existed. Other errors stay errors.
pub(super) fn existed<T>(deleted: kube::Result<T>) -> kube::Result<bool> {
    match deleted {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
