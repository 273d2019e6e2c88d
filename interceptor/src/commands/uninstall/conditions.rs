//! Removes the conditions that daemons have left on pods: those of a node that is away, or of a
//! daemon that was killed for good.
//!
//! Conditions of another release of interceptor are removed as well. Its daemons see that and write
//! them again within seconds.

use anyhow::{Context as _, Result};
use interceptor_api::ConditionType;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Maximum number of pods in one answer of the API server.
const PAGE: u32 = 500;

/// Removes every condition of interceptor from every pod. Returns the number of these pods.
///
/// # Errors
/// The API server refuses a request or does not answer.
pub(super) async fn remove(client: &Client) -> Result<usize> {
    let all = Api::<Pod>::all(client.clone());
    let mut cleaned = 0;
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = all.list(&params).await.context("list the pods of all namespaces")?;
        for pod in &page.items {
            let Some(patch) = removal(pod) else { continue };
            let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
            let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
            let patched =
                pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            match patched {
                Ok(_) => cleaned += 1,
                // The pod is gone, or another one has its name.
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("remove conditions from {namespace}/{name}"));
                }
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = ListParams::default().limit(PAGE).continue_token(&token),
            None => return Ok(cleaned),
        }
    }
}

/// The patch that removes the conditions of interceptor from a pod. `None` if it has none.
///
/// A condition is removed by its type, so the kubelet may change the others meanwhile.
fn removal(pod: &Pod) -> Option<Value> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ours = conditions.iter().filter(|condition| ConditionType::is_ours(&condition.type_));
    let removed: Vec<_> =
        ours.map(|condition| json!({ "type": condition.type_, "$patch": "delete" })).collect();
    (!removed.is_empty()).then(
        || json!({ "metadata": { "uid": pod.metadata.uid }, "status": { "conditions": removed } }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::fake::{client, not_found};

    fn pod(name: &str, conditions: &[&str]) -> Value {
        let conditions: Vec<_> =
            conditions.iter().map(|type_| json!({ "type": type_, "status": "True" })).collect();
        json!({
            "metadata": { "namespace": "shop", "name": name, "uid": format!("uid-{name}") },
            "status": { "conditions": conditions },
        })
    }

    #[test]
    fn only_conditions_of_interceptor_are_removed() {
        let pod = pod("web", &["Ready", "debug.redirect/Active", "debug.redirect/Active-alice"]);
        let patch = removal(&serde_json::from_value(pod).expect("a pod")).expect("has conditions");
        let removed = |type_: &str| json!({ "type": type_, "$patch": "delete" });
        assert_eq!(
            patch,
            json!({
                "metadata": { "uid": "uid-web" },
                "status": { "conditions": [
                    removed("debug.redirect/Active"),
                    removed("debug.redirect/Active-alice"),
                ] },
            })
        );
    }

    #[tokio::test]
    async fn pods_of_every_page_are_cleaned_and_others_left_alone() {
        let (client, requests) = client(|request, before| match (request, before) {
            ("GET /api/v1/pods", 0) => (
                200,
                json!({
                    "metadata": { "continue": "more" },
                    "items": [pod("other", &["Ready"]), pod("a", &["debug.redirect/Active"])],
                }),
            ),
            ("GET /api/v1/pods", _) => (
                200,
                json!({
                    "metadata": {},
                    "items": [pod("b", &["debug.mirror/Active"]), pod("gone", &["debug.mirror/x"])],
                }),
            ),
            (request, _) if request.ends_with("/gone/status") => not_found(),
            _ => (200, pod("any", &[])),
        });
        assert_eq!(remove(&client).await.expect("the server answers"), 2);
        let patch = |name: &str| format!("PATCH /api/v1/namespaces/shop/pods/{name}/status");
        let list = || "GET /api/v1/pods".to_owned();
        assert_eq!(requests.all(), [list(), patch("a"), list(), patch("b"), patch("gone")]);
    }
}
