//! What is tried again: connections that should stand and do not, children whose replacement came to nothing, and
//! phases 1 whose renewal did. What there is stays in use meanwhile.

use portcullis_config::{Connection, DpdAction, ModeConfig, RemoteAddress, Selector, Start};

use super::{Endpoint, Item};
use crate::child::ChildSa;
use crate::traffic;
use crate::{ChildId, CloseReason, IkeId, Time};

impl Endpoint {
    /// The peer is lost, or was not reached: a connection that should stand, or come again, begins anew.
    pub(super) fn peer_lost(&mut self, now: Time, name: &str) {
        let comes_again = |c: &Connection| c.dpd.is_some_and(|d| d.action == DpdAction::Restart);
        let connection = self.connection(name);
        let comes_again = connection.is_some_and(|connection| comes_again(&connection));
        if comes_again {
            self.coming_again.insert(name.to_owned());
        }
        self.plan_restart(now, name, |c| c.start == Start::Load || comes_again);
    }

    /// A child is lost, or did not come to be: only a connection that should stand, or is on its way to come again,
    /// needs all of its children.
    pub(super) fn child_lost(&mut self, now: Time, name: &str) {
        let comes_again = self.coming_again.contains(name);
        self.plan_restart(now, name, |c| c.start == Start::Load || comes_again);
    }

    /// True if each child of a connection stands, for as much of each piece of its traffic as the peer wants.
    fn is_complete(&self, connection: &Connection) -> bool {
        let stands = |name: &str, piece: &Selector| {
            let mut children = self.core.children.of_connection(&connection.name);
            children.any(|child| {
                child.policy.name == name
                    && !child.is_replaced()
                    && traffic::meet(piece, &child.selector)
            })
        };
        connection.children.iter().all(|policy| {
            let mut pieces = traffic::pieces(&policy.selector).into_iter();
            pieces.all(|piece| stands(&policy.name, &piece))
        })
    }

    /// A connection does not stand, or not all of it: if it should, it begins anew, later.
    fn plan_restart(&mut self, now: Time, name: &str, should: impl FnOnce(&Connection) -> bool) {
        let Some(connection) = self.connection(name) else {
            return;
        };
        let item = Item::Restart(name.to_owned());
        let can_begin = matches!(connection.remote, RemoteAddress::Host(_));
        if should(&connection) && can_begin && !self.agenda.has(&item) {
            let failures = self.restarts.entry(name.to_owned()).or_default();
            *failures += 1;
            let at = self.core.again(now, *failures);
            self.agenda.set(item, Some(at));
        }
    }

    /// A connection is not to stand any more.
    pub(super) fn give_up(&mut self, name: &str) {
        self.agenda.set(Item::Restart(name.to_owned()), None);
        self.restarts.remove(name);
        self.coming_again.remove(name);
    }

    /// Begins anew: all of a connection without a phase 1, else what is not there.
    pub(super) fn restart(&mut self, now: Time, name: &str) {
        let has_phase_1 = self.ikes_of(name).next().is_some();
        let missing = |endpoint: &Self, child: &str, piece: &Selector| {
            !has_phase_1 || !endpoint.has_child(name, child, piece)
        };
        self.start_those(now, name, missing);
    }

    /// True if there is a child for this traffic: for all of it, but on the side that mode config narrows.
    fn has_child(&self, connection: &str, name: &str, piece: &Selector) -> bool {
        let mut children = self.core.children.of_connection(connection);
        children.any(|child| {
            child.policy.name == name
                && !child.is_replaced()
                && traffic::contains(piece, &child.selector)
                && traffic::contains(&widened(child, piece), piece)
        })
    }

    /// A child stands: what keeps its connection from standing is over.
    pub(super) fn installed(&mut self, id: ChildId) {
        if let Some(child) = self.core.children.get(id) {
            let connection = child.connection.clone();
            self.restarts.remove(&connection.name);
            if self.coming_again.contains(&connection.name) && self.is_complete(&connection) {
                self.coming_again.remove(&connection.name);
            }
        }
        self.plan(id);
    }

    /// An SA of a child is at its end, and nothing has come in its place.
    pub(super) fn hard_expired(&mut self, now: Time, id: ChildId) {
        let child = self.core.children.get(id);
        let current = child.filter(|child| !child.is_replaced());
        let connection = current.map(|child| child.connection.name.clone());
        self.drop_child(now, id, CloseReason::Expired);
        if let Some(connection) = connection {
            self.child_lost(now, &connection);
        }
    }

    /// The phase 1 that was to take this one's place came to nothing.
    pub(super) fn not_renewed(&mut self, now: Time, id: IkeId) {
        self.with(now, id, |sa, core| sa.not_renewed(core, now));
    }
}

/// A child's traffic, with the side of `piece` that mode config has narrowed to an address.
fn widened(child: &ChildSa, piece: &Selector) -> Selector {
    let selector = child.selector.clone();
    match &child.connection.remote_access.mode_config {
        Some(ModeConfig::Ask) => Selector {
            local: piece.local.clone(),
            ..selector
        },
        Some(ModeConfig::Give { .. }) => Selector {
            remote: piece.remote.clone(),
            ..selector
        },
        None => selector,
    }
}
