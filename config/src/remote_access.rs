//! Road warriors: users who prove themselves after phase 1 (XAUTH, hybrid authentication), and the addresses that mode
//! config gives their hosts.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::address;
use crate::credentials::closed_file;
use crate::mistake::shown;
use crate::ports::{Names, members};
use crate::reader::{Item, Section};
use crate::reference::{POOL, XAUTH};
use crate::{AddressRange, Authentication, RemoteAddress, Secret, Selector};

/// Passwords that one phase 1 may try, if the policy does not say.
const TRIES: u64 = 3;
/// A pool of more addresses than this is most likely a mistake, and would never be used up.
const POOL_LIMIT: u128 = 1 << 24;

/// What a connection has for road warriors, or as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteAccess {
    /// Who asks whom for a user's name and password.
    pub xauth: Option<Xauth>,
    /// In phase 1 only the end that asks for the password proves itself, with its certificate.
    pub hybrid: bool,
    /// Who gives whom an address.
    pub mode_config: Option<ModeConfig>,
}

/// Extended authentication (draft-beaulieu-ike-xauth-02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Xauth {
    /// This gateway asks.
    Server {
        /// Whom it believes.
        users: Arc<Users>,
        /// How many passwords one phase 1 may try.
        tries: u32,
    },
    /// The peer asks.
    Client {
        /// Name.
        user: String,
        /// Password.
        password: Secret,
    },
}

/// Mode config (draft-dukes-ike-mode-cfg-02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModeConfig {
    /// Peers get addresses from here.
    Give {
        /// The addresses, and what else clients are told.
        pool: Arc<AddressPool>,
        /// Clients are told without being asked.
        push: bool,
    },
    /// The peer is asked for an address; it is our side of what quick mode negotiates.
    Ask,
}

/// Addresses for road warriors, and what else they are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// Name.
    pub name: String,
    /// The addresses.
    pub ranges: Vec<AddressRange>,
    /// Netmask that goes with an IPv4 address.
    pub netmask: Ipv4Addr,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// NetBIOS name servers.
    pub nbns: Vec<Ipv4Addr>,
    /// Networks behind the gateway; empty: everything.
    pub split_include: Vec<Ipv4Net>,
    /// Default domain.
    pub domain: Option<String>,
    /// Greeting.
    pub banner: Option<String>,
}

/// Names, each with the hash of a password in the form of `crypt(3)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Users(HashMap<String, String>);

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.0.len())
    }
}

impl Users {
    /// Reads lines `name:hash`. Empty lines and those that begin with `#` say nothing.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut users = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| format!("line {number}: {what}");
            let (name, hash) = line
                .split_once(':')
                .ok_or_else(|| wrong("expected `name:hash`"))?;
            if name.is_empty() || name.contains(char::is_control) {
                return Err(wrong("expected a name before the colon"));
            }
            if !is_sha_crypt(hash) {
                return Err(wrong(
                    "expected a hash that begins with $6$ (run: openssl passwd -6)",
                ));
            }
            if users.insert(name.to_owned(), hash.to_owned()).is_some() {
                return Err(wrong(&format!("the name {} is there already", shown(name))));
            }
        }
        match users.is_empty() {
            true => Err("expected at least one line `name:hash`".to_owned()),
            false => Ok(Users(users)),
        }
    }

    /// The hash of a user's password.
    pub fn hash(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// `$6$[rounds=N$]salt$hash`, or the same with 5: SHA-crypt with 512 or 256 bits.
fn is_sha_crypt(hash: &str) -> bool {
    let (rest, length) = match (hash.strip_prefix("$6$"), hash.strip_prefix("$5$")) {
        (Some(rest), _) => (rest, 86),
        (None, Some(rest)) => (rest, 43),
        (None, None) => return false,
    };
    let mut parts = rest.split('$').peekable();
    if let Some(rounds) = parts.peek().and_then(|part| part.strip_prefix("rounds=")) {
        // More take longer than a client waits.
        if !rounds
            .parse()
            .is_ok_and(|n: u32| (1000..=5_000_000).contains(&n))
        {
            return false;
        }
        parts.next();
    }
    let digits = |text: &str| {
        let mut bytes = text.bytes();
        bytes.all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
    };
    match (parts.next(), parts.next(), parts.next()) {
        (Some(salt), Some(digest), None) => {
            (1..=16).contains(&salt.len())
                && digits(salt)
                && digest.len() == length
                && digits(digest)
        }
        _ => false,
    }
}

impl RemoteAccess {
    /// True if phase 1 runs by the same method.
    pub fn is_like(&self, other: &RemoteAccess) -> bool {
        let server = |this: &RemoteAccess| {
            let xauth = this.xauth.as_ref();
            xauth.map(|xauth| matches!(xauth, Xauth::Server { .. }))
        };
        self.hybrid == other.hybrid && server(self) == server(other)
    }

    /// True if the peer's user has to prove themselves: then only the peer can begin.
    pub fn asks(&self) -> bool {
        matches!(self.xauth, Some(Xauth::Server { .. }))
    }

    /// The pool that peers get addresses from.
    pub fn pool(&self) -> Option<&Arc<AddressPool>> {
        match &self.mode_config {
            Some(ModeConfig::Give { pool, .. }) => Some(pool),
            _ => None,
        }
    }
}

/// Which end of hybrid authentication a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hybrid {
    Server,
    Client,
}

