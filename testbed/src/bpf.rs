//! Lists the kernel's BPF programs, maps and links by bpf(2), so that no tool is needed.
#![allow(unsafe_code, reason = "bpf(2) has no wrapper in libc or nix")]

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::Namespace;

/// A kind of BPF object; each has ids of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the kernel's")]
pub enum BpfKind {
    Program,
    Map,
    Link,
}

/// One object. The kernel does not reuse ids, so two inventories can be compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BpfObject {
    /// Program, map or link.
    pub kind: BpfKind,
    /// The id that the kernel gave it.
    pub id: u32,
    /// The type, as in the kernel's `enum bpf_prog_type`, `bpf_map_type` or `bpf_link_type`.
    pub type_number: u32,
    /// The name; empty for links, which have none.
    pub name: String,
    /// For a link to a network namespace: the inode of that namespace.
    pub netns_inode: Option<u64>,
}

impl fmt::Display for BpfObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id, type_number, name, netns_inode } = self;
        write!(f, "{kind:?} {id} of type {type_number} {name}")?;
        netns_inode.map_or(Ok(()), |inode| write!(f, " at netns {inode}"))
    }
}

/// All BPF objects of the machine at one moment, those of other programs included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BpfInventory(pub BTreeSet<BpfObject>);

impl BpfInventory {
    /// The objects that `before` does not have.
    pub fn added_since(&self, before: &Self) -> Vec<BpfObject> {
        self.0.difference(&before.0).cloned().collect()
    }

    /// The objects that `before` does not have and that no process holds: left behind, or pinned.
    ///
    /// Objects that other programs made meanwhile are not among them while those programs run.
    pub fn orphans_since(&self, before: &Self) -> Result<Vec<BpfObject>> {
        let mut held = BTreeSet::new();
        for entry in fs::read_dir("/proc").context("list processes")?.flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // A process that ended meanwhile holds nothing.
            held.extend(pid.and_then(|pid| held_by(pid).ok()).into_iter().flatten());
        }
        let added = self.added_since(before).into_iter();
        Ok(added.filter(|object| !held.contains(&(object.kind, object.id))).collect())
    }

    /// The links to a namespace. Tests that run at the same time do not affect the answer.
    pub fn links_in(&self, netns: &Namespace) -> Result<Vec<BpfObject>> {
        let inode = netns.inode()?;
        Ok(self.0.iter().filter(|object| object.netns_inode == Some(inode)).cloned().collect())
    }

    /// Those of `objects` that still exist, by kind and id.
    pub fn still_here(&self, objects: &[(BpfKind, u32)]) -> Vec<BpfObject> {
        self.0
            .iter()
            .filter(|object| objects.contains(&(object.kind, object.id)))
            .cloned()
            .collect()
    }
}

/// Lists all BPF objects of the machine.
pub fn bpf_inventory() -> Result<BpfInventory> {
    let mut all = BTreeSet::new();
    for kind in [BpfKind::Program, BpfKind::Map, BpfKind::Link] {
        let mut id = 0;
        while let Some(next) =
            next_id(kind, id).with_context(|| format!("list BPF objects: {kind:?}"))?
        {
            id = next;
            // ENOENT: the object vanished meanwhile. EAGAIN: the link is being created.
            match describe(kind, id) {
                Ok(object) => _ = all.insert(object),
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EAGAIN)) => {
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("look at BPF {kind:?} {id}"));
                }
            }
        }
    }
    Ok(BpfInventory(all))
}

/// The BPF objects that a process holds by file descriptors.
pub(crate) fn held_by(pid: u32) -> Result<Vec<(BpfKind, u32)>> {
    let proc = Path::new("/proc").join(pid.to_string());
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(proc.join("fd")).context("list files of a process")?.flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let (kind, key) = match target.to_string_lossy().as_ref() {
            "anon_inode:bpf-prog" => (BpfKind::Program, "prog_id:"),
            "anon_inode:bpf-map" => (BpfKind::Map, "map_id:"),
            "anon_inode:bpf_link" | "anon_inode:bpf-link" => (BpfKind::Link, "link_id:"),
            _ => continue,
        };
        let info =
            fs::read_to_string(proc.join("fdinfo").join(entry.file_name())).unwrap_or_default();
        let id = info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
        held.extend(id.map(|id| (kind, id)));
    }
    Ok(held.into_iter().collect())
}

