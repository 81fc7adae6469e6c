//! Extended authentication (draft-beaulieu-ike-xauth-02): a user proves themselves between phase 1 and phase 2.
//!
//! ```text
//! Client                                            Server
//!                                              <--  REQUEST(NAME="" PASSWORD="")
//! REPLY(NAME="joe" PASSWORD="foobar")          -->
//!                                              <--  SET(STATUS=OK), or REQUEST again, or SET(STATUS=FAIL)
//! ACKNOWLEDGE                                  -->
//! ```
//!
//! All of it has one identifier; each REQUEST and each SET is an exchange of its own.

use std::time::Duration;

use portcullis_config::{ModeConfig, Secret, Xauth};

use crate::core::Core;
use crate::peer_id::PeerId;
use crate::source::source;
use crate::v1::ike_sa::{IkeSa, State as IkeState};
use crate::v1::transaction::bytes;
use crate::v1::wrong_passwords::Guess;
use crate::v1::{informational, mode_config, transaction};
use crate::wire::attribute::Attribute;
use crate::wire::configuration::{Configuration, Type, xauth};
use crate::work::{Job, Outcome};
use crate::{CloseReason, Error, Local, PeerIncompatible, Time};

/// Time that a user has for all of it.
pub(super) const TIME: Duration = Duration::from_secs(120);
/// XAUTH-TYPE: name and password (draft-beaulieu-ike-xauth-02 6.3).
const GENERIC: u64 = 0;
/// XAUTH-STATUS (draft-beaulieu-ike-xauth-02 6.2).
const FAIL: u16 = 0;
const OK: u16 = 1;
/// Bytes of a user's name.
const LONGEST_NAME: usize = 256;

/// What stands between phase 1 and phase 2.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Server: name and password.
    AwaitReply { identifier: u16, left: u32 },
    /// Server: the time at which they may be checked.
    Waiting {
        identifier: u16,
        left: u32,
        user: String,
        password: Secret,
        until: Time,
    },
    /// Server: whether they are right.
    Checking {
        identifier: u16,
        left: u32,
        guess: Guess,
    },
    /// Server: the time at which a wrong password is answered.
    Delaying {
        identifier: u16,
        left: u32,
        user: String,
        until: Time,
    },
    /// Server: the acknowledgement of a refusal.
    AwaitFarewell { user: String },
    /// Server that pushes an address: the acknowledgement of the verdict.
    AwaitPush,
    /// Client: a question, or the verdict.
    AwaitVerdict,
    /// Client: the verdict has come.
    Judged { right: bool },
    /// Client of mode config: our address.
    AwaitAddress,
}

impl Admission {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Admission::AwaitReply { .. } => "xauth: awaits name and password",
            Admission::Waiting { .. } => "xauth: waits for its turn",
            Admission::Checking { .. } => "xauth: checks the password",
            Admission::Delaying { .. } => "xauth: lets a wrong password wait",
            Admission::AwaitFarewell { .. } => "xauth: has refused",
            Admission::AwaitPush => "xauth: has admitted",
            Admission::AwaitVerdict | Admission::Judged { .. } => "xauth: awaits the verdict",
            Admission::AwaitAddress => "mode config: awaits an address",
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self {
            Admission::Waiting { until, .. } | Admission::Delaying { until, .. } => Some(*until),
            _ => None,
        }
    }
}

/// Phase 1 stands: what comes before phase 2 begins.
pub(super) fn begin(sa: &mut IkeSa, core: &mut Core, now: Time) -> Result<(), Error> {
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    let identity = sa.remote_id.clone().ok_or(Local::NotConfigured)?;
    match &connection.remote_access.xauth {
        Some(Xauth::Server { tries, .. }) => {
            sa.half_open_until = Some(now + TIME);
            let identifier = u16::from_be_bytes(core.random());
            ask(sa, core, now, (identifier, *tries))
        }
        Some(Xauth::Client { .. }) => {
            sa.half_open_until = Some(now + TIME);
            sa.peer_id = Some(PeerId::proven(&connection.name, &identity));
            enter(sa, Admission::AwaitVerdict);
            Ok(())
        }
        None => {
            sa.peer_id = Some(PeerId::proven(&connection.name, &identity));
            mode_config::begin(sa, core, now)
        }
    }
}

/// True while an answer can only be of XAUTH.
pub(super) fn is_due(sa: &IkeSa) -> bool {
    matches!(
        sa.state,
        IkeState::Admission(
            Admission::AwaitReply { .. }
                | Admission::Waiting { .. }
                | Admission::Checking { .. }
                | Admission::Delaying { .. }
                | Admission::AwaitFarewell { .. }
                | Admission::AwaitPush
        )
    )
}

/// Server: asks for name and password.
fn ask(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (identifier, left): (u16, u32),
) -> Result<(), Error> {
    let request = Configuration {
        kind: Type::Request,
        identifier,
        attributes: vec![
            bytes(xauth::USER_NAME, &[]),
            bytes(xauth::USER_PASSWORD, &[]),
        ],
    };
    enter(sa, Admission::AwaitReply { identifier, left });
    transaction::begin(sa, core, now, &request)
}

