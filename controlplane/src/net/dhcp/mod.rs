//! DHCP on the WAN: sockets, timers and kernel configuration around the cores of `sipsec-dhcp`.
//!
//! ```text
//!   link up ─▶ v4::Client, v6::Client ─▶ Apply (addresses, routes) ─▶ Change (what was learnt) ─▶ runtime
//!      ▲              ▲  │ frames, datagrams
//!   netlink       PacketSocket, UDP 546
//! ```

mod apply;
mod frame;
mod learnt;
mod socket;
mod store;
mod sys;
mod task;

pub use learnt::Learnt;
pub use store::Store;

use sipsec_dhcp::{v4, v6};
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

/// Changes that may wait; the runtime takes them at once.
const QUEUE: usize = 64;

/// What is asked for by DHCPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V4 {
    /// Without it the address is the system's, and only the options are asked for (DHCPINFORM).
    pub address: bool,
    pub vendor_class: Option<VendorClass>,
    pub host_name: Option<String>,
}

/// What is asked for by DHCPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V6 {
    pub address: bool,
    pub prefix: bool,
    pub vendor_class: Option<VendorClass>,
}

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VendorClass {
    /// Enterprise 210 and the hardware address, as terminals of NTT's line say.
    Ntt,
    Other {
        enterprise: u32,
        data: Vec<u8>,
    },
}

#[derive(Clone, Debug)]
pub struct Config {
    pub device: String,
    pub v4: Option<V4>,
    pub v6: Option<V6>,
    /// Where the DUID and the last address are kept.
    pub store: PathBuf,
}

/// What is known now of one family, or why nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    V4(Result<Box<v4::Lease>, String>),
    V6(Result<Box<v6::Lease>, String>),
}

/// The loop's end of the task.
#[derive(Debug)]
pub struct Dhcp {
    changes: mpsc::Receiver<Change>,
    release: Option<oneshot::Sender<()>>,
    done: Option<tokio::task::JoinHandle<()>>,
}

impl Dhcp {
    /// Starts the clients. They wait for the interface and its link.
    ///
    /// # Errors
    /// If the kernel gives no netlink socket, or the store cannot be read.
    pub fn start(config: Config) -> std::io::Result<Self> {
        let (sender, changes) = mpsc::channel(QUEUE);
        let (release, released) = oneshot::channel();
        let task = task::Task::new(config, sender)?;
        let done = tokio::spawn(task.run(released));
        Ok(Self { changes, release: Some(release), done: Some(done) })
    }

    /// The next change. May be cancelled at any time.
    pub async fn next(&mut self) -> Change {
        match self.changes.recv().await {
            Some(change) => change,
            // After the release.
            None => std::future::pending().await,
        }
    }

    /// Gives addresses back to the servers and takes them from the interface.
    pub async fn release(&mut self) {
        if let Some(release) = self.release.take() {
            let _ = release.send(());
        }
        if let Some(done) = self.done.take() {
            let _ = done.await;
        }
    }
}
