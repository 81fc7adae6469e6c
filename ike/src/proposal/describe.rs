//! Explains what proposals differ in.

use std::fmt::Display;

use crate::show::Difference;

/// The difference between an attribute's values, if there is one.
pub(crate) fn compare<T: PartialEq>(
    attribute: &'static str,
    offered: &T,
    expected: &T,
    name: impl Fn(&T) -> String,
) -> Option<Difference> {
    (offered != expected).then(|| Difference {
        ours: String::new(),
        attribute,
        offered: name(offered),
        expected: name(expected),
    })
}

/// A number's name, or the number.
pub(crate) fn named<T: Copy + PartialEq + Display>(
    names: &[(T, &str)],
    number: Option<T>,
) -> String {
    match number {
        None => "none".to_owned(),
        Some(number) => match names.iter().find(|(n, _)| *n == number) {
            Some((_, name)) => (*name).to_owned(),
            None => number.to_string(),
        },
    }
}
