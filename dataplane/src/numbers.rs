//! Numbers by which workers know the children of connections. A child keeps its number for as long as the gateway
//! runs, whatever becomes of the policy, so that its SAs stay where they are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use portcullis_config::{Action, Policy, SpdEntry};

/// The children of all connections that there have been.
#[derive(Clone, Debug, Default)]
pub struct ChildNumbers {
    /// By connection and child.
    known: HashMap<(String, String), u32>,
    names: Vec<(String, String)>,
}

impl ChildNumbers {
    /// These, and those that are new in `policy`.
    pub fn with(&self, policy: &Policy) -> Self {
        let mut numbers = self.clone();
        for connection in &policy.connections {
            for child in &connection.children {
                let name = (connection.name.clone(), child.name.clone());
                if let Entry::Vacant(place) = numbers.known.entry(name) {
                    let number = numbers.names.len() as u32;
                    numbers.names.push(place.key().clone());
                    place.insert(number);
                }
            }
        }
        numbers
    }

    /// The number of a child.
    pub fn get(&self, connection: &str, child: &str) -> Option<u32> {
        let name = (connection.to_owned(), child.to_owned());
        self.known.get(&name).copied()
    }

    /// The number of the child that serves an entry.
    pub fn of_entry(&self, policy: &Policy, entry: &SpdEntry) -> Option<u32> {
        let Action::Negotiate {
            connection, child, ..
        } = entry.action
        else {
            return None;
        };
        let connection = policy.connections.get(connection)?;
        self.get(&connection.name, &connection.children.get(child)?.name)
    }

    /// Connection and child with a number.
    pub fn name(&self, number: u32) -> Option<(&str, &str)> {
        let (connection, child) = self.names.get(number as usize)?;
        Some((connection, child))
    }

    /// Numbers of the children of a connection.
    pub fn of_connection(&self, connection: &str) -> impl Iterator<Item = u32> {
        let numbers = (0u32..).zip(&self.names);
        numbers.filter_map(move |(number, (name, _))| (name == connection).then_some(number))
    }
}
