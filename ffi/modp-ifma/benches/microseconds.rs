//! Microseconds of a responder's two powers, beside those of AWS-LC: `cargo bench -p modp-ifma`.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use aws_lc::modp;
use modp_ifma::Modulus;

/// Bytes of primes and of the private keys that go with them.
const SIZES: [(usize, usize); 3] = [(256, 32), (384, 40), (512, 48)];

fn main() {
    for (length, private) in SIZES {
        // Any odd number does for a prime.
        let mut modulus = vec![0x9d; length];
        modulus[length - 1] |= 1;
        let (exponent, peer) = (vec![0xa7; private], vec![0x53; length]);
        let Some(field) = Modulus::new(&modulus) else {
            return println!("no AVX-512 IFMA here");
        };
        let ours = best(|| drop(field.powers([&[2], &peer], &exponent)));
        let theirs = best(|| {
            modp::public_value(&modulus, 2, &exponent).unwrap();
            modp::agree(&modulus, &exponent, &peer).unwrap();
        });
        println!("{} bits: {ours:.0} us, aws-lc {theirs:.0} us", 8 * length);
    }
}

fn best(mut run: impl FnMut()) -> f64 {
    let times = (0..50).map(|_| {
        let begun = Instant::now();
        run();
        begun.elapsed().as_secs_f64() * 1e6
    });
    times.fold(f64::MAX, f64::min)
}
