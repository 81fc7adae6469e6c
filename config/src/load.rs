//! Loads a policy: reads the text, then each kind of table, then checks them against each other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::connections::Connections;
use crate::credentials::PSK;
use crate::document::Tree;
use crate::keys::{CIPHER_KEY, INTEGRITY_KEY};
use crate::mistake::Report;
use crate::parts::{Part, Parts, has_policy, keep_machine, merge};
use crate::ports::{Interfaces, read_metrics, read_runtime};
use crate::reader::Section;
use crate::reference::ROOT;
use crate::rules::RuleSections;
use crate::sa::{Sa, Sas};
use crate::spd::Entry;
use crate::{
    Document, Examine, Mistake, Policy, Selector, Store, Topology, lints, routes, rules, sad,
    settings, spd, store,
};

/// A larger file is not a policy; a million SAs fit.
const POLICY_FILE_LIMIT: u64 = 512 << 20;

/// Longer are not all texts together: places in them are numbers of 32 bits.
const TEXT_LIMIT: usize = u32::MAX as usize - 1;

/// A policy that can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// What is most likely not meant so, in the order of the file.
    pub warnings: Vec<Mistake>,
}

/// Loads a policy file. On failure every mistake is returned, warnings among them, in the order of the file.
///
/// A file that holds keys is refused if others than its owner have any permission.
pub fn load(path: &Path) -> Result<Loaded, Vec<Mistake>> {
    load_with(path, &[])
}

/// Loads a machine's own file with the documents that its store has brought: of the file counts only what belongs to
/// the machine then. Without documents it is all that there is.
pub fn load_with(path: &Path, documents: &[Document]) -> Result<Loaded, Vec<Mistake>> {
    load_examined(path, documents, None)
}

/// The same, and certificates and their keys are judged by `examine`.
pub fn load_examined(
    path: &Path,
    documents: &[Document],
    examine: Option<Examine>,
) -> Result<Loaded, Vec<Mistake>> {
    let (text, mode) = read_text(path)?;
    let base = path.parent().unwrap_or(Path::new(""));
    let machine = Part {
        name: path,
        text: &text,
        mode: Some(mode),
    };
    read(&Parts::new(machine, documents), base, examine)
}

/// The store that a machine's own file names. Mistakes are told only where it may name one; of a file without the word
/// they are not looked for.
pub fn load_store(path: &Path) -> Result<Option<Store>, Vec<Mistake>> {
    let (text, _) = read_text(path)?;
    // Without the word, or an escape that may stand for it, there is none: a large file need not be read twice.
    if !text.contains("store") && !text.contains('\\') {
        return Ok(None);
    }
    let base = path.parent().unwrap_or(Path::new(""));
    let machine = Part {
        name: path,
        text: &text,
        mode: None,
    };
    let parts = Parts::new(machine, &[]);
    let mut report = parts.report();
    let mut tree = Tree::new(parts.text());
    let root = tree.read(0..text.len(), &mut report);
    let root = Section::open(&ROOT, &tree, root, &report);
    let profile = settings::read(root).profile;
    let store = store::read_store(root, base, Some(profile));
    match report.has_errors() {
        true => Err(report.finish()),
        false => Ok(store),
    }
}

/// Reads a policy from its text. `file` is the name in messages; relative key files are looked for in `base`.
pub fn parse(text: &str, file: &Path, base: &Path) -> Result<Loaded, Vec<Mistake>> {
    let machine = Part {
        name: file,
        text,
        mode: None,
    };
    read(&Parts::new(machine, &[]), base, None)
}

/// The text of a file and its mode.
fn read_text(path: &Path) -> Result<(Zeroizing<String>, u32), Vec<Mistake>> {
    let (mut text, mode) = read_file(path).map_err(|error| {
        let report = Report::new(path, b"");
        report.error(0, format!("cannot be read: {error}"));
        report.finish()
    })?;
    match String::from_utf8(std::mem::take(&mut *text)) {
        Ok(text) => Ok((Zeroizing::new(text), mode)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = Zeroizing::new(error.into_bytes());
            let report = Report::new(path, &text);
            report.error(valid, "expected UTF-8 text");
            Err(report.finish())
        }
    }
}

/// The bytes of a file and its mode; the bytes are wiped when dropped, since they may hold keys.
fn read_file(path: &Path) -> std::io::Result<(Zeroizing<Vec<u8>>, u32)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let length = metadata.len().min(POLICY_FILE_LIMIT);
    // Room for all of it and the end, so that it does not grow and leave a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(length as usize + 32));
    file.take(POLICY_FILE_LIMIT).read_to_end(&mut text)?;
    Ok((text, metadata.permissions().mode()))
}

