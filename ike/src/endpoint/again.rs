//! What is tried again: connections that should stand and do not, children whose replacement came to nothing, and
//! phases 1 whose renewal did. What there is stays in use meanwhile.

use std::sync::Arc;

use portcullis_config::{Connection, DpdAction, RemoteAddress, Selector, Start};

use super::{Endpoint, Item};
use crate::traffic;
use crate::{ChildId, CloseReason, IkeId, Time};

impl Endpoint {
    /// A connection that should stand does not, or not all of it: it begins anew, later.
    pub(super) fn plan_restart(&mut self, now: Time, connection: &Arc<Connection>) {
        let name = &connection.name;
        let Some(connection) = self.connection(name) else {
            return;
        };
        let should_stand = connection.start == Start::Load
            || connection
                .dpd
                .is_some_and(|d| d.action == DpdAction::Restart);
        let item = Item::Restart(name.clone());
        let can_begin = matches!(connection.remote, RemoteAddress::Host(_));
        if should_stand && can_begin && !self.agenda.has(&item) {
            let failures = self.restarts.entry(name.clone()).or_default();
            *failures += 1;
            let at = self.core.again(now, *failures);
            self.agenda.set(item, Some(at));
        }
    }

    /// Begins anew: all of a connection without a phase 1, else what is not there.
    pub(super) fn restart(&mut self, now: Time, name: &str) {
        let has_phase_1 = self.ikes_of(name).next().is_some();
        let missing = |endpoint: &Self, child: &str, piece: &Selector| {
            !has_phase_1 || !endpoint.has_child(name, child, piece)
        };
        self.start_those(now, name, missing);
    }

    /// True if there is a child for this traffic, or part of it.
    fn has_child(&self, connection: &str, name: &str, piece: &Selector) -> bool {
        let mut children = self.core.children.of_connection(connection);
        children.any(|child| {
            child.policy.name == name
                && !child.is_replaced()
                && traffic::contains(piece, &child.selector)
        })
    }

    /// A child stands: what keeps its connection from standing is over.
    pub(super) fn installed(&mut self, id: ChildId) {
        if let Some(child) = self.core.children.get(id) {
            self.restarts.remove(&child.connection.name);
        }
        self.plan(id);
    }

    /// An SA of a child is at its end, and nothing has come in its place.
    pub(super) fn hard_expired(&mut self, now: Time, id: ChildId) {
        let child = self.core.children.get(id);
        let current = child.filter(|child| !child.is_replaced());
        let connection = current.map(|child| child.connection.clone());
        self.drop_child(now, id, CloseReason::Expired);
        if let Some(connection) = connection {
            self.plan_restart(now, &connection);
        }
    }

    /// The phase 1 that was to take this one's place came to nothing.
    pub(super) fn not_renewed(&mut self, now: Time, id: IkeId) {
        self.with(now, id, |sa, core| sa.not_renewed(core, now));
    }
}
