//! A policy of several documents as one text.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::{Document, load_with};

/// A policy as one text.
#[derive(Debug)]
pub struct Exported {
    /// It may hold keys.
    pub text: Zeroizing<String>,
    /// Why it could not be tried whether it means what the documents mean; empty if it was.
    pub warnings: Vec<String>,
}

/// The documents that a store has brought for the machine with the file `machine` in one text, word for word, with what
/// their authors said about them. It means what they mean, or the reasons are told why no text can. The documents
/// are in force: if they cannot be read now, something around them has changed, which is no reason to keep them back.
pub fn export(machine: &Path, documents: &[Document]) -> Result<Exported, Vec<String>> {
    let texts = documents.iter().map(|document| document.text.as_str());
    let room = texts.clone().map(|text| text.len() + 1).sum();
    // It does not grow, which would leave copies of keys behind.
    let mut whole = Zeroizing::new(String::with_capacity(room));
    for text in texts {
        if !whole.is_empty() && !whole.ends_with('\n') {
            whole.push('\n');
        }
        whole.push_str(text);
    }
    let [_, _, ..] = documents else {
        return Ok(Exported {
            text: whole,
            warnings: Vec::new(),
        });
    };
    let one = Document {
        name: PathBuf::from("all documents together"),
        text: whole,
        mode: None,
    };
    let load = |documents: &[Document]| {
        let loaded = load_with(machine, documents).map(|loaded| loaded.policy);
        loaded.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let apart = match load(documents) {
        Ok(policy) => policy,
        Err(mistakes) => {
            let file = machine.display();
            let first = format!(
                "the text was not tried: {file}, or a file that it or the policy names, is no longer as it was"
            );
            return Ok(Exported {
                text: one.text,
                warnings: std::iter::once(first).chain(mistakes).collect(),
            });
        }
    };
    if apart != load(std::slice::from_ref(&one))? {
        let reason = "the documents say something else when they stand in one file";
        return Err(vec![reason.to_owned()]);
    }
    Ok(Exported {
        text: one.text,
        warnings: Vec::new(),
    })
}
