//! Diffie-Hellman as the RFCs have it, in the encodings of the key exchange payload.
#![allow(clippy::unwrap_used, clippy::panic)]

use portcullis_config::Group;
use portcullis_ike::crypto::RandomSource;
use portcullis_ike::crypto::dh::{KeyPair, public_length, respond};
use serde_json::Value;

const GROUPS: [(u64, Group); 12] = [
    (1, Group::Modp768),
    (2, Group::Modp1024),
    (5, Group::Modp1536),
    (14, Group::Modp2048),
    (15, Group::Modp3072),
    (16, Group::Modp4096),
    (17, Group::Modp6144),
    (18, Group::Modp8192),
    (19, Group::Ecp256),
    (20, Group::Ecp384),
    (21, Group::Ecp521),
    (31, Group::X25519),
];

fn vectors(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    file["tests"].as_array().unwrap().clone()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn group(number: &Value) -> Group {
    let number = number.as_u64().unwrap();
    GROUPS.iter().find(|(n, _)| *n == number).unwrap().1
}

/// Both sides of one exchange.
fn exchange(group: Group, private: [Vec<u8>; 2], public: [Vec<u8>; 2], secret: &[u8]) {
    let [i, r] = private.map(|private| KeyPair::from_private(group, private).unwrap());
    assert_eq!(
        [i.public(), r.public()],
        [&public[0][..], &public[1][..]],
        "{group:?}"
    );
    assert_eq!(public[0].len(), public_length(group));
    assert_eq!(i.agree(r.public()).unwrap().as_bytes(), secret, "{group:?}");
    assert_eq!(r.agree(i.public()).unwrap().as_bytes(), secret, "{group:?}");
}

/// The exchanges are Python's, the primes the RFCs'.
#[test]
fn modp() {
    let tests = vectors(include_str!("vectors/modp_exchanges.json"));
    assert_eq!(tests.len(), 16);
    let mut leading_zeros = 0;
    for test in tests {
        let secret = hex(&test["secret"]);
        leading_zeros += usize::from(secret[0] == 0);
        exchange(
            group(&test["group"]),
            [hex(&test["i"]), hex(&test["r"])],
            [hex(&test["public_i"]), hex(&test["public_r"])],
            &secret,
        );
    }
    assert!(leading_zeros >= 4, "{leading_zeros}");
}

/// p-2 is the largest value that a peer may send, p-1 the smallest of those above that it may not.
#[test]
fn modp_primes_are_the_rfcs() {
    let tests = vectors(include_str!("vectors/modp_groups.json"));
    assert_eq!(tests.len(), 8);
    for test in tests {
        let group = group(&test["group"]);
        let prime = hex(&test["p"]);
        assert_eq!(public_length(group), prime.len());
        let pair = KeyPair::from_private(group, vec![3; 30]).unwrap();
        let minus = |number: u8| {
            let mut out = prime.clone();
            *out.last_mut().unwrap() -= number;
            out
        };
        assert!(pair.agree(&minus(2)).is_ok(), "{group:?}");
        for bad in [
            minus(1),
            minus(0),
            vec![0; prime.len()],
            vec![255; prime.len()],
        ] {
            assert!(pair.agree(&bad).is_err(), "{group:?}");
        }
    }
}

#[test]
fn ecp_of_rfc_5903() {
    let tests = vectors(include_str!("vectors/rfc5903_ecp.json"));
    assert_eq!(tests.len(), 3);
    for test in tests {
        // What follows length, group and reserved field of the payload is the public value.
        let body = |name: &str| hex(&test[name])[8..].to_vec();
        exchange(
            group(&test["group"]),
            [hex(&test["i"]), hex(&test["r"])],
            [body("KEi"), body("KEr")],
            &hex(&test["girx"]),
        );
    }
}

#[test]
fn x25519_of_rfc_8031() {
    let tests = vectors(include_str!("vectors/rfc8031_x25519.json"));
    assert_eq!(tests.len(), 1);
    for test in tests {
        for [i, r] in [["random_i", "random_r"], ["fixed_i", "fixed_r"]] {
            exchange(
                Group::X25519,
                [hex(&test[i]), hex(&test[r])],
                [hex(&test["pub_i"]), hex(&test["pub_r"])],
                &hex(&test["shared"]),
            );
        }
    }
}

/// Bytes that count up, or the same one always.
struct Counting(u8, u8);

impl RandomSource for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(self.1);
            *byte = self.0;
        }
    }
}

