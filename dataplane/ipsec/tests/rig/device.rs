//! An engine with a device beside it that the tests hold back as they like.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use arrayvec::ArrayVec;
use portcullis_config::{Secret, Transform};
use portcullis_ipsec::buffer::TestBuf;
use portcullis_ipsec::engine::lookaside::{AsideDone, AsideJob, Lookaside, Parcel};
use portcullis_ipsec::engine::portable::{Key, Portable};
use portcullis_ipsec::engine::{AhJob, Engine, EspJob, KeyError};
use portcullis_ipsec::pipeline::BURST;
use portcullis_ipsec::{DropReason, PacketBuf};

/// A device that ciphers ESP in the order in which it comes.
#[derive(Debug, Default)]
pub struct Device {
    /// Packets that it can hold; with room for none, there is no device.
    pub capacity: usize,
    /// Nothing comes out.
    pub holds: bool,
    /// What is inside.
    pub inside: VecDeque<AsideDone<TestBuf>>,
    /// All that was ever inside.
    pub taken: u64,
}

/// The portable engine, which gives ESP to the device if there is one.
#[derive(Debug, Default)]
pub struct TestEngine {
    portable: Portable,
    pub device: Rc<RefCell<Device>>,
}

impl Lookaside<TestBuf> for TestEngine {
    fn has_device(&self) -> bool {
        self.device.borrow().capacity != 0
    }

    fn serves(&self, _: &Key) -> bool {
        self.has_device()
    }

    fn enqueue(
        &mut self,
        jobs: ArrayVec<AsideJob<'_, Key, TestBuf>, BURST>,
        refused: &mut ArrayVec<(Parcel<TestBuf>, DropReason), BURST>,
    ) {
        let mut device = self.device.borrow_mut();
        for mut job in jobs {
            if device.inside.len() >= device.capacity {
                refused.push((job.parcel, DropReason::EngineBusy));
                continue;
            }
            let seals = job.parcel.ticket.seals();
            let mut one = [EspJob {
                key: job.key,
                packet: &mut job.parcel.buf.data_mut()[job.at as usize..],
                sequence_high: job.sequence_high,
                ok: false,
            }];
            match seals {
                true => self.portable.seal(&mut one),
                false => self.portable.open(&mut one),
            }
            let ok = one[0].ok;
            device.taken += 1;
            device.inside.push_back(AsideDone {
                parcel: job.parcel,
                ok,
            });
        }
    }

    fn dequeue(&mut self, done: &mut ArrayVec<AsideDone<TestBuf>, BURST>) {
        let mut device = self.device.borrow_mut();
        while !device.holds && !done.is_full() {
            let Some(next) = device.inside.pop_front() else {
                break;
            };
            done.push(next);
        }
    }

    fn in_flight(&self) -> usize {
        self.device.borrow().inside.len()
    }
}

impl Engine for TestEngine {
    type Key = Key;

    fn key(&self, t: Transform, cipher: &Secret, integrity: &Secret) -> Result<Key, KeyError> {
        self.portable.key(t, cipher, integrity)
    }
    fn seal(&mut self, jobs: &mut [EspJob<'_, Key>]) {
        assert!(jobs.is_empty() || !self.has_device(), "past the device");
        self.portable.seal(jobs);
    }
    fn open(&mut self, jobs: &mut [EspJob<'_, Key>]) {
        assert!(jobs.is_empty() || !self.has_device(), "past the device");
        self.portable.open(jobs);
    }
    fn sign(&mut self, jobs: &mut [AhJob<'_, Key>]) {
        self.portable.sign(jobs);
    }
    fn verify(&mut self, jobs: &mut [AhJob<'_, Key>]) {
        self.portable.verify(jobs);
    }
}
