//! The rule from which an SPD entry came, as `show spd` and `explain` tell it.

use portcullis_config::{Direction, SpdEntry};
use serde::{Deserialize, Serialize};

/// The rule from which an SPD entry came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RuleStatus {
    /// Its name, or what stands for a rule.
    pub rule: String,
    /// Identifier of all entries that came of it.
    pub id: String,
    /// Its place in its author's order, from 1; 0 for what no author wrote.
    pub order: u32,
    /// How much the entry's filter says: the more, the higher.
    pub weight: u32,
}

impl RuleStatus {
    /// Of an entry; `None` if it is written as such.
    pub fn of(entry: &SpdEntry) -> Option<Self> {
        let origin = entry.origin.as_ref()?;
        Some(RuleStatus {
            rule: origin.rule.clone(),
            id: origin.id.to_string(),
            order: origin.order,
            weight: origin.weight,
        })
    }
}

/// `both`, `outbound` or `inbound`: packets for which an entry is.
pub fn direction_text(entry: &SpdEntry) -> &'static str {
    match entry.direction {
        None => "both",
        Some(Direction::Outbound) => "outbound",
        Some(Direction::Inbound) => "inbound",
    }
}