/// Loads the smallest possible sk_lookup program, and closes it again.
pub(crate) fn probe_sk_lookup() -> io::Result<()> {
    // r0 = SK_PASS; exit
    let instructions = [0x0000_0001_0000_00b7_u64, 0x95];
    let licence = c"MIT";
    let mut attr = Attr::default();
    attr.u32(0, 30); // BPF_PROG_TYPE_SK_LOOKUP
    attr.u32(4, 2);
    attr.u64(8, instructions.as_ptr() as u64);
    attr.u64(16, licence.as_ptr() as u64);
    attr.u32(68, 36); // expected_attach_type: BPF_SK_LOOKUP
    bpf_fd(PROG_LOAD, &mut attr).map(drop)
}

// Commands of bpf(2), from <linux/bpf.h>.
const PROG_LOAD: u32 = 5;
const PROG_GET_NEXT_ID: u32 = 11;
const MAP_GET_NEXT_ID: u32 = 12;
const PROG_GET_FD_BY_ID: u32 = 13;
const MAP_GET_FD_BY_ID: u32 = 14;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const LINK_GET_FD_BY_ID: u32 = 30;
const LINK_GET_NEXT_ID: u32 = 31;

const LINK_TYPE_NETNS: u32 = 5;

/// `union bpf_attr`, or an info struct that it points to. Fields are accessed by offset.
#[repr(C, align(8))]
struct Attr([u8; 256]);

impl Default for Attr {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl Attr {
    fn u32(&mut self, offset: usize, value: u32) {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn u64(&mut self, offset: usize, value: u64) {
        self.0[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
    }

    fn read(&self, offset: usize) -> u32 {
        let bytes = &self.0[offset..offset + 4];
        u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    fn name(&self, offset: usize) -> String {
        let bytes = &self.0[offset..offset + 16];
        String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default())
            .into_owned()
    }
}

fn bpf(command: u32, attr: &mut Attr) -> io::Result<i32> {
    // SAFETY: `attr` is larger than any bpf_attr and zero where it is unused; the pointers in it
    // outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attr.0.as_mut_ptr(), attr.0.len()) };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}

fn bpf_fd(command: u32, attr: &mut Attr) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: these commands return a new file descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn next_id(kind: BpfKind, id: u32) -> io::Result<Option<u32>> {
    let command = match kind {
        BpfKind::Program => PROG_GET_NEXT_ID,
        BpfKind::Map => MAP_GET_NEXT_ID,
        BpfKind::Link => LINK_GET_NEXT_ID,
    };
    let mut attr = Attr::default();
    attr.u32(0, id);
    match bpf(command, &mut attr) {
        Ok(_) => Ok(Some(attr.read(4))),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn describe(kind: BpfKind, id: u32) -> io::Result<BpfObject> {
    let command = match kind {
        BpfKind::Program => PROG_GET_FD_BY_ID,
        BpfKind::Map => MAP_GET_FD_BY_ID,
        BpfKind::Link => LINK_GET_FD_BY_ID,
    };
    let mut attr = Attr::default();
    attr.u32(0, id);
    let object = bpf_fd(command, &mut attr)?;

    let mut info = Attr::default();
    let mut attr = Attr::default();
    attr.u32(0, object.as_raw_fd().cast_unsigned());
    // The kernel fills as much of it as it knows and as fits.
    attr.u32(4, info.0.len() as u32);
    attr.u64(8, info.0.as_mut_ptr() as u64);
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;

    let type_number = info.read(0);
    // Offsets in bpf_prog_info, bpf_map_info and bpf_link_info.
    let (name, netns_inode) = match kind {
        BpfKind::Program => (info.name(64), None),
        BpfKind::Map => (info.name(24), None),
        BpfKind::Link if type_number == LINK_TYPE_NETNS => {
            (String::new(), Some(info.read(16).into()))
        }
        BpfKind::Link => (String::new(), None),
    };
    Ok(BpfObject { kind, id, type_number, name, netns_inode })
}
