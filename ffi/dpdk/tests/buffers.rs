//! Pools, buffers, and the EAL's life.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod harness;

use std::thread;

use dpdk::{Eal, Error, Mbuf, Mempool, NoRoom, free_hugepage_bytes, thread as dpdk_thread};
use harness::Burst;

#[test]
fn buffers_and_the_life_of_the_eal() {
    assert_eq!(
        Mempool::new("early", 7, 0, 64).map(drop),
        Err(Error::NotInitialized)
    );
    assert_eq!(
        dpdk_thread::register().map(drop),
        Err(Error::NotInitialized)
    );
    let eal = harness::eal();
    assert_eq!(
        Eal::init(["--no-huge"]).map(drop),
        Err(Error::AlreadyInitialized)
    );
    assert!(dpdk_thread::cycles_hz() > 0);
    assert!(dpdk_thread::cycles() < dpdk_thread::cycles());
    println!("free in huge pages: {} bytes", free_hugepage_bytes());

    let pool = Mempool::new("small", 63, 8, 1000).expect("pool");
    assert_eq!(
        Mempool::new("small", 63, 8, 1000)
            .map(drop)
            .map_err(|e| e.to_string()),
        Err("shim_mbuf_pool: File exists (errno 17)".to_owned())
    );
    assert_eq!(
        Mempool::new("long", 63, 8, u16::MAX).map(drop),
        Err(Error::DataRoom(u16::MAX))
    );

    room_at_both_ends(&pool);
    allocation_and_return(&pool);
    buffers_cross_threads(&pool);

    // A buffer that outlives the pool's handles and the EAL stays valid.
    let mut survivor = pool.alloc().expect("buffer");
    survivor.append(3).expect("room");
    survivor.data_mut().copy_from_slice(b"abc");
    drop(pool);
    drop(eal);
    assert_eq!(survivor.data(), b"abc");
    assert_eq!(
        Mempool::new("late", 7, 0, 64).map(drop),
        Err(Error::NotInitialized)
    );
}

fn room_at_both_ends(pool: &Mempool) {
    let mut buf = pool.alloc().expect("buffer");
    assert_eq!((buf.headroom(), buf.len(), buf.tailroom()), (128, 0, 1000));
    assert!(buf.is_empty());

    assert_eq!(buf.append(1001), Err(NoRoom));
    assert_eq!(buf.append(usize::MAX), Err(NoRoom));
    buf.append(1000).expect("all of it");
    assert_eq!(buf.append(1), Err(NoRoom));
    for (index, byte) in buf.data_mut().iter_mut().enumerate() {
        *byte = index as u8;
    }

    assert_eq!(buf.prepend(129), Err(NoRoom));
    assert_eq!(buf.prepend(usize::MAX), Err(NoRoom));
    buf.prepend(128).expect("all of it");
    assert_eq!(buf.prepend(1), Err(NoRoom));
    assert_eq!((buf.headroom(), buf.len(), buf.tailroom()), (0, 1128, 0));

    buf.trim_front(130);
    assert_eq!(buf.data().first(), Some(&2));
    buf.truncate(5000);
    assert_eq!(buf.len(), 998);
    buf.truncate(3);
    assert_eq!(buf.data(), [2, 3, 4]);
    assert_eq!((buf.headroom(), buf.tailroom()), (130, 995));
    buf.trim_front(4);
    assert!(buf.is_empty());
    assert_eq!((buf.headroom(), buf.tailroom()), (133, 995));
    assert_eq!(
        format!("{buf:?}"),
        "Mbuf { headroom: 133, len: 0, tailroom: 995 }"
    );

    drop(buf);
    let buf = pool.alloc().expect("buffer");
    assert_eq!(
        (buf.headroom(), buf.len()),
        (128, 0),
        "a reused buffer is fresh"
    );
}

fn allocation_and_return(pool: &Mempool) {
    assert_eq!(
        (pool.count(), pool.in_use(), pool.data_room()),
        (63, 0, 1000)
    );
    let mut burst = Burst::new();
    assert!(pool.alloc_bulk(&mut burst, 60));
    assert!(!pool.alloc_bulk(&mut burst, 5), "the vector is too short");
    assert_eq!((burst.len(), pool.in_use()), (60, 60));
    let single = pool.alloc().expect("buffer");
    assert!(!pool.alloc_bulk(&mut burst, 3), "the pool has two left");
    assert!(pool.alloc_bulk(&mut burst, 2));
    assert!(pool.alloc().is_none());
    assert_eq!(pool.in_use(), 63);
    Mbuf::free_bulk(&mut burst);
    assert!(burst.is_empty());
    assert_eq!(pool.in_use(), 1);
    Mbuf::free_bulk(&mut burst);
    drop(single);
    assert_eq!(pool.in_use(), 0);
}

fn buffers_cross_threads(pool: &Mempool) {
    let buf = pool.alloc().expect("buffer");
    assert_eq!(
        dpdk_thread::register().map(drop),
        Err(Error::AlreadyRegistered),
        "the main lcore"
    );
    let worker = thread::spawn(move || {
        let registration = dpdk_thread::register().expect("registered");
        assert_eq!(
            dpdk_thread::register().map(drop),
            Err(Error::AlreadyRegistered)
        );
        drop(buf);
        drop(registration);
        dpdk_thread::register().expect("registered again");
    });
    worker.join().expect("worker");
    assert_eq!(
        pool.in_use(),
        0,
        "what lies in a thread's cache is not in use"
    );
}
