//! Rules again, when addresses change.

use crate::rules::Topology;
use crate::{Interface, Policy, Severity};

impl Policy {
    /// The same policy for these interfaces: what `my-address` stands for, and which way packets can cross, follows
    /// their addresses. What is written as an entry stays as it is. On failure, what can no longer be.
    pub fn with_interfaces(&self, interfaces: Vec<Interface>) -> Result<Policy, Vec<String>> {
        let compile = |interfaces: &[Interface], taken| {
            let topology = Topology::new(interfaces, &self.routes);
            self.rules.compile(&topology, self.profile, taken)
        };
        let made = compile(&self.interfaces, 0).connections.len();
        let written = self.connections.len().saturating_sub(made);
        let new = compile(&interfaces, written);
        let errors = new.problems.into_iter();
        let errors = errors.filter(|problem| problem.severity == Severity::Error);
        let errors: Vec<_> = errors
            .map(|problem| match self.rules.rules.get(problem.rule) {
                Some(rule) => format!("rule `{}`: {}", rule.name, problem.message),
                None => problem.message,
            })
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let before = new.before.into_iter().map(|made| made.entry);
        let after = new.after.into_iter().map(|made| made.entry);
        let kept = self
            .spd
            .iter()
            .filter(|entry| entry.origin.is_none())
            .cloned();
        let connections = self.connections.iter().take(written).cloned();
        Ok(Policy {
            interfaces,
            spd: before.chain(kept).chain(after).collect(),
            connections: connections.chain(new.connections).collect(),
            ..self.clone()
        })
    }
}
