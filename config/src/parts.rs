//! A policy in several texts: the machine's own file, and the documents of its store.

use std::borrow::Cow;
use std::iter::once;
use std::ops::Range;
use std::path::Path;

use zeroize::Zeroize;

use crate::Document;
use crate::document::{Id, Tree, Value};
use crate::keys::open_to_others;
use crate::mistake::Report;
use crate::reference::ROOT;
use crate::store::{BESIDE_STORE, OF_MACHINE};

/// One of the texts.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) name: &'a Path,
    pub(crate) text: &'a str,
    pub(crate) mode: Option<u32>,
}

impl<'a> From<&'a Document> for Part<'a> {
    fn from(document: &'a Document) -> Self {
        Part {
            name: &document.name,
            text: &document.text,
            mode: document.mode,
        }
    }
}

/// All texts, one behind the other, each from a new line: a place in one of them is a place in this one.
pub(crate) struct Parts<'a> {
    list: Vec<Part<'a>>,
    starts: Vec<usize>,
    joined: Cow<'a, str>,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(machine: Part<'a>, documents: &'a [Document]) -> Self {
        let list: Vec<_> = once(machine)
            .chain(documents.iter().map(Part::from))
            .collect();
        let mut starts = vec![0];
        if documents.is_empty() {
            let joined = Cow::Borrowed(machine.text);
            return Parts {
                list,
                starts,
                joined,
            };
        }
        let mut joined = String::with_capacity(list.iter().map(|part| part.text.len() + 1).sum());
        for part in &list {
            joined.push_str(part.text);
            joined.push('\n');
            starts.push(joined.len());
        }
        Parts {
            list,
            starts,
            joined: Cow::Owned(joined),
        }
    }

    /// An empty report about them.
    pub(crate) fn report(&self) -> Report<'_> {
        let starts = self.starts.iter().copied();
        let names = starts.zip(self.list.iter().map(|part| part.name));
        Report::of_parts(names.collect(), self.joined.as_bytes())
    }

    /// All texts, one behind the other.
    pub(crate) fn text(&self) -> &str {
        &self.joined
    }

    /// Where each text is: the machine's own, and those of the documents.
    pub(crate) fn places(&self) -> impl Iterator<Item = Range<usize>> {
        let all = self.starts.iter().zip(&self.list);
        all.map(|(start, part)| *start..*start + part.text.len())
    }

    /// True if the file of any part has a mode that is wrong for keys.
    pub(crate) fn any_open_to_others(&self) -> bool {
        let open = |part: &Part<'_>| open_to_others(part.mode?, part.name);
        self.list.iter().any(|part| open(part).is_some())
    }

    /// What is wrong with the file of a place that holds keys, if anything.
    pub(crate) fn open_to_others(&self, at: usize) -> Option<String> {
        let number = self.starts.partition_point(|start| *start <= at);
        let part = self.list.get(number.saturating_sub(1))?;
        open_to_others(part.mode?, part.name)
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(joined) = &mut self.joined {
            joined.zeroize();
        }
    }
}

/// True if the machine's own file says what to do with traffic.
pub(crate) fn has_policy(tree: &Tree<'_>, root: Id) -> bool {
    let of_machine = |key: &str| BESIDE_STORE.contains(&key) || key == "policy";
    !tree
        .members(root)
        .all(|member| of_machine(tree.name(member)))
}

/// Leaves of the machine's own file what stays in force beside the documents of its store.
pub(crate) fn keep_machine(tree: &mut Tree<'_>, root: Id) {
    tree.retain(root, |name| BESIDE_STORE.contains(&name));
}

/// Adds the tables of documents to those of the machine's own file.
pub(crate) fn merge(tree: &mut Tree<'_>, root: Id, documents: &[Id], report: &Report<'_>) {
    let mut all: Vec<_> = tree.members(root).collect();
    // What lists have, with what comes to them.
    let mut lists: Vec<(Id, Vec<Id>)> = Vec::new();
    for document in documents {
        for member in tree.members(*document) {
            let (at, name) = (tree.name_at(member), tree.name(member));
            if OF_MACHINE.contains(&name) {
                let message =
                    format!("`{name}` belongs into the machine's own file, not into its store");
                report.error(at, message);
                continue;
            }
            // What has no meaning is only told of; there may be more of it than is worth looking through.
            let known = ROOT.keys.iter().any(|key| key.name == name);
            let found = known.then(|| all.iter().find(|id| tree.has_name(**id, name)));
            let both_lists =
                |known: &Id| [*known, member].map(|id| tree.value(id)) == [Value::Array; 2];
            match found.flatten().copied() {
                None => all.push(member),
                Some(list) if both_lists(&list) => {
                    let more = tree.members(member);
                    match lists.iter_mut().find(|(known, _)| *known == list) {
                        Some((_, members)) => members.extend(more),
                        None => lists.push((list, tree.members(list).chain(more).collect())),
                    }
                }
                Some(_) => report.error(at, format!("`{name}` stands in another document, too")),
            }
        }
    }
    tree.put(root, &all);
    for (list, members) in lists {
        tree.put(list, &members);
    }
}