/// Server: an answer came, authentic as far as phase 1 goes.
pub(super) fn answered(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    answer: &Configuration,
) -> Result<(), Error> {
    match &sa.state {
        IkeState::Admission(Admission::AwaitReply { identifier, left })
            if answer.kind == Type::Reply =>
        {
            let (identifier, left) = (*identifier, *left);
            read(sa, core, now, (identifier, left), answer)
        }
        IkeState::Admission(Admission::AwaitFarewell { .. }) => {
            farewell(sa, core, now);
            Ok(())
        }
        IkeState::Admission(Admission::AwaitPush) => mode_config::begin(sa, core, now),
        _ => Ok(()),
    }
}

fn read(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (identifier, left): (u16, u32),
    reply: &Configuration,
) -> Result<(), Error> {
    let text = |kind| reply.bytes(kind).unwrap_or_default();
    let name = text(xauth::USER_NAME);
    let is_name = name.len() <= LONGEST_NAME;
    let name = name.get(..LONGEST_NAME).unwrap_or(name);
    let user = String::from_utf8_lossy(name).into_owned();
    // The client does without (6.1), or cannot say what it is asked for.
    if reply.attribute(xauth::STATUS).is_some() || !is_name {
        return refuse(sa, core, now, (identifier, user));
    }
    let password = Secret::new(text(xauth::USER_PASSWORD).to_vec());
    check(sa, core, now, (identifier, left), (user, password))
}

/// Server: checks a name and a password, or lets them wait for that.
fn check(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (identifier, left): (u16, u32),
    (user, password): (String, Secret),
) -> Result<(), Error> {
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    let Some(Xauth::Server { users, .. }) = &connection.remote_access.xauth else {
        return Err(Local::NotConfigured.into());
    };
    let source = source(sa.path.remote.ip());
    let guess = Guess { source, user };
    if let Err(until) = core.wrong_passwords.begin(now, &guess) {
        let state = Admission::Waiting {
            identifier,
            left,
            user: guess.user,
            password,
            until,
        };
        enter(sa, state);
        return Ok(());
    }
    let job = Job::CheckPassword {
        users: users.clone(),
        name: guess.user.clone(),
        password,
    };
    core.work(sa.id, 0, job);
    let state = Admission::Checking {
        identifier,
        left,
        guess,
    };
    enter(sa, state);
    Ok(())
}

/// Server: the IKE SA ends. A check of which it does not await the end counts as wrong: to go before it is known gains
/// nothing.
pub(super) fn closed(admission: &Admission, core: &mut Core, now: Time) {
    if let Admission::Checking { guess, .. } = admission {
        core.wrong_passwords.end(now, guess, false);
    }
}

/// Server: the password is checked.
pub(super) fn computed(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    outcome: &Outcome,
) -> Result<(), Error> {
    let (IkeState::Admission(Admission::Checking { .. }), Outcome::Checked(right)) =
        (&sa.state, outcome)
    else {
        return Ok(());
    };
    let IkeState::Admission(Admission::Checking {
        identifier,
        left,
        guess,
    }) = std::mem::replace(&mut sa.state, IkeState::Changing)
    else {
        return Ok(());
    };
    let until = core.wrong_passwords.end(now, &guess, *right);
    let user = guess.user;
    if *right {
        return admit(sa, core, now, (identifier, user));
    }
    core.counters.wrong_passwords += 1;
    // The reason, should the client give up.
    sa.hint = Some((PeerIncompatible::User(user.clone()).into(), Vec::new()));
    let state = Admission::Delaying {
        identifier,
        left: left.saturating_sub(1),
        user,
        until,
    };
    enter(sa, state);
    Ok(())
}

/// Server: the user is who they say. The acknowledgement of that ends its repetition, and nothing waits for it but a push:
/// a client to which that comes first may take it for the verdict.
fn admit(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (identifier, user): (u16, String),
) -> Result<(), Error> {
    let connection = sa.connection.clone().ok_or(Local::NotConfigured)?;
    let identity = sa.remote_id.clone().ok_or(Local::NotConfigured)?;
    core.counters.users += 1;
    sa.peer_id = Some(PeerId::of_user(&connection, &identity, user));
    transaction::begin(sa, core, now, &status(identifier, OK))?;
    match &connection.remote_access.mode_config {
        Some(ModeConfig::Give { push: true, .. }) => {
            enter(sa, Admission::AwaitPush);
            Ok(())
        }
        _ => mode_config::begin(sa, core, now),
    }
}

/// Server: no more tries.
fn refuse(
    sa: &mut IkeSa,
    core: &mut Core,
    now: Time,
    (identifier, user): (u16, String),
) -> Result<(), Error> {
    enter(sa, Admission::AwaitFarewell { user });
    transaction::begin(sa, core, now, &status(identifier, FAIL))
}

