//! What there is where the kernels cannot be built: nothing.

/// What the kernels have in common, each with its keys.
macro_rules! kernel {
    ($key:ty $(, $form:ident)?) => {
        /// Proof that this CPU has what is needed. There is none in this build.
        #[derive(Clone, Copy, Debug)]
        pub struct Kernel(Infallible);

        impl Kernel {
            /// Always the error: use another engine.
            pub fn new() -> Result<Self, Unsupported> {
                Err(Unsupported::Build)
            }

            /// Cannot be called.
            pub fn seal$(<$form: Form>)?(&self, _packets: &mut [EspPacket<'_, $key>]) {
                match self.0 {}
            }

            /// Cannot be called.
            pub fn open$(<$form: Form>)?(&self, _packets: &mut [EspPacket<'_, $key>]) {
                match self.0 {}
            }
        }
    };
}

/// AES-GCM.
pub mod gcm {
    use std::convert::Infallible;
    use std::marker::PhantomData;

    use crate::{EspPacket, Unsupported};

    kernel!(F, F);

    /// How the key of an SA is kept.
    pub trait Form: std::fmt::Debug {}

    /// What is expanded of a key.
    #[derive(Debug)]
    pub struct Wide(Infallible);

    /// The key of an SA. There is none in this build.
    #[derive(Debug)]
    pub struct Key<S = Wide>(Infallible, PhantomData<S>);

    /// The same, as it came.
    #[derive(Debug)]
    pub struct Seed(Infallible);

    /// Room for keys. There is none in this build.
    #[derive(Debug)]
    pub struct Room(Infallible);

    impl Form for Key {}
    impl Form for Seed {}

    impl Key {
        /// Cannot be called.
        pub fn prefetch(&self, _payload: usize) {
            match self.0 {}
        }
    }

    impl Seed {
        /// Cannot be called.
        pub fn prefetch(&self) {
            match self.0 {}
        }
    }

    impl Kernel {
        /// Cannot be called.
        pub fn key<F: Form>(&self, _key: &[u8], _salt: [u8; 4], _icv_len: usize) -> Option<F> {
            match self.0 {}
        }

        /// Cannot be called.
        pub fn seal_burst<'p>(
            &self,
            _packets: impl Iterator<Item = Option<EspPacket<'p, Key>>>,
        ) -> u64 {
            match self.0 {}
        }

        /// Cannot be called.
        pub fn open_burst<'p>(
            &self,
            _packets: impl Iterator<Item = Option<EspPacket<'p, Key>>>,
        ) -> u64 {
            match self.0 {}
        }

        /// Cannot be called.
        pub fn room(&self) -> Room {
            match self.0 {}
        }

        /// Cannot be called.
        pub fn run_seeds<const SEAL: bool>(
            &self,
            _packets: &mut [EspPacket<'_, Seed>],
            _room: &mut Room,
        ) -> u64 {
            match self.0 {}
        }
    }
}

/// AES-CBC with HMAC.
pub mod cbc_hmac {
    use std::convert::Infallible;

    use crate::{EspPacket, Unsupported};

    kernel!(Key);

    /// The key of an SA. There is none in this build.
    #[derive(Debug)]
    pub struct Key(Infallible);

    impl Key {
        /// Cannot be called.
        pub fn prefetch(&self) {
            match self.0 {}
        }
    }

    impl Kernel {
        /// Cannot be called.
        pub fn key(
            &self,
            _hash: crate::Hash,
            _cipher_key: &[u8],
            _integrity_key: &[u8],
        ) -> Option<Key> {
            match self.0 {}
        }
    }
}
