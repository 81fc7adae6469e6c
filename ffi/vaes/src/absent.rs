//! What there is where the kernels cannot be built: nothing.

macro_rules! absent {
    ($(#[$doc:meta])* $module:ident { $($method:item)* } key { $($key_method:item)* }) => {
        $(#[$doc])*
        pub mod $module {
            use std::convert::Infallible;

            use crate::{EspPacket, Unsupported};

            /// Proof that this CPU has what is needed. There is none in this build.
            #[derive(Clone, Copy, Debug)]
            pub struct Kernel(Infallible);

            /// The key of an SA. There is none in this build.
            #[derive(Debug)]
            pub struct Key(Infallible);

            impl Key {
                $($key_method)*
            }

            impl Kernel {
                /// Always the error: use another engine.
                pub fn new() -> Result<Self, Unsupported> {
                    Err(Unsupported::Build)
                }

                /// Cannot be called.
                pub fn seal(&self, _packets: &mut [EspPacket<'_, Key>]) {
                    match self.0 {}
                }

                /// Cannot be called.
                pub fn open(&self, _packets: &mut [EspPacket<'_, Key>]) {
                    match self.0 {}
                }

                $($method)*
            }
        }
    };
}

absent! {
    /// AES-GCM.
    gcm {
        /// Cannot be called.
        pub fn key(&self, _key: &[u8], _salt: [u8; 4], _icv_len: usize) -> Option<Key> {
            match self.0 {}
        }

        /// Cannot be called.
        pub fn seal_burst<'p>(&self, _packets: impl Iterator<Item = Option<EspPacket<'p, Key>>>) -> u64 {
            match self.0 {}
        }

        /// Cannot be called.
        pub fn open_burst<'p>(&self, _packets: impl Iterator<Item = Option<EspPacket<'p, Key>>>) -> u64 {
            match self.0 {}
        }
    }
    key {
        /// Cannot be called.
        pub fn prefetch(&self, _payload: usize) {
            match self.0 {}
        }
    }
}

absent! {
    /// AES-CBC with HMAC.
    cbc_hmac {
        /// Cannot be called.
        pub fn key(&self, _hash: crate::Hash, _cipher_key: &[u8], _integrity_key: &[u8]) -> Option<Key> {
            match self.0 {}
        }
    }
    key {
        /// Cannot be called.
        pub fn prefetch(&self) {
            match self.0 {}
        }
    }
}