fn status(identifier: u16, value: u16) -> Configuration {
    Configuration {
        kind: Type::Set,
        identifier,
        attributes: vec![Attribute::basic(xauth::STATUS, value)],
    }
}

/// Server: the client knows; phase 1 ends at once (draft-beaulieu-ike-xauth-02 6).
fn farewell(sa: &mut IkeSa, core: &mut Core, now: Time) {
    let user = match &sa.state {
        IkeState::Admission(Admission::AwaitFarewell { user }) => user.clone(),
        _ => String::new(),
    };
    informational::delete_ike(sa, core);
    sa.fail(core, now, PeerIncompatible::User(user).into());
}

/// A message is not answered. Without an answer to these there is nothing to come.
pub(super) fn unanswered(sa: &mut IkeSa, core: &mut Core, now: Time) {
    match &sa.state {
        IkeState::Admission(Admission::AwaitFarewell { .. }) => farewell(sa, core, now),
        IkeState::Admission(_) => sa.close(core, now, CloseReason::PeerDead),
        _ => {}
    }
}

/// Server: a name and a password, or the answer to wrong ones, has waited long enough.
pub(super) fn timeout(sa: &mut IkeSa, core: &mut Core, now: Time) -> Result<(), Error> {
    let IkeState::Admission(admission) = &mut sa.state else {
        return Ok(());
    };
    if admission.deadline().is_none_or(|until| until > now) {
        return Ok(());
    }
    match admission {
        Admission::Waiting {
            identifier,
            left,
            user,
            password,
            ..
        } => {
            let (known, user) = ((*identifier, *left), std::mem::take(user));
            let password = std::mem::replace(password, Secret::new(Vec::new()));
            check(sa, core, now, known, (user, password))
        }
        Admission::Delaying {
            identifier,
            left,
            user,
            ..
        } => {
            let (identifier, left, user) = (*identifier, *left, user.clone());
            match left {
                0 => refuse(sa, core, now, (identifier, user)),
                left => ask(sa, core, now, (identifier, left)),
            }
        }
        _ => Ok(()),
    }
}

/// Client: what to answer to the server's message; `None`: nothing, for it has no place here.
pub(super) fn asked(sa: &mut IkeSa, question: &Configuration) -> Option<Vec<Attribute>> {
    if !matches!(
        sa.state,
        IkeState::Admission(Admission::AwaitVerdict | Admission::Judged { .. })
    ) {
        return None;
    }
    match question.kind {
        Type::Request => Some(credentials(sa, question)),
        _ => {
            let status = question.attribute(xauth::STATUS)?.as_number().ok()?;
            let right = status == u64::from(OK);
            enter(sa, Admission::Judged { right });
            // 6.1: the acknowledgement has no attributes.
            Some(Vec::new())
        }
    }
}

/// Name and password, if nothing else is asked for.
fn credentials(sa: &IkeSa, question: &Configuration) -> Vec<Attribute> {
    let unable = vec![Attribute::basic(xauth::STATUS, FAIL)];
    let connection = sa.connection.as_ref();
    let xauth = connection.and_then(|c| c.remote_access.xauth.as_ref());
    let Some(Xauth::Client { user, password }) = xauth else {
        return unable;
    };
    let mut attributes = Vec::new();
    for asked in &question.attributes {
        attributes.push(match asked.kind {
            xauth::USER_NAME => bytes(asked.kind, user.as_bytes()),
            xauth::USER_PASSWORD => bytes(asked.kind, password.expose()),
            // 6.2: the type comes back as it was asked for.
            xauth::TYPE if asked.as_number() == Ok(GENERIC) => asked.clone(),
            xauth::MESSAGE => continue,
            other if !xauth::ALL.contains(&other) => continue,
            _ => return unable,
        });
    }
    attributes
}

/// Client: goes on after the verdict or an address, once that is acknowledged.
pub(super) fn proceed(sa: &mut IkeSa, core: &mut Core, now: Time) -> Result<(), Error> {
    match sa.state {
        IkeState::Admission(Admission::Judged { right: true }) => {
            return mode_config::begin(sa, core, now);
        }
        IkeState::Admission(Admission::Judged { right: false }) => {}
        IkeState::Admission(Admission::AwaitAddress) if !sa.addresses.is_empty() => {
            sa.ready(core, now);
            return Ok(());
        }
        _ => return Ok(()),
    }
    let connection = sa.connection.as_ref();
    let user = match connection.and_then(|c| c.remote_access.xauth.as_ref()) {
        Some(Xauth::Client { user, .. }) => user.clone(),
        _ => String::new(),
    };
    informational::delete_ike(sa, core);
    sa.fail(core, now, PeerIncompatible::User(user).into());
    Ok(())
}

fn enter(sa: &mut IkeSa, state: Admission) {
    sa.state = IkeState::Admission(state);
}
