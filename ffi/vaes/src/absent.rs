//! What there is where the kernels cannot be built: nothing.

/// What the kernels have in common, each with its keys.
macro_rules! kernel {
    ($key:ty $(, $schedule:ident)?) => {
        /// Proof that this CPU has what is needed. There is none in this build.
        #[derive(Clone, Copy, Debug)]
        pub struct Kernel(Infallible);

        impl Kernel {
            /// Always the error: use another engine.
            pub fn new() -> Result<Self, Unsupported> {
                Err(Unsupported::Build)
            }

            /// Cannot be called.
            pub fn seal$(<$schedule: Schedule>)?(&self, _packets: &mut [EspPacket<'_, $key>]) {
                match self.0 {}
            }

            /// Cannot be called.
            pub fn open$(<$schedule: Schedule>)?(&self, _packets: &mut [EspPacket<'_, $key>]) {
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

    kernel!(Key<S>, S);

    /// What is expanded of a key.
    pub trait Schedule: std::fmt::Debug + 'static {}

    /// All of it.
    #[derive(Debug)]
    pub struct Wide(Infallible);

    /// What a packet cannot do without.
    #[derive(Debug)]
    pub struct Compact(Infallible);

    impl Schedule for Wide {}
    impl Schedule for Compact {}

    /// The key of an SA. There is none in this build.
    #[derive(Debug)]
    pub struct Key<S: Schedule = Wide>(Infallible, PhantomData<S>);

    impl<S: Schedule> Key<S> {
        /// Cannot be called.
        pub fn prefetch(&self, _payload: usize) {
            match self.0 {}
        }
    }

    impl Kernel {
        /// Cannot be called.
        pub fn key<S: Schedule>(
            &self,
            _key: &[u8],
            _salt: [u8; 4],
            _icv_len: usize,
        ) -> Option<Key<S>> {
            match self.0 {}
        }

        /// Cannot be called.
        pub fn seal_burst<'p, S: Schedule>(
            &self,
            _packets: impl Iterator<Item = Option<EspPacket<'p, Key<S>>>>,
        ) -> u64 {
            match self.0 {}
        }

        /// Cannot be called.
        pub fn open_burst<'p, S: Schedule>(
            &self,
            _packets: impl Iterator<Item = Option<EspPacket<'p, Key<S>>>>,
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