/// Reads whether phase 1 is hybrid.
pub(crate) fn read_hybrid(section: Section<'_>) -> Option<Option<Hybrid>> {
    if !section.says_true("hybrid") {
        return Some(None);
    }
    let Some(xauth) = section.get("xauth") else {
        section.error(
            "hybrid",
            "expected `xauth` with it: nothing else tells who the user is",
        );
        return None;
    };
    let role = xauth.section(&XAUTH)?.get("role")?;
    let sides = [("server", Hybrid::Server), ("client", Hybrid::Client)];
    role.find(&sides).map(Some)
}

/// All pools, in order.
#[derive(Default)]
pub(crate) struct Pools<'a> {
    list: Vec<Option<Arc<AddressPool>>>,
    names: Names<'a>,
}

impl<'a> Pools<'a> {
    /// Reads every `[[pool]]`.
    pub(crate) fn read(root: Section<'a>) -> Self {
        let mut pools = Pools::default();
        for section in root.sections("pool", &POOL) {
            let name = pools.names.read(section, pools.list.len());
            pools.list.push(read_pool(section, name).map(Arc::new));
        }
        pools
    }

    /// Reads what a connection has for road warriors, or as one.
    pub(crate) fn read_access(
        &self,
        section: Section<'_>,
        authentication: Option<&Authentication>,
        remote: Option<&RemoteAddress>,
        base: &Path,
    ) -> Option<RemoteAccess> {
        let xauth = match section.get("xauth") {
            Some(item) => read_xauth(item, base).map(Some),
            None => Some(None),
        };
        let hybrid = section.get("hybrid").map_or(Some(false), Item::boolean);
        let by_group = matches!(authentication, Some(Authentication::PreSharedKey(_)))
            && !matches!(remote, Some(RemoteAddress::Host(_)) | None);
        if by_group && matches!(xauth, Some(Some(Xauth::Server { .. }))) {
            let message = "whoever knows the pre-shared key can pose as this gateway and learn passwords: \
                           certificates or `hybrid` prevent that";
            section.warning("xauth", message);
        }
        Some(RemoteAccess {
            mode_config: self.read_mode_config(section, remote)?,
            xauth: xauth?,
            hybrid: hybrid?,
        })
    }

    fn read_mode_config(
        &self,
        section: Section<'_>,
        remote: Option<&RemoteAddress>,
    ) -> Option<Option<ModeConfig>> {
        let asks = match section.get("request-address") {
            Some(item) => item.boolean()?,
            None => false,
        };
        let Some(item) = section.get("pool") else {
            section.refuse("mode-config", "expected only with `pool`");
            return Some(asks.then_some(ModeConfig::Ask));
        };
        if asks {
            section.error(
                "request-address",
                "expected this or `pool`: one end gives addresses, the other asks",
            );
        }
        if matches!(remote, Some(RemoteAddress::Host(_))) {
            section.warning("pool", "one peer at one address needs no pool");
        }
        let push = match section.get("mode-config") {
            Some(item) => item.choice(&[("pull", false), ("push", true)])?,
            None => false,
        };
        let pool = self.list.get(self.names.find(item, "pool")?)?.clone()?;
        Some(Some(ModeConfig::Give { pool, push }))
    }
}

fn read_xauth(item: Item<'_>, base: &Path) -> Option<Xauth> {
    let table = item.section(&XAUTH)?;
    let is_server = table
        .require("role")?
        .choice(&[("server", true), ("client", false)])?;
    let (ours, others) = match is_server {
        true => (["users-file", "tries"], ["user", "password-file"]),
        false => (["user", "password-file"], ["users-file", "tries"]),
    };
    for key in others {
        table.refuse(key, &format!("expected only {} and {}", ours[0], ours[1]));
    }
    if is_server {
        let tries = match table.get("tries") {
            Some(item) => item.integer(1, 10),
            None => u32::try_from(TRIES).ok(),
        };
        let users = closed_file(table.require("users-file")?, base, Users::read)?;
        return Some(Xauth::Server {
            users: Arc::new(users),
            tries: tries?,
        });
    }
    let user = table.require("user").and_then(Item::string);
    let password = table.require("password-file").and_then(|item| {
        closed_file(item, base, |text| {
            let password = text.lines().next().unwrap_or_default();
            match password.is_empty() {
                true => Err("expected a password in the first line".to_owned()),
                false => Ok(Secret::new(password.as_bytes().to_vec())),
            }
        })
    });
    Some(Xauth::Client {
        user: user?.to_owned(),
        password: password?,
    })
}