#[test]
fn drawn_keys_agree_in_every_group() {
    for (_, group) in GROUPS {
        let i = KeyPair::new(group, &mut Counting(17, 1)).unwrap();
        let r = KeyPair::new(group, &mut Counting(91, 3)).unwrap();
        assert_ne!(i.public(), r.public());
        assert_eq!(i.group(), group);
        assert_eq!(i.public().len(), public_length(group));
        let (ours, theirs) = (i.agree(r.public()).unwrap(), r.agree(i.public()).unwrap());
        assert_eq!(ours.as_bytes(), theirs.as_bytes(), "{group:?}");
        for length in [0, 1, i.public().len() - 1, i.public().len() + 1] {
            assert!(r.agree(&vec![5; length]).is_err(), "{group:?} {length}");
        }
        assert!(r.agree(&vec![0; i.public().len()]).is_err(), "{group:?}");
        assert!(!format!("{i:?} {ours:?}").contains('['));
    }
}

/// However a responder computes, an initiator comes to the same, and what it refuses a responder refuses.
#[test]
fn responders_agree_in_every_group() {
    for (_, group) in GROUPS {
        let i = KeyPair::new(group, &mut Counting(17, 1)).unwrap();
        let drawn = KeyPair::new(group, &mut Counting(91, 3)).unwrap();
        let (public, shared) = respond(group, &mut Counting(91, 3), i.public()).unwrap();
        assert_eq!(public, drawn.public(), "{group:?}");
        let theirs = i.agree(&public).unwrap();
        assert_eq!(shared.as_bytes(), theirs.as_bytes(), "{group:?}");
        let length = i.public().len();
        let mut small = vec![0; length];
        small[length - 1] = 1;
        let others = [0, 1, length - 1, length + 1].map(|length| vec![5; length]);
        for peer in others.into_iter().chain([vec![0; length]]) {
            assert!(
                respond(group, &mut Counting(91, 3), &peer).is_err(),
                "{group:?}"
            );
        }
        if (1..=18).contains(&GROUPS.iter().find(|(_, g)| *g == group).unwrap().0) {
            // 1, and what is above every prime of the groups.
            for peer in [small, vec![0xff; length]] {
                assert!(
                    respond(group, &mut Counting(91, 3), &peer).is_err(),
                    "{group:?}"
                );
            }
        }
        assert!(
            respond(group, &mut Counting(0, 0), i.public()).is_err() || group == Group::X25519,
            "{group:?}: a private key of zero"
        );
    }
}

#[test]
fn random_bytes_that_are_no_key_are_drawn_again() {
    // All ones are above the order of every curve; the second draw is below it.
    struct Second(bool);
    impl RandomSource for Second {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(if std::mem::replace(&mut self.0, true) {
                0x55
            } else {
                0xff
            });
        }
    }
    for group in [Group::Ecp256, Group::Ecp384, Group::Ecp521] {
        assert!(KeyPair::new(group, &mut Second(false)).is_ok(), "{group:?}");
        // A source that is stuck is an error, not a loop.
        assert!(
            KeyPair::new(group, &mut Counting(255, 0)).is_err(),
            "{group:?}"
        );
        assert!(
            KeyPair::new(group, &mut Counting(0, 0)).is_err(),
            "{group:?}"
        );
    }
}
