//! What the quick reader takes is what the `toml` crate makes of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Numbers that look random and are the same in each run (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// What was read, tables by name, as the crate has them.
fn shape(tree: &Tree<'_>, id: Id) -> String {
    let at = tree.at(id);
    match tree.value(id) {
        Value::Table => {
            let members = tree
                .members(id)
                .map(|id| (tree.name(id), tree.name_at(id), id));
            let mut members: Vec<_> = members.collect();
            members.sort();
            let shapes = members.iter().map(|(name, name_at, id)| {
                let value = shape(tree, *id);
                format!("{name:?}@{name_at}: {value}, ")
            });
            format!("{{{}}}@{at}", shapes.collect::<String>())
        }
        Value::Array => {
            let values = tree.members(id).map(|id| shape(tree, id) + ", ");
            format!("[{}]@{at}", values.collect::<String>())
        }
        value => format!("{value:?}@{at}"),
    }
}

/// Texts stand behind others.
const BEFORE: &str = "# elsewhere\n";

/// True if the quick reader took the text; then it is right, and read as the crate reads it.
fn agrees(text: &str) -> bool {
    let both = BEFORE.to_owned() + text;
    let part = BEFORE.len()..both.len();
    let mut quick = Tree::new(&both);
    let Some(plain) = plain::read(&mut quick, part.clone()) else {
        return false;
    };
    let mut tree = Tree::new(&both);
    let mut report = Report::new(Path::new("test"), both.as_bytes());
    let other = general::read(&mut tree, part, &mut report);
    let mistakes = report.finish();
    assert!(mistakes.is_empty(), "taken, but {mistakes:?}:\n{text}");
    assert_eq!(shape(&quick, plain), shape(&tree, other), "{text}");
    assert!(tree.nodes.len() <= text.len() + 1, "{text}");
    true
}

fn policies() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["examples", "tests/mistakes"].map(|folder| root.join(folder));
    let files = folders.iter().flat_map(|f| fs::read_dir(f).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    let policies = paths.filter(|path| path.extension().is_some_and(|e| e == "toml"));
    policies
        .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
        .collect()
}

#[test]
fn plain_policies_are_read_as_the_crate_reads_them() {
    let policies = policies();
    let taken = policies.iter().filter(|(_, text)| agrees(text)).count();
    assert!(taken * 2 > policies.len(), "{taken} of {}", policies.len());
}

#[test]
fn each_kind_of_value_is_read_as_the_crate_reads_it() {
    for text in [
        "",
        "\n\r\n # nothing\r\n",
        "a = \"b\" # c\nb='c'",
        "a = [1, 0x1F, 0, true ,false,]\nb = []\nc = [\n 1, # one\n [\"two\"]\n]",
        "a = { b = 1, c = { d = [ { e = 'f' } ] } , g = {} }",
        "[a]\nb = 1\n[c]\n[[d]]\n[[d]]\ne = 1\n[d.f]\ng = 1\n[[d.h]]\n[[d.h]]\n[d.h.i]",
        "a = \"\"\nb = ''",
        "a = \"é\"\n",
    ] {
        assert!(agrees(text), "{text}");
    }
    for text in [
        "a = 1\na = 2",
        "a = 01",
        "a = 1_000",
        "a = -1",
        "a = 1.5",
        "a = 1979-05-27",
        "a = \"\"\"b\"\"\"",
        "a = ''''''",
        "a = \"\\n\"",
        "a.b = 1",
        "\"a\" = 1",
        "a = [1 2]",
        "a = {b = 1,}",
        "a = {\nb = 1}",
        "[a]\n[a]",
        "[a]\n[[a]]",
        "[[a]]\n[a]",
        "a = [{}]\n[[a]]",
        "a = [{}]\n[a.b]",
        "[a.b]",
        "[a]\n[a.b]",
        "[ a ]",
        "[a",
        "a",
        "a = ",
        "a = 1 b = 2",
        "a = \"b\u{7f}\"",
        "# \u{1}",
        "a = 1\r",
        "\u{feff}a = 1",
    ] {
        assert!(!agrees(text), "{text}");
    }
}

/// What is deep or has very many names is left to the crate, which has limits and hashes.
#[test]
fn deep_headers_and_large_tables_are_left_to_the_crate() {
    let deep = |levels: usize| {
        let header = |n: usize| format!("[[{}]]\n", vec!["a"; n].join("."));
        (1..=levels).map(header).collect::<String>()
    };
    let names = |count: usize| {
        (0..count)
            .map(|n| format!("k{n} = 1\n"))
            .collect::<String>()
    };
    let headers = |count: usize| (0..count).map(|n| format!("[k{n}]\n")).collect::<String>();
    for text in [deep(5), names(60), headers(60)] {
        assert!(agrees(&text), "{text}");
    }
    for text in [deep(50), names(1000), headers(1000)] {
        assert!(!agrees(&text), "{text}");
    }
    // Neither the parser nor what walks or frees its tables runs out of stack.
    let text = deep(2000);
    let mut report = Report::new(Path::new("test"), text.as_bytes());
    Tree::new(&text).read(0..text.len(), &mut report);
    assert!(!report.finish().is_empty());
}

#[test]
fn mutated_policies_are_read_as_the_crate_reads_them() {
    const PIECES: &[&str] = &[
        "[[sa]]",
        "[[a.b]]",
        "[runtime]",
        "[",
        "]",
        "{",
        "}",
        "=",
        ",",
        ".",
        "\"",
        "'",
        "\"\"\"",
        "\n",
        "\r",
        "#",
        "0x",
        "-1",
        "1e9",
        "0",
        "true",
        " ",
        "\\",
        "\u{feff}",
        "é",
        "name",
    ];
    let (mut numbers, mut taken) = (Numbers(7), 0);
    let policies = policies();
    for _ in 0..20_000 {
        let (_, text) = &policies[numbers.below(policies.len())];
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=numbers.below(2) {
            let at = numbers.below(bytes.len());
            let end = (at + numbers.below(30)).min(bytes.len());
            let piece = PIECES[numbers.below(PIECES.len())].bytes();
            match numbers.below(4) {
                0 => drop(bytes.drain(at..end)),
                1 => drop(bytes.splice(at..at, piece)),
                2 => drop(bytes.splice(at..end, piece)),
                _ => bytes.extend_from_within(at..end),
            }
        }
        taken += usize::from(agrees(&String::from_utf8_lossy(&bytes)));
    }
    assert!(taken > 1000, "{taken}");
}

/// What escapes stand for is not what is written, and keys may be written with them: it is wiped.
#[test]
fn what_is_not_written_as_it_is_meant_is_kept_beside_the_text() {
    let text =
        "a = \"\\u0041b\"\nb = \"\"\"\ncd\"\"\"\nc = 1_0\n\"d\\u0065\" = 'f'\n\"\" = \"\\u0067\"";
    let mut report = Report::new(Path::new("test"), text.as_bytes());
    let mut tree = Tree::new(text);
    let root = tree.read(0..text.len(), &mut report);
    assert!(report.finish().is_empty());
    let value = |name| tree.get(root, name).map(|id| tree.value(id));
    assert_eq!(value("a"), Some(Value::String("Ab")));
    assert_eq!(value("b"), Some(Value::String("cd")));
    assert_eq!(value("c"), Some(Value::Integer(Integer("10"))));
    assert_eq!(value("de"), Some(Value::String("f")));
    assert_eq!(value(""), Some(Value::String("g")));
    let wiped: Vec<&Zeroizing<String>> = tree.meant.values().collect();
    assert_eq!(wiped.len(), 4);
}
