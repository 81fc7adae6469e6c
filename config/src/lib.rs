//! The policy model of Portcullis and its text form.
//!
//! A [`Policy`] is what an operator writes and what IKE adds to: ports, addresses, routes, the ordered
//! security policy database (RFC 4301 4.4.1) and security associations. This crate reads its own text and
//! nothing else: no sockets, no devices, no clock.
//!
//! [`load`] reads a policy file and [`parse`] a text; both find every [`Mistake`], not only the first. The
//! keys of a policy file are listed once, in [`reference`](mod@reference): the reader takes no other, and
//! `REFERENCE.md` is written from it.
#![forbid(unsafe_code)]

mod address;
mod bundle;
mod connection;
mod connections;
mod credentials;
mod document;
mod examine;
mod export;
mod identity;
mod keys;
mod lints;
mod load;
mod mistake;
mod model;
mod names;
mod overlap;
mod parts;
mod pem;
mod ports;
mod profile;
mod proposals;
mod protocol;
mod reader;
pub mod reference;
mod remote_access;
mod routes;
mod rules;
mod sa;
mod sad;
mod scopes;
mod selector;
mod settings;
mod shadow;
mod spd;
mod store;
mod suite;

pub use connection::*;
pub use examine::{Examine, Finding};
pub use export::{Exported, export};
pub use identity::distinguished_name_text;
pub use load::{Loaded, load, load_examined, load_store, load_with, parse};
pub use mistake::{Mistake, Severity};
pub use model::*;
pub use overlap::{InboundOverlap, Overlap};
pub use profile::Profile;
pub use remote_access::{AddressPool, ModeConfig, RemoteAccess, Users, Xauth};
pub use rules::{
    DefaultResponse, Exemptions, Filter, FilterAction, FilterAddress, FilterList, FilterVerb,
    IkeSettings, InterfaceClass, Negotiation, Origin, PolicyId, Rule, RuleSet, Topology,
};
pub use selector::*;
pub use store::{About, Document, RemoteStore, Store, StorePlace};
pub use suite::*;
