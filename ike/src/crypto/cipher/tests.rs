//! NIST's multi-block messages, and how the IV runs on.

use std::collections::HashMap;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Runs a NIST response file both ways.
fn nist(kind: IkeCipher, text: &str) {
    let mut seen = 0;
    for case in text.replace("\r\n", "\n").split("\n\n") {
        let fields: HashMap<&str, Vec<u8>> = case
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .filter(|(name, _)| *name != "COUNT")
            .map(|(name, value)| (name, hex(value)))
            .collect();
        let (Some(iv), Some(plaintext)) = (fields.get("IV"), fields.get("PLAINTEXT")) else {
            continue;
        };
        let key = ["KEY", "KEY1", "KEY2", "KEY3"]
            .iter()
            .filter_map(|name| fields.get(name))
            .flatten()
            .copied()
            .collect();
        let cipher = PhaseCipher::new(kind, &Secret::new(key));
        let ciphertext = &fields["CIPHERTEXT"];
        let mut running = Iv::new(kind, iv);
        let mut data = plaintext.clone();
        cipher.encrypt(&mut running, &mut data).unwrap();
        assert_eq!(&data, ciphertext);
        assert!(ciphertext.ends_with(running.as_ref()));
        let mut running = Iv::new(kind, iv);
        cipher.decrypt(&mut running, &mut data).unwrap();
        assert_eq!(&data, plaintext);
        assert!(ciphertext.ends_with(running.as_ref()));
        seen += 1;
    }
    assert_eq!(seen, 20);
}

#[test]
fn nists_messages() {
    nist(
        IkeCipher::AesCbc(AesKey::Aes128),
        include_str!("../../../../dataplane/ipsec/tests/vectors/CBCMMT128.rsp"),
    );
    nist(
        IkeCipher::AesCbc(AesKey::Aes192),
        include_str!("../../../../dataplane/ipsec/tests/vectors/CBCMMT192.rsp"),
    );
    nist(
        IkeCipher::AesCbc(AesKey::Aes256),
        include_str!("../../../../dataplane/ipsec/tests/vectors/CBCMMT256.rsp"),
    );
    nist(
        IkeCipher::TripleDesCbc,
        include_str!("../../../../dataplane/ipsec/tests/vectors/TCBCMMT3.rsp"),
    );
}

#[test]
fn two_messages_are_as_one() {
    let kind = IkeCipher::AesCbc(AesKey::Aes128);
    let cipher = PhaseCipher::new(kind, &Secret::new(vec![1; 16]));
    let (mut whole, mut parts) = ([5; 64], [5; 64]);
    let mut iv = Iv::new(kind, &[9; 20]);
    cipher.encrypt(&mut iv.clone(), &mut whole).unwrap();
    cipher.encrypt(&mut iv, &mut parts[..16]).unwrap();
    cipher.encrypt(&mut iv, &mut parts[16..]).unwrap();
    assert_eq!(whole, parts);
}

#[test]
fn what_is_not_whole_blocks_is_refused_and_left_alone() {
    for kind in [IkeCipher::AesCbc(AesKey::Aes256), IkeCipher::TripleDesCbc] {
        let cipher = PhaseCipher::new(kind, &Secret::new(vec![1; key_length(kind)]));
        let block = block_length(kind);
        let mut iv = Iv::new(kind, &[9; 20]);
        for length in [0, 1, block - 1, block + 1, 3 * block - 1] {
            let mut data = vec![3; length];
            let before = iv.clone();
            assert_eq!(cipher.decrypt(&mut iv, &mut data), Err(NotWholeBlocks));
            assert_eq!(cipher.encrypt(&mut iv, &mut data), Err(NotWholeBlocks));
            assert_eq!((iv.clone(), data), (before, vec![3; length]));
        }
    }
}
