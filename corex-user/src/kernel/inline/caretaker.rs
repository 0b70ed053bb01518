//! A thread that may administer the network for as long as corex runs: it makes the veth pairs
//! and takes them down. It is started before corex gives up its privileges, keeps
//! CAP_NET_ADMIN alone, and does nothing but what is listed here.

use std::{io, sync::mpsc};

use caps::Capability;

use super::{
    links,
    veth::{self, Pair},
};
use crate::kernel::privileges;

enum Job {
    Make {
        names: (String, String),
        nic: String,
        queues: u32,
        mtu: u32,
    },
    Remove(String),
    DetachFilter {
        interface: String,
        egress: bool,
        program: &'static str,
    },
}

type Answer = io::Result<Option<Pair>>;

/// The handle of that thread, which ends when this is dropped.
pub struct Caretaker {
    jobs: mpsc::Sender<(Job, mpsc::Sender<Answer>)>,
}

impl Caretaker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no thread, or no netlink.
    pub fn start() -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<(Job, mpsc::Sender<Answer>)>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (connection, handle) = {
            let _inside = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection()?;
            (connection, handle)
        };
        // What can't be given up stays.
        let settle = || {
            if let Err(error) = privileges::drop_all_but(&[Capability::CAP_NET_ADMIN]) {
                tracing::warn!("the thread for the network: {error}");
            }
        };
        privileges::spawn_settled("corex-net", settle, move || {
            runtime.spawn(connection);
            while let Ok((job, answer)) = jobs.recv() {
                // Who asked waits for the answer, or has died.
                let _ = answer.send(runtime.block_on(work(&handle, job)));
            }
        })?;
        Ok(Self { jobs: sender })
    }

    fn ask(&self, job: Job) -> Answer {
        let (sender, answer) = mpsc::channel();
        let gone = || io::Error::other("the thread for the network has died; a bug in corex");
        self.jobs.send((job, sender)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }

    /// [`veth::make`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn make(
        &self,
        names: (String, String),
        nic: &str,
        queues: u32,
        mtu: u32,
    ) -> io::Result<Pair> {
        let job = Job::Make {
            names,
            nic: nic.to_owned(),
            queues,
            mtu,
        };
        self.ask(job)?
            .ok_or_else(|| io::Error::other("no veth pair was made"))
    }

    /// [`veth::remove`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, own: &str) -> io::Result<()> {
        self.ask(Job::Remove(own.to_owned())).map(drop)
    }

    /// [`links::detach_filter`].
    ///
    /// # Errors
    /// When the thread has died.
    pub fn detach_filter(
        &self,
        interface: &str,
        egress: bool,
        program: &'static str,
    ) -> io::Result<()> {
        let job = Job::DetachFilter {
            interface: interface.to_owned(),
            egress,
            program,
        };
        self.ask(job).map(drop)
    }
}

async fn work(handle: &rtnetlink::Handle, job: Job) -> Answer {
    match job {
        Job::Make {
            names,
            nic,
            queues,
            mtu,
        } => veth::make(handle, (&names.0, &names.1), &nic, queues, mtu)
            .await
            .map(Some),
        Job::Remove(own) => veth::remove(handle, &own).await.map(|()| None),
        Job::DetachFilter {
            interface,
            egress,
            program,
        } => {
            links::detach_filter(&interface, egress, program);
            Ok(None)
        }
    }
}
