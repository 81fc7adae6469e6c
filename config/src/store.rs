//! Where the policy comes from, if it does not stand in the machine's own file, and what a policy says of itself.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::credentials::{closed_file, private_key_part, read_parts};
use crate::reader::{Item, Section};
use crate::reference::STORE;
use crate::{Action, Policy, Profile, Secret, Selector, SpdEntry, scopes};

/// What a machine's own file says of itself, and no document of a store may.
pub(crate) const OF_MACHINE: [&str; 4] = ["runtime", "metrics", "port", "store"];
/// What stays in force of the machine's own file beside a document of its store.
pub(crate) const BESIDE_STORE: [&str; 6] =
    ["runtime", "metrics", "port", "store", "route", "neighbor"];
/// What happens before the first policy: `true` if all packets pass.
const BEFORE_POLICY: &[(&str, bool)] = &[("closed", false), ("open", true)];
/// Longest version that a policy gives itself.
const VERSION_LIMIT: usize = 128;

/// A part of a policy that a store has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What messages call it: a file, or a URL.
    pub name: PathBuf,
    /// Its text, which may hold keys.
    pub text: Zeroizing<String>,
    /// The mode of its file; `None`: it is no file.
    pub mode: Option<u32>,
}

/// Where a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The place.
    pub place: StorePlace,
    /// Seconds between two polls, unless the policy names others.
    pub poll_interval: u64,
    /// All packets pass in clear before the first policy.
    pub open: bool,
}

/// A place that brings policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// Files, or directories of files: the first that is there.
    Local(Vec<PathBuf>),
    /// A server.
    Remote(RemoteStore),
}

/// A server that brings the policy over HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteStore {
    /// `https://...`: the first that the server has.
    pub urls: Vec<String>,
    /// Whom the server's certificate must come from; DER.
    pub ca: Vec<Vec<u8>>,
    /// This gateway's certificates (DER) and private key (PKCS#8 as PEM), if the server wants to know who asks.
    pub client: Option<(Vec<Vec<u8>>, Secret)>,
    /// Where the last policy of the server is kept.
    pub cache: PathBuf,
}

impl Store {
    /// Seconds between two polls if nobody says otherwise.
    pub const POLL_INTERVAL: u64 = 300;
}

/// What a policy says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its version, as its author counts.
    pub version: Option<String>,
    /// Seconds between two polls for the next one.
    pub poll_interval: Option<u64>,
    /// It is none: this is what goes before the first one.
    pub is_absent: bool,
}

impl Policy {
    /// What goes until the store of this machine has brought a policy: everything is discarded, or, if the machine's
    /// file says so, passes.
    pub fn before_first(self) -> Policy {
        let action = match self.store.as_ref().is_some_and(|store| store.open) {
            true => Action::Bypass,
            false => Action::Discard,
        };
        let everything = SpdEntry {
            name: "before-policy".to_owned(),
            selector: Selector::default().into(),
            action,
            direction: None,
            origin: None,
        };
        Policy {
            runtime: self.runtime,
            metrics: self.metrics,
            store: self.store,
            about: About {
                is_absent: true,
                ..About::default()
            },
            interfaces: self.interfaces,
            routes: self.routes,
            neighbors: self.neighbors,
            spd: vec![everything],
            ..Policy::default()
        }
    }
}

/// Reads what `[policy]` says of the policy itself.
pub(crate) fn read_about(section: Option<Section<'_>>) -> About {
    let Some(section) = section else {
        return About::default();
    };
    let version = section.get("version").and_then(|item| {
        item.parse(|text| match text.len() <= VERSION_LIMIT {
            true => Ok(text.to_owned()),
            false => Err(format!("expected at most {VERSION_LIMIT} bytes")),
        })
    });
    About {
        version,
        poll_interval: section.get("poll-interval").and_then(interval),
        is_absent: false,
    }
}

/// Reads `[store]`; `own` is the profile of the file that it stands in, unless documents have taken its place.
pub(crate) fn read_store(root: Section<'_>, base: &Path, own: Option<Profile>) -> Option<Store> {
    let section = root.get("store")?.section(&STORE)?;
    let open = section.get("before-policy").and_then(|item| {
        let open = item.choice(BEFORE_POLICY)?;
        match own {
            Some(Profile::Modern) if open => {
                item.error(
                    "expected `open` only with `profile = \"ws2003\"` in [policy] of this file",
                );
            }
            Some(Profile::Ws2003) if open => {
                item.warning("all packets pass in clear until there is a policy");
            }
            _ => {}
        }
        Some(open)
    });
    let poll_interval = section.get("poll-interval").and_then(interval);
    let scopes = scopes::read(section);
    let local = section.get("path");
    let local = local.and_then(|item| scopes::paths(item, base, scopes.as_deref()));
    let remote = read_remote(section, base, scopes.as_deref());
    let place = match (section.has("path"), section.has("url")) {
        (true, false) => StorePlace::Local(local?),
        (false, true) => StorePlace::Remote(remote?),
        (both, _) => {
            let got = if both { "both" } else { "neither" };
            section.error(
                "path",
                format!("expected either `url` or `path`; got {got}"),
            );
            return None;
        }
    };
    Some(Store {
        place,
        poll_interval: poll_interval.unwrap_or(Store::POLL_INTERVAL),
        open: open.unwrap_or(false),
    })
}

fn read_remote(
    section: Section<'_>,
    base: &Path,
    scopes: Option<&[String]>,
) -> Option<RemoteStore> {
    let has_url = section.has("url");
    let urls = section.get("url").and_then(|item| {
        let url = item.parse(url)?;
        scopes::places(item, &url, scopes)
    });
    let ca = read_parts(section, "ca", "CERTIFICATE", base);
    if has_url && !section.has("ca") {
        section.error(
            "ca",
            "missing `ca`: whom the server's certificate must come from",
        );
    }
    let chain = read_parts(section, "certificate", "CERTIFICATE", base);
    let key = section.get("private-key-file");
    let key = key.and_then(|item| closed_file(item, base, private_key));
    let keys = ["certificate", "private-key-file"].map(|key| section.has(key));
    if keys == [true, false] || keys == [false, true] {
        section.error(
            "certificate",
            "expected `certificate` and `private-key-file`, or neither",
        );
    }
    let cache = match section.get("cache") {
        Some(item) => item.string()?,
        None => "/var/lib/portcullis/policy-cache",
    };
    if !has_url {
        for key in ["ca", "certificate", "private-key-file"] {
            section.refuse(key, "expected only with `url`");
        }
        if section.has("cache") {
            section.warning("cache", "nothing is kept there: only a `url` has a cache");
        }
    }
    let client = match keys {
        [true, true] => Some((chain?, key?)),
        _ => None,
    };
    Some(RemoteStore {
        urls: urls?,
        ca: ca.filter(|ca| !ca.is_empty())?,
        client,
        cache: cache.into(),
    })
}

fn private_key(text: &str) -> Result<Secret, String> {
    private_key_part(text)?;
    Ok(Secret::new(text.as_bytes().to_vec()))
}

fn interval(item: Item<'_>) -> Option<u64> {
    item.integer(1, 604_800)
}

/// A URL of a server to which nothing goes in clear, and without a password in it.
fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://");
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    match host.filter(|host| plain && !host.is_empty()) {
        Some(host) if host.contains('@') => {
            Err("expected a URL without a user: give the gateway a `certificate`".to_owned())
        }
        Some(_) => Ok(text.to_owned()),
        None => Err("expected a URL that begins with https://".to_owned()),
    }
}
