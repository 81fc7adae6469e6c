use super::*;
use portcullis_config::{AeadIcv, AesKey, Cipher, Integrity, Transform as Algorithms};

const GCM: ChildProposal = ChildProposal {
    esp: Some(Algorithms::Esp(
        Cipher::AesGcm(AesKey::Aes128, AeadIcv::Icv16),
        None,
    )),
    ah: None,
    esn: false,
};
const CBC: ChildProposal = ChildProposal {
    esp: Some(Algorithms::Esp(
        Cipher::AesCbc(AesKey::Aes256),
        Some(Integrity::HmacSha2_256_128),
    )),
    ah: None,
    esn: false,
};
const BUNDLE: ChildProposal = ChildProposal {
    ah: Some(Integrity::HmacSha1_96),
    ..CBC
};
const SPIS: Spis = Spis {
    esp: Some(0x1000),
    ah: Some(0x2000),
};

fn policy(proposals: &[ChildProposal]) -> Policy<'_> {
    Policy {
        proposals,
        mode: Mode::Tunnel,
        udp: None,
        pfs: None,
        hard: Limits {
            seconds: Some(3600),
            ..Limits::default()
        },
    }
}

#[test]
fn an_offer_is_as_the_rfc_numbers_it() {
    let offer = policy(&[CBC]).offer(SPIS).encode();
    let expected = [
        &[0, 0, 0, 1, 0, 0, 0, 1][..],
        &[0, 0, 0, 40, 1, 3, 4, 1, 0, 0, 0x10, 0],
        // ESP_AES (12), seconds (1) 3600, tunnel (1), HMAC-SHA2-256 (5), 256 bits.
        &[0, 0, 0, 28, 1, 12, 0, 0, 0x80, 1, 0, 1, 0x80, 2, 0x0e, 0x10],
        &[0x80, 4, 0, 1, 0x80, 5, 0, 5, 0x80, 6, 1, 0],
    ];
    assert_eq!(offer, expected.concat());
}

#[test]
fn neighbours_share_a_proposal_and_bundles_do_not() {
    let offer = policy(&[GCM, CBC, BUNDLE, GCM]).offer(SPIS);
    let shape: Vec<_> = offer
        .proposals
        .iter()
        .map(|p| (p.number, p.protocol, p.transforms.len()))
        .collect();
    assert_eq!(shape, [(1, 3, 2), (2, 3, 1), (2, 2, 1), (3, 3, 1)]);
}

#[test]
fn a_choice_comes_back_with_the_responders_spis() {
    let ours = policy(&[GCM, BUNDLE]);
    let chosen = policy(&[BUNDLE])
        .choose(&ours.offer(SPIS))
        .unwrap()
        .unwrap();
    assert_eq!((chosen.proposal, chosen.spis), (BUNDLE, SPIS));
    assert_eq!(chosen.lifetime, Lifetime::said(Some(3600), None));
    let theirs = Spis {
        esp: Some(0x3000),
        ah: Some(0x4000),
    };
    let seen = ours.chosen(&chosen.answer(theirs)).unwrap().unwrap();
    assert_eq!((seen.proposal, seen.spis), (BUNDLE, theirs));
}

#[test]
fn a_changed_answer_is_refused() {
    let ours = policy(&[GCM]);
    let longer = Policy {
        hard: Limits {
            seconds: Some(7200),
            ..Limits::default()
        },
        ..policy(&[GCM])
    };
    assert_eq!(ours.chosen(&longer.offer(SPIS)), Ok(None));
    assert_eq!(ours.chosen(&policy(&[CBC]).offer(SPIS)), Ok(None));
    assert_eq!(
        policy(&[GCM, CBC]).chosen(&policy(&[GCM, CBC]).offer(SPIS)),
        Ok(None)
    );
    let reserved = Spis {
        esp: Some(255),
        ah: None,
    };
    assert_eq!(ours.chosen(&ours.offer(reserved)), Ok(None));
}

#[test]
fn refusals_name_what_differs() {
    let difference = |ours: Policy<'_>, theirs: Policy<'_>| {
        let refused = ours.choose(&theirs.offer(SPIS)).unwrap().unwrap_err();
        let first = &refused[0].differences[0];
        (
            first.attribute,
            first.offered.clone(),
            first.expected.clone(),
        )
    };
    let text = |a: &'static str, b: &str, c: &str| (a, b.to_owned(), c.to_owned());
    let pfs = Policy {
        pfs: Some(Group::Modp2048),
        ..policy(&[GCM])
    };
    assert_eq!(difference(pfs, policy(&[GCM])), text("group", "none", "14"));
    let transport = Policy {
        mode: Mode::Transport,
        ..policy(&[GCM])
    };
    let expected = text("mode", "transport", "tunnel");
    assert_eq!(difference(policy(&[GCM]), transport), expected);
    let expected = text("transform", "AES-GCM-16", "AES-CBC");
    assert_eq!(difference(policy(&[CBC]), policy(&[GCM])), expected);
    let expected = text("protocol", "no AH", "AH");
    assert_eq!(difference(policy(&[BUNDLE]), policy(&[CBC])), expected);
    let esn = ChildProposal { esn: true, ..GCM };
    let expected = text("sequence numbers", "1", "none");
    assert_eq!(difference(policy(&[GCM]), policy(&[esn])), expected);
}

#[test]
fn behind_a_nat_modes_have_other_numbers_and_ah_goes() {
    let natted = |udp| Policy {
        udp: Some(udp),
        ..policy(&[BUNDLE, GCM])
    };
    for (version, number) in [
        (NatTraversalVersion::Rfc3947, 3),
        (NatTraversalVersion::Draft, 61443),
    ] {
        let offer = natted(version).offer(SPIS);
        let [proposal] = &offer.proposals[..] else {
            panic!("{offer:?}");
        };
        assert_eq!((proposal.protocol, proposal.transforms.len()), (3, 1));
        let mode = Attribute::basic(4, number);
        assert!(proposal.transforms[0].attributes.contains(&mode));
    }
}

#[test]
fn what_the_doi_has_no_number_for_is_not_offered() {
    let chacha = ChildProposal {
        esp: Some(Algorithms::Esp(Cipher::ChaCha20Poly1305, None)),
        ..GCM
    };
    assert!(!has_names(&chacha) && has_names(&GCM) && has_names(&BUNDLE));
    assert!(policy(&[chacha]).offer(SPIS).proposals.is_empty());
}
