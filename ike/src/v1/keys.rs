//! The keys of an IKE SA, and the IVs of its exchanges.

use portcullis_config::{IkeCipher, IkeProposal};

use crate::crypto::cipher::{Iv, PhaseCipher};
use crate::crypto::keymat::{PublicValues, Skeyid};

/// What protects an IKE SA.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) skeyid: Skeyid,
    pub(crate) cipher: PhaseCipher,
    kind: IkeCipher,
    /// The running IV of phase 1; when it is over, its last block, from which the other IVs come.
    pub(crate) iv: Iv,
}

impl Keys {
    pub(crate) fn new(skeyid: Skeyid, proposal: IkeProposal, public: PublicValues<'_>) -> Self {
        Keys {
            cipher: skeyid.cipher(proposal.cipher),
            iv: skeyid.phase1_iv(proposal.cipher, public),
            kind: proposal.cipher,
            skeyid,
        }
    }

    /// The IV of an exchange's first message.
    pub(crate) fn exchange_iv(&self, message_id: u32) -> Iv {
        self.skeyid.exchange_iv(self.kind, &self.iv, message_id)
    }

    /// The encryption key, for a key log.
    pub(crate) fn encryption_key(&self) -> portcullis_config::Secret {
        self.skeyid.cipher_key(self.kind)
    }
}