fn read(parts: &Parts<'_>, base: &Path, examine: Option<Examine>) -> Result<Loaded, Vec<Mistake>> {
    let mut report = parts.report();
    report.examine = examine;
    if parts.text().len() > TEXT_LIMIT {
        report.error(0, "expected less than 4 GiB of policies");
        return Err(report.finish());
    }
    let mut tree = Tree::new(parts.text());
    let tables = parts.places().map(|part| tree.read(part, &mut report));
    let tables: Vec<_> = tables.collect();
    let Some((machine, others)) = tables.split_first() else {
        return Err(report.finish());
    };
    let alone = others.is_empty();
    if !alone {
        keep_machine(&mut tree, *machine);
        merge(&mut tree, *machine, others, &report);
    }
    let root = Section::open(&ROOT, &tree, *machine, &report);
    let policy = read_policy(root, base, alone, |sas, connections, places| {
        check_mode(sas, connections, places, parts);
    });
    if report.has_errors() {
        return Err(report.finish());
    }
    let waits = alone && policy.store.is_some() && !has_policy(&tree, *machine);
    let policy = if waits { policy.before_first() } else { policy };
    let warnings = report.finish();
    Ok(Loaded { policy, warnings })
}

/// Reads all tables; `alone`: there are no documents of a store. The policy is whole only if no error was reported.
fn read_policy(
    root: Section<'_>,
    base: &Path,
    alone: bool,
    check_file: impl Fn(&[Sa<'_>], &Connections<'_>, &RuleSections<'_>),
) -> Policy {
    let settings = settings::read(root);
    let profile = settings.profile;
    let (runtime, metrics) = (read_runtime(root), read_metrics(root));
    let store = store::read_store(root, base, alone.then_some(profile));
    let about = store::read_about(settings.section);
    let interfaces = Interfaces::read(root);
    let neighbors = routes::read_neighbors(root, &interfaces);
    let routes = routes::read_routes(root, &interfaces, &neighbors);
    let sas = Sas::read(root, &interfaces, base);
    let mut connections = Connections::read(root, &interfaces, base, profile);
    let written = spd::read(root, &sas, &connections, profile);
    connections.select(&written);
    let (mut rules, places) = rules::read(root, &interfaces, base, profile);
    rules.exemptions = settings.exemptions;
    check_file(&sas.list, &connections, &places);
    if !root.is_broken() {
        if interfaces.list.is_empty() {
            root.warning("port", "no [[port]]: there is nothing to forward between");
        }
        sad::check_identities(&sas);
        sad::check_shared_keys(&sas);
        sad::check_unused(&sas, &written);
    }
    let topology = Topology::new(&interfaces.list, &routes);
    if !root.is_broken() && interfaces.is_complete() {
        connections.check_ways(&topology);
    }
    let mut connections = connections.finish();
    let made = rules.compile(&topology, profile, connections.len());
    let spd = rules::place(root, &settings, &places, written, made, &mut connections);
    if !root.is_broken() && interfaces.is_complete() {
        lints::check(&spd, &settings, &topology);
    }
    join(
        Policy {
            profile,
            runtime,
            store,
            about,
            metrics,
            interfaces: interfaces.list,
            routes,
            neighbors,
            connections,
            rules,
            inbound_overlap: crate::InboundOverlap(settings.inbound_overlap),
            ..Policy::default()
        },
        sas,
        spd,
    )
}

/// Puts SAs and SPD into the policy and gives each SA the selectors of the entries that name it.
fn join(mut policy: Policy, sas: Sas<'_>, spd: Vec<Entry<'_>>) -> Policy {
    policy.sas = sas.list.into_iter().filter_map(|sa| sa.config).collect();
    policy.spd = spd.into_iter().filter_map(|e| e.entry).collect();
    // They lie where the sections were, too.
    policy.sas.shrink_to_fit();
    policy.spd.shrink_to_fit();
    // Most SAs serve one entry and have its selector; there may be very many of them.
    let mut of_several: BTreeMap<usize, Vec<Selector>> = BTreeMap::new();
    for entry in &policy.spd {
        sad::uses(&entry.action, |index| match policy.sas.get_mut(index) {
            Some(sa) if sa.selectors.is_empty() => sa.selectors = entry.selector.alone(),
            Some(sa) => {
                let selectors = of_several.entry(index);
                let selectors = selectors.or_insert_with(|| sa.selectors.to_vec());
                selectors.push(Selector::clone(&entry.selector));
            }
            None => {}
        });
    }
    for (index, selectors) in of_several {
        if let Some(sa) = policy.sas.get_mut(index) {
            sa.selectors = selectors.into();
        }
    }
    policy
}

/// A policy file with keys in it is a key file: it must be closed to others. Said once, at the first key.
fn check_mode(
    sas: &[Sa<'_>],
    connections: &Connections<'_>,
    rules: &RuleSections<'_>,
    parts: &Parts<'_>,
) {
    if !parts.any_open_to_others() {
        return;
    }
    let refused = |section: Section<'_>, key: &'static str| {
        let has_key = section.has(key).then(|| section.place(key));
        let reason = has_key.and_then(|at| parts.open_to_others(at));
        if let Some(reason) = &reason {
            section.error(key, format!("this file {reason}"));
        }
        reason.is_some()
    };
    let keys = [CIPHER_KEY.0, INTEGRITY_KEY.0];
    let mut sas = sas.iter().flat_map(|sa| keys.map(|key| (sa.section, key)));
    if sas.any(|(section, key)| refused(section, key)) {
        return;
    }
    let mut sections = connections.sections().chain(rules.methods.iter().copied());
    // Only the first one is told.
    let _ = sections.any(|section| refused(section, PSK.0));
}