fn read_pool(section: Section<'_>, name: &str) -> Option<AddressPool> {
    section.require("addresses")?;
    let ranges = read_list(section, "addresses", address::range)?;
    check_ranges(section, &ranges);
    let mask = |text: &str| text.parse().map_err(|_| netmask_expected(text));
    let netmask = match section.get("netmask") {
        Some(item) => item.parse(|text| {
            let mask: Ipv4Addr = mask(text)?;
            let ones = mask.to_bits().leading_ones();
            match mask.to_bits().count_ones() == ones {
                true => Ok(mask),
                false => Err(netmask_expected(text)),
            }
        }),
        None => Some(Ipv4Addr::BROADCAST),
    };
    let dns = read_list(section, "dns", address::host);
    let nbns = read_list(section, "nbns", |text| match address::host(text)? {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err("expected an IPv4 address".to_owned()),
    });
    let split_include = read_list(section, "split-include", |text| {
        match address::prefix(text)? {
            ipnet::IpNet::V4(net) => Ok(net),
            ipnet::IpNet::V6(_) => Err("expected an IPv4 prefix".to_owned()),
        }
    });
    let text = |key| match section.get(key) {
        Some(item) => item.string().map(|text| Some(text.to_owned())),
        None => Some(None),
    };
    let (domain, banner) = (text("domain"), text("banner"));
    Some(AddressPool {
        name: name.to_owned(),
        ranges,
        netmask: netmask?,
        dns: dns?,
        nbns: nbns?,
        split_include: split_include?,
        domain: domain?,
        banner: banner?,
    })
}

fn netmask_expected(text: &str) -> String {
    format!(
        "expected a netmask such as 255.255.255.0; got {}",
        shown(text)
    )
}

fn read_list<T>(
    section: Section<'_>,
    key: &'static str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let found: Vec<_> = members(section, key).map(|i| i.parse(&read)).collect();
    found.into_iter().collect()
}

/// No address is there twice, and there are not more than anyone needs.
fn check_ranges(section: Section<'_>, ranges: &[AddressRange]) {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (4, u128::from(address.to_bits())),
        IpAddr::V6(address) => (6, address.to_bits()),
    };
    let mut sorted: Vec<_> = ranges
        .iter()
        .map(|r| (bits(r.start), bits(r.end)))
        .collect();
    sorted.sort_unstable();
    let overlap = sorted.windows(2).any(|pair| match pair {
        [(_, end), (start, _)] => start <= end,
        _ => false,
    });
    if overlap {
        section.error("addresses", "expected each address once");
    }
    if ranges.is_empty() {
        section.error("addresses", "expected at least one address");
    }
    let large = sorted
        .iter()
        .any(|((_, start), (_, end))| end - start >= POOL_LIMIT);
    if large {
        section.error(
            "addresses",
            format!("expected at most {POOL_LIMIT} addresses"),
        );
    }
}

/// The addresses of clients must be on the peer's side of the entry that protects them.
pub(crate) fn check_selector(section: Section<'_>, access: &RemoteAccess, selector: &Selector) {
    let Some(pool) = access.pool() else {
        return;
    };
    let covered = |range: &AddressRange| {
        let mut remote = selector.remote.iter();
        selector.remote.is_empty()
            || remote.any(|r| r.contains(range.start) && r.contains(range.end))
    };
    let family = |range: &&AddressRange| {
        let mut known = selector.remote.iter().chain(&selector.local);
        known
            .next()
            .is_none_or(|known| known.start.is_ipv4() == range.start.is_ipv4())
    };
    if !pool.ranges.iter().filter(family).all(covered) {
        let message = format!(
            "expected all addresses of the pool {} in it: this side is the clients'",
            shown(&pool.name)
        );
        section.error("remote", message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl passwd -6 -salt abcdefgh wonderland`.
    const HASH: &str = "$6$abcdefgh$e1o..VsKRS0O4M9J1Qb9u.strxNEAfDkCXcaYc5TsDrJFctQCTMkPeis45vy3ZQtqt4dqG4vXTonFJKbQgR2Q1";

    #[test]
    fn lines_of_users() {
        let text = format!("# who may come\n\nalice:{HASH}\nbob@example.com:{HASH}\n");
        let users = Users::read(&text).expect("users");
        assert_eq!(users.hash("alice"), Some(HASH));
        assert_eq!(users.hash("bob@example.com"), Some(HASH));
        assert_eq!(users.hash("carol"), None);
        assert_eq!(format!("{users:?}"), "Users(2)");
    }

    #[test]
    fn wrong_lines_are_named() {
        let long = format!("a:{HASH}x");
        let often = format!("a:{}", HASH.replacen("$6$", "$6$rounds=99999999$", 1));
        for (line, text) in [
            (1, "alice"),
            (1, ":x"),
            (2, "#\na:wonderland"),
            (1, "a:$1$abcdefgh$irWbblnpmw.5z7wgBnprh0"),
            (1, &long),
            (1, &often),
            (2, &format!("a:{HASH}\na:{HASH}")),
        ] {
            let error = Users::read(text).expect_err(text);
            assert!(error.starts_with(&format!("line {line}: ")), "{error}");
        }
        assert!(Users::read("# nobody\n").is_err());
        let rounds = HASH.replacen("$6$", "$6$rounds=10000$", 1);
        assert!(Users::read(&format!("a:{rounds}")).is_ok());
    }
}
