//! Certificates and kubeconfigs: an authority for the API, one for its aggregation layer, and a key
//! for service account tokens. They are valid for a month, and removed with the cluster.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{
    State,
    addresses::{API_PORT, API_SERVICE, FIRST_NODE},
    state::Node,
};
use crate::run;

const DAYS: &str = "30";

/// Makes the keys and certificates that are missing.
pub(crate) fn make(state: &State, nodes: &[Node]) -> Result<()> {
    let folder = state.join("pki");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let pki = Pki { state, folder: &folder };
    pki.authority("ca", "kubernetes-ca")?;
    pki.authority("front-ca", "front-proxy-ca")?;
    if !folder.join("sa.pub").exists() {
        pki.key("sa")?;
        pki.openssl(&["ec", "-in", "sa.key", "-pubout", "-out", "sa.pub"])?;
    }
    let names = format!(
        "IP:{FIRST_NODE},IP:{API_SERVICE},IP:127.0.0.1,DNS:localhost,DNS:kubernetes,\
         DNS:kubernetes.default,DNS:kubernetes.default.svc,\
         DNS:kubernetes.default.svc.cluster.local"
    );
    pki.certificate("apiserver", "/CN=kube-apiserver", &names)?;
    pki.certificate("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", "")?;
    for (who, subject) in [
        ("admin", "/O=system:masters/CN=admin"),
        ("controllers", "/CN=system:kube-controller-manager"),
        ("scheduler", "/CN=system:kube-scheduler"),
        ("proxy", "/CN=system:kube-proxy"),
    ] {
        pki.certificate(who, subject, "")?;
        pki.kubeconfig(who)?;
    }
    for Node { name, ip, ip6, .. } in nodes {
        let subject = format!("/O=system:nodes/CN=system:node:{name}");
        pki.certificate(name, &subject, &format!("DNS:{name},IP:{ip},IP:{ip6}"))?;
        pki.kubeconfig(name)?;
    }
    Ok(())
}

struct Pki<'a> {
    state: &'a State,
    folder: &'a Path,
}

impl Pki<'_> {
    fn authority(&self, name: &str, common_name: &str) -> Result<()> {
        if self.has(name) {
            return Ok(());
        }
        self.key(name)?;
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        let usage = "keyUsage=critical,keyCertSign,cRLSign,digitalSignature";
        let subject = format!("/CN={common_name}");
        self.openssl(&[
            "req",
            "-x509",
            "-new",
            "-key",
            &key,
            "-days",
            DAYS,
            "-subj",
            &subject,
            "-addext",
            usage,
            "-out",
            &certificate,
        ])
    }

    /// For both ends of a connection, signed by `ca`.
    fn certificate(&self, name: &str, subject: &str, names: &str) -> Result<()> {
        if self.has(name) {
            return Ok(());
        }
        self.key(name)?;
        let file = |extension| format!("{name}.{extension}");
        self.openssl(&[
            "req",
            "-new",
            "-key",
            &file("key"),
            "-subj",
            subject,
            "-out",
            &file("csr"),
        ])?;
        let mut extensions =
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n"
                .to_owned();
        if !names.is_empty() {
            extensions += &format!("subjectAltName={names}\n");
        }
        self.state.write(format!("pki/{name}.ext"), &extensions)?;
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &file("csr"),
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            DAYS,
            "-extfile",
            &file("ext"),
            "-out",
            &file("crt"),
        ])?;
        for extension in ["csr", "ext"] {
            fs::remove_file(self.folder.join(file(extension))).context("remove temporary files")?;
        }
        Ok(())
    }

    fn kubeconfig(&self, who: &str) -> Result<()> {
        let folder = self.folder.display();
        let config = format!(
            "apiVersion: v1
kind: Config
clusters:
- name: interceptor
  cluster:
    server: 'https://{FIRST_NODE}:{API_PORT}'
    certificate-authority: {folder}/ca.crt
users:
- name: {who}
  user:
    client-certificate: {folder}/{who}.crt
    client-key: {folder}/{who}.key
contexts: [{{name: interceptor, context: {{cluster: interceptor, user: {who}}}}}]
current-context: interceptor
"
        );
        self.state.write(format!("pki/{who}.kubeconfig"), &config).map(drop)
    }

    fn has(&self, name: &str) -> bool {
        self.folder.join(format!("{name}.crt")).exists()
    }

    fn key(&self, name: &str) -> Result<()> {
        let file = format!("{name}.key");
        self.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &file])
    }

    fn openssl(&self, words: &[&str]) -> Result<()> {
        run::output(Command::new("openssl").args(words).current_dir(self.folder)).map(drop)
    }
}
