//! Passwords of users, checked against hashes in the form of `crypt(3)`. A check takes milliseconds, by design: it is
//! for a pool outside.

use portcullis_config::Users;
use sha_crypt::{PasswordVerifier, ShaCrypt};

/// More than any name or password has. The time that a check takes grows with the square of the length.
const LIMIT: usize = 256;
/// Checked in place of the hash that an unknown user has not, so that the time does not tell who is known.
const NOBODY: &str = "$6$nobody$\
    wqa5Wgjz5LNkFZHhnw6OXJ6xZRX9pTuTQ8C3UF2t8WMelL3yeDR5uFsLccFhpLoCKzFOhun.qddsvhb86.f9b.";

/// True if a user has this password.
pub fn is_right(users: &Users, name: &str, password: &[u8]) -> bool {
    if name.len() > LIMIT || password.len() > LIMIT {
        return false;
    }
    let known = users.hash(name);
    let checked = ShaCrypt::SHA512.verify_password(password, known.unwrap_or(NOBODY));
    known.is_some() && checked.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes from Ulrich Drepper's specification "Unix crypt using SHA-256 and SHA-512", test vectors.
    #[test]
    fn vectors_of_the_specification() {
        let vectors = [
            (
                "Hello world!",
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            ),
            (
                "Hello world!",
                "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
            ),
            (
                "Hello world!",
                "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            ),
        ];
        for (password, hash) in vectors {
            let users = Users::read(&format!("joe:{hash}")).unwrap();
            assert!(is_right(&users, "joe", password.as_bytes()), "{hash}");
            for wrong in ["hello world!", "Hello world", ""] {
                assert!(!is_right(&users, "joe", wrong.as_bytes()), "{hash}");
            }
            assert!(!is_right(&users, "jim", password.as_bytes()));
        }
    }

    #[test]
    fn nobody_can_be_checked_against() {
        // What stands for unknown users is a hash that takes as long as a true one.
        assert!(Users::read(&format!("nobody:{NOBODY}")).is_ok());
        let checked = ShaCrypt::SHA512.verify_password(b"x", NOBODY);
        assert_eq!(
            checked,
            Err(sha_crypt::password_hash::Error::PasswordInvalid)
        );
    }
}
