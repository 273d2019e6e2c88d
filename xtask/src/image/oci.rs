//! The archive: a tar file in the OCI image layout, with one image of one layer.
//!
//! The documents in it are plain types here. The crate `oci-spec` also has them, but brings two
//! dozen other crates, which every first `cargo xtask` would compile.
//!
//! Nothing in it depends on time or user, and everything is sorted.

use std::{collections::BTreeMap, fmt};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::rootfs::{self, Rootfs};
use crate::{
    arch::Arch,
    archive::{gzip, tar},
};

pub(crate) const LAYOUT_VERSION: &str = "1.0.0";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The name of the image for containerd.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The tag, for other tools.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The properties of an image beyond its files.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) arch: Arch,
    pub(crate) reference: Reference,
    pub(crate) labels: Vec<(&'static str, String)>,
}

/// The name of an image for users.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) tag: String,
}

/// `oci-layout`
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layout {
    pub(crate) image_layout_version: String,
}

/// `index.json`
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

/// The parts of an image.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// Points to a file below `blobs`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
}

/// How to start a container of the image, and the checksums of its unpacked layers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Config {
    #[serde(flatten)]
    pub(crate) platform: Platform,
    pub(crate) config: Process,
    pub(crate) rootfs: Layers,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Process {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Layers {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) diff_ids: Vec<String>,
}

// === impl Image ===

impl Image {
    pub(crate) fn entrypoint() -> Vec<String> {
        vec![format!("/{}", rootfs::DAEMON)]
    }

    pub(crate) fn platform(&self) -> Platform {
        Platform { architecture: self.arch.oci().into(), os: "linux".into() }
    }

    /// The archive of the image with these files.
    pub(crate) fn archive(&self, rootfs: &Rootfs) -> Result<Vec<u8>> {
        let layer = tar(rootfs.entries())?;
        let packed = gzip(&layer)?;
        let config = serde_json::to_vec(&Config {
            platform: self.platform(),
            config: Process {
                entrypoint: Self::entrypoint(),
                labels: self
                    .labels
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), value.clone()))
                    .collect(),
            },
            rootfs: Layers { kind: "layers".into(), diff_ids: vec![digest(&layer)] },
        })?;
        let manifest = serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: MANIFEST.into(),
            config: Descriptor::new(CONFIG, &config),
            layers: vec![Descriptor::new(LAYER, &packed)],
        })?;
        let index = serde_json::to_vec(&Index {
            schema_version: 2,
            media_type: INDEX.into(),
            manifests: vec![Descriptor {
                platform: Some(self.platform()),
                annotations: BTreeMap::from([
                    (CONTAINERD_NAME.into(), self.reference.to_string()),
                    (REF_NAME.into(), self.reference.tag.clone()),
                ]),
                ..Descriptor::new(MANIFEST, &manifest)
            }],
        })?;
        let layout = serde_json::to_vec(&Layout { image_layout_version: LAYOUT_VERSION.into() })?;

        let mut files = Rootfs::default();
        files.add("oci-layout", 0o644, layout);
        files.add("index.json", 0o644, index);
        for blob in [config, manifest, packed] {
            files.add(&blob_path(&digest(&blob)), 0o644, blob);
        }
        tar(files.entries())
    }
}

// === impl Reference ===

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

// === impl Descriptor ===

impl Descriptor {
    fn new(media_type: &str, blob: &[u8]) -> Self {
        Self {
            media_type: media_type.into(),
            digest: digest(blob),
            size: blob.len() as u64,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

pub(crate) fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}
