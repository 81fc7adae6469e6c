//! Powers beside those of AWS-LC: any odd number does for a prime.
#![allow(clippy::unwrap_used)]

use aws_lc::modp;
use modp_ifma::Modulus;

/// Numbers that look random and are the same in each run (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut next = || {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (self.0 >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn modulus(&mut self, length: usize) -> Vec<u8> {
        let mut modulus = self.bytes(length);
        modulus[0] |= 0x80;
        modulus[length - 1] |= 1;
        modulus
    }
}

/// What is compared, or nothing where the CPU cannot do it.
fn field(modulus: &[u8]) -> Option<Modulus> {
    let field = Modulus::new(modulus);
    if field.is_none() {
        eprintln!("skipped: no AVX-512 IFMA here");
    }
    field
}

#[test]
fn powers_are_those_of_aws_lc() {
    let mut numbers = Numbers(3);
    for length in [256, 384, 512] {
        for round in 0..12 {
            let mut modulus = numbers.modulus(length);
            if round == 0 {
                modulus.fill(0xff);
            }
            let Some(field) = field(&modulus) else { return };
            let exponent = numbers.bytes(1 + 5 * round);
            let bases = [(); 2].map(|()| {
                let mut base = numbers.bytes(length);
                // Below the modulus, which the other one demands.
                base[0] &= 0x7f;
                base
            });
            let powers = field.powers([&bases[0], &bases[1]], &exponent).unwrap();
            for (base, power) in bases.iter().zip(powers) {
                assert_eq!(modp::agree(&modulus, &exponent, base).unwrap(), power);
            }
        }
    }
}

#[test]
fn small_and_extreme_numbers() {
    let mut numbers = Numbers(5);
    let modulus = numbers.modulus(256);
    let Some(field) = field(&modulus) else { return };
    let mut last = modulus.clone();
    last[255] -= 1;
    let number = |value: u8| {
        let mut bytes = vec![0; 256];
        bytes[255] = value;
        bytes
    };
    let powers = |bases: [&[u8]; 2], exponent: &[u8]| {
        let [a, b] = field.powers(bases, exponent).unwrap();
        [a.to_vec(), b.to_vec()]
    };
    assert_eq!(powers([&[2], &[0]], &[3]), [number(8), number(0)]);
    assert_eq!(powers([&[1], &[7]], &[0]), [number(1), number(1)]);
    // -1, and the modulus itself.
    assert_eq!(powers([&last, &modulus], &[3]), [last.clone(), number(0)]);
    assert_eq!(powers([&last, &last], &[2]), [number(1), number(1)]);
    // More than the modulus, as long as it.
    let above = [0xff; 256];
    let once = powers([&above, &above], &[1]);
    assert_eq!(
        powers([&above, &once[0]], &[5, 77])[0],
        powers([&once[0], &[2]], &[5, 77])[0]
    );
    assert!(field.powers([&[0; 257], &[2]], &[1]).is_none());
}

#[test]
fn other_sizes_are_left_to_others() {
    let mut numbers = Numbers(9);
    for length in [0, 1, 128, 255, 257, 1024] {
        let modulus = vec![0xff; length];
        assert!(Modulus::new(&modulus).is_none());
    }
    let mut even = numbers.modulus(256);
    even[255] &= 0xfe;
    assert!(Modulus::new(&even).is_none());
    let mut low = numbers.modulus(256);
    low[0] = 0x7f;
    assert!(Modulus::new(&low).is_none());
}
