//! For whom a policy of a store is: one machine, a group of them, a site, or everybody. A machine has one policy: the
//! nearest that there is.

use std::path::{Path, PathBuf};

use crate::reader::{Item, Section};
use crate::reference::SCOPES;

/// What stands for the scope in `url` and `path`.
const PLACEHOLDER: &str = "{scope}";
/// The nearest first.
const KINDS: [&str; 3] = ["node", "group", "site"];
/// The one that needs no name.
const EVERYBODY: &str = "global";

/// The scopes of this machine, the nearest first: `node/gw1`, `group/branches`, `site/berlin`, `global`; `None`: its store
/// has one policy for it.
pub(crate) fn read(store: Section<'_>) -> Option<Vec<String>> {
    let section = store.get("scopes")?.section(&SCOPES)?;
    let named = KINDS.iter().filter_map(|kind| {
        let name = section.get(kind)?.parse(name)?;
        Some(format!("{kind}/{name}"))
    });
    Some(named.chain([EVERYBODY.to_owned()]).collect())
}

/// It becomes a part of a path.
fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !text.is_empty() && !text.starts_with('.') && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => {
            Err("expected letters, digits, `-`, `_` and `.`, which is not the first".to_owned())
        }
    }
}

/// The places of a store, the nearest first, from the one that is written.
pub(crate) fn places(
    item: Item<'_>,
    written: &str,
    scopes: Option<&[String]>,
) -> Option<Vec<String>> {
    match (scopes, written.contains(PLACEHOLDER)) {
        (None, false) => Some(vec![written.to_owned()]),
        (Some(scopes), true) => {
            let place = |scope: &String| written.replace(PLACEHOLDER, scope);
            Some(scopes.iter().map(place).collect())
        }
        (None, true) => {
            item.error(format!(
                "`{PLACEHOLDER}` stands for one of `scopes`, which are missing"
            ));
            None
        }
        (Some(_), false) => {
            item.error(format!(
                "expected `{PLACEHOLDER}` in it, where each of `scopes` has its policy"
            ));
            None
        }
    }
}

/// The same beside the machine's own file.
pub(crate) fn paths(
    item: Item<'_>,
    base: &Path,
    scopes: Option<&[String]>,
) -> Option<Vec<PathBuf>> {
    let places = places(item, item.string()?, scopes)?;
    Some(places.iter().map(|place| base.join(place)).collect())
}
