//! Does for the agent what may take long: reading the machine's file, asking a store, reading and
//! writing its cache. Control never waits for it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::SystemTime;

use portcullis_config::{Store, StorePlace, load_store};

use super::cache;
use super::store::{self, Fetched};
use crate::Error;

/// Something to do.
#[derive(Debug)]
pub enum Errand {
    /// See which store the machine's own file names.
    Look(PathBuf),
    /// Ask a store for something else than this.
    Fetch(Store, Option<Arc<Fetched>>),
    /// Look into the cache of a store.
    ReadCache(Store),
    /// Keep this in it.
    WriteCache(Store, Arc<Fetched>),
}

/// What came of it.
#[derive(Debug)]
pub enum Return {
    /// The store that the file names, whatever else is wrong with the file; `Err`: for its mistakes that cannot be told.
    Looked(Result<Option<Store>, ()>),
    /// A policy, nothing new, or why not.
    Fetched(Result<Option<Fetched>, String>),
    /// A policy and when it was kept, or why not.
    Cache(Result<(Fetched, Option<SystemTime>), String>),
    /// It is kept, or why not.
    Kept(Result<(), String>),
}

/// A thread that runs errands, one after the other; it ends with the process, or when nobody sends it any more.
#[derive(Debug)]
pub struct Hands {
    errands: Sender<Errand>,
    returns: Receiver<Return>,
}

fn run(errands: &Receiver<Errand>, returns: &Sender<Return>) {
    while let Ok(errand) = errands.recv() {
        let done = match errand {
            Errand::Look(file) => Return::Looked(load_store(&file).map_err(drop)),
            Errand::Fetch(store, known) => {
                let fetched = store::fetch(&store.place, known.as_deref());
                Return::Fetched(fetched.map_err(|error| error.to_string()))
            }
            Errand::ReadCache(store) => Return::Cache(read_cache(&store)),
            Errand::WriteCache(store, policy) => Return::Kept(write_cache(&store, &policy)),
        };
        if returns.send(done).is_err() {
            return;
        }
    }
}

fn read_cache(store: &Store) -> Result<(Fetched, Option<SystemTime>), String> {
    let StorePlace::Remote(remote) = &store.place else {
        return Err("a local store has no cache".to_owned());
    };
    let path = remote.cache.display();
    let policy = cache::read(&remote.cache, &remote.urls)
        .map_err(|error| format!("policy cache {path}: {error}"))?;
    let written = fs::metadata(&remote.cache).and_then(|metadata| metadata.modified());
    Ok((policy, written.ok()))
}

fn write_cache(store: &Store, policy: &Fetched) -> Result<(), String> {
    let StorePlace::Remote(remote) = &store.place else {
        return Ok(());
    };
    let path = remote.cache.display();
    let kept = cache::write(&remote.cache, policy);
    kept.map_err(|error| format!("policy cache {path}: {error}"))
}

impl Hands {
    /// Starts the thread.
    pub fn start() -> Result<Self, Error> {
        let (errands, receiver) = channel();
        let (sender, returns) = channel();
        std::thread::Builder::new()
            .name("policy-store".into())
            .spawn(move || run(&receiver, &sender))
            .map_err(|error| Error::Io {
                what: "thread for the policy store".into(),
                error,
            })?;
        Ok(Hands { errands, returns })
    }

    /// Has something done.
    pub fn send(&self, errand: Errand) {
        drop(self.errands.send(errand));
    }

    /// What is done. (The thread cannot be gone: it would have taken the process with it.)
    pub fn poll(&self) -> Option<Return> {
        self.returns.try_recv().ok()
    }
}
