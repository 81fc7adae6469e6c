//! How long changes take, how large SAs are, and what many of them cost: minutes of measuring, run by `scripts/scale` and
//! not with the tests.

mod lab;
mod policy;

use std::fs;
use std::time::{Duration, Instant};

use portcullis_ipsec::ip::Address;
use portcullis_ipsec::sa::SaRef;
use portcullis_ipsec::sad::{Slab, SpiEntry, SpiIndex};

use kit::{Gateway, Scratch, pcap};

use lab::{RUNTIME, STEPS, one_tunnel, reload};
use policy::Size;

const START: Duration = Duration::from_secs(600);
/// Pairs of SAs.
const PAIRS: u32 = 100_000;
/// Packets that go round over the SAs at random: with what the device keeps of each, more than 32 MiB of cache hold.
const RANDOM: usize = 120_000;
/// Bytes of an SA's key schedule: AES-GCM's, as `vaes` keeps it of so many.
const SCHEDULE: f64 = 64.0;

/// Resident bytes of a gateway.
fn resident(gateway: &Gateway) -> Result<f64, String> {
    let path = format!("/proc/{}/status", gateway.id());
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    let kib: f64 = words.and_then(|w| w.parse().ok()).ok_or("no VmRSS")?;
    Ok(kib * 1024.0)
}

/// Packets a second, the best of several half seconds.
fn rate(gateway: &Gateway) -> Result<f64, String> {
    let mut best: f64 = 0.0;
    let received = || -> Result<f64, String> {
        let table = gateway.show("workers")?;
        table["workers"][0]["transmitted"]
            .as_f64()
            .ok_or("no counter".into())
    };
    for _ in 0..8 {
        let (before, begun) = (received()?, Instant::now());
        std::thread::sleep(Duration::from_millis(500));
        let span = received()? - before;
        best = best.max(span / begun.elapsed().as_secs_f64());
    }
    Ok(best / 1e6)
}

/// The best of several, in microseconds.
fn best(mut run: impl FnMut()) -> f64 {
    let times = (0..7).map(|_| {
        let begun = Instant::now();
        run();
        begun.elapsed().as_secs_f64() * 1e6
    });
    times.fold(f64::MAX, f64::min)
}

/// The largest single orders, apart from whatever else the machine does.
#[test]
fn orders() {
    let count = PAIRS;
    let mut slab = Slab::with_slots(count as usize);
    for slot in 0..count {
        slab.put(slot, Box::new(slot));
    }
    let mut spare = Slab::with_slots(count as usize);
    let grow = best(|| {
        let old = std::mem::take(&mut spare);
        spare = slab.grow_into(old);
    });
    let entry = |n: u32| SpiEntry {
        spi: spi(n),
        protocol: 50,
        destination: Address::v4([192, 0, 2, 1]),
        sa: SaRef { worker: 0, slot: n },
    };
    let mut index = SpiIndex::with_capacity(count as usize);
    (0..count - 32).for_each(|n| assert!(index.insert(entry(n))));
    let burst = best(|| {
        (count - 32..count).for_each(|n| assert!(index.insert(entry(n))));
        (count - 32..count).for_each(|n| index.remove(&entry(n)));
    });
    println!(
        "grow the memory of {count} SAs: {grow:.1} us; 32 into their index and out: {burst:.1} us"
    );
}

#[test]
fn spd() {
    let result = measure_spd();
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

fn measure_spd() -> Result<(), String> {
    let scratch = Scratch::new("scale");
    let ports = policy::ports(&one_tunnel(&scratch));
    let text = |entries, first_entry| {
        let size = Size {
            entries,
            first_entry,
            ..Size::default()
        };
        ports.clone() + &policy::entries(size)
    };
    let gateway = Gateway::start_with(RUNTIME, &text(0, 0), &[], START);
    std::thread::sleep(Duration::from_secs(1));
    for round in 0..3 {
        for (what, entries, first) in [
            ("no change", 0, 0),
            ("load 10 000 entries", 10_000, 0),
            ("add one to 10 000 entries", 10_001, 0),
            ("replace 10 000 entries", 10_001, 20_000),
            ("remove 10 000 entries", 0, 0),
        ] {
            gateway.rewrite(RUNTIME, &text(entries, first));
            reload(&gateway, &format!("{round}: {what}"))?;
        }
    }
    gateway.stop().success().map(drop)
}

#[test]
fn sad() {
    let result = measure_sad();
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

fn measure_sad() -> Result<(), String> {
    let scratch = Scratch::new("scale");
    let ports = policy::ports(&one_tunnel(&scratch));
    // What is removed goes at once, and the next round does not find it there.
    let ports = format!("[policy]\ninbound-overlap = 0\n{ports}");
    let text = |tunnels, first_tunnel| {
        let size = Size {
            tunnels,
            first_tunnel,
            ..Size::default()
        };
        ports.clone() + &policy::entries(size)
    };
    let gateway = Gateway::start_with(RUNTIME, &text(0, 0), &[], START);
    std::thread::sleep(Duration::from_secs(1));
    let empty = resident(&gateway)?;
    let change = |what: &str, text: &str| -> Result<(), String> {
        gateway.rewrite(RUNTIME, text);
        let done = reload(&gateway, what)?;
        let steps = STEPS.iter().filter_map(|step| done.report[step].as_f64());
        println!(
            "{what:36} in all {:.0} ms, {:.0} us of the worker's own time at a stretch",
            steps.sum::<f64>(),
            done.stall
        );
        Ok(())
    };
    let per_sa = |gateway: &Gateway| -> Result<f64, String> {
        // Memory is given back in pauses.
        std::thread::sleep(Duration::from_secs(3));
        Ok((resident(gateway)? - empty) / f64::from(2 * PAIRS))
    };
    for round in 0..3 {
        // The keys of SAs that went are spent: every round has its own (RFC 4106 2).
        let what = format!("{round}: add {PAIRS} pairs of SAs");
        change(&what, &text(PAIRS, 1 + round * PAIRS))?;
        println!(
            "resident for each SA: {:.0} bytes beside its key schedule, what control knows of it and of its SPD entry \
             included",
            per_sa(&gateway)? - SCHEDULE
        );
        change(
            &format!("{round}: remove {PAIRS} pairs of SAs"),
            &text(0, 0),
        )?;
        println!(
            "left of each SA, what control remembers of spent keys included: {:.0} bytes",
            per_sa(&gateway)?
        );
    }
    gateway.stop().success()?;
    measure_random()
}

/// Packets for one SA and for all of them. So many packets are themselves more than the caches hold, whatever becomes of
/// them: so one SA has as many of them, and a few, too.
fn measure_random() -> Result<(), String> {
    let mut dice = 1u64;
    let mut random = || {
        dice = dice
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (dice >> 33) as u32 % PAIRS
    };
    for bytes in [64, 512, 1420] {
        let few = rate_of(0, bytes, (0..64).map(|n| (0, 1000 + n)))?;
        let one = rate_of(0, bytes, (0..RANDOM).map(|n| (0, 1000 + (n % 64) as u16)))?;
        let many = rate_of(PAIRS, bytes, (0..RANDOM).map(|_| (random(), 1000)))?;
        println!(
            "{bytes} bytes, Mpps: one SA {one:.2} ({few:.2} with 64 packets again and again), {PAIRS} at random \
             {many:.2}, ratio {:.2} ({:.2})",
            many / one,
            many / few
        );
    }
    Ok(())
}

/// Packets of so many bytes a second over so many tunnels; each packet by its tunnel and source port.
fn rate_of(
    tunnels: u32,
    bytes: usize,
    packets: impl Iterator<Item = (u32, u16)>,
) -> Result<f64, String> {
    let scratch = Scratch::new("scale");
    let frames: Vec<_> = packets
        .map(|(tunnel, port)| policy::frame(tunnel, port, bytes))
        .collect();
    let path = scratch.path("packets.pcap");
    pcap::write(&path, &frames);
    let runtime = "eal = [\"--no-huge\", \"-m\", \"1024\"]\nmbufs = 262143";
    let size = Size {
        tunnels,
        ..Size::default()
    };
    let policy = policy::ports(&path.display().to_string()) + &policy::entries(size);
    let begun = Instant::now();
    let gateway = Gateway::start_with(runtime, &policy, &[], START);
    println!(
        "start with {tunnels} pairs of SAs: {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    std::thread::sleep(Duration::from_secs(1));
    let rate = rate(&gateway)?;
    gateway.stop().success().map(drop)?;
    Ok(rate)
}

#[test]
fn million() {
    let result = measure_million();
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

fn measure_million() -> Result<(), String> {
    let scratch = Scratch::new("scale");
    let size = Size {
        tunnels: 500_000,
        ..Size::default()
    };
    let policy = policy::ports(&one_tunnel(&scratch)) + &policy::entries(size);
    let begun = Instant::now();
    let gateway = Gateway::start_with(RUNTIME, &policy, &[], START);
    let seconds = begun.elapsed().as_secs_f64();
    let gib = resident(&gateway)? / f64::from(1 << 30);
    println!("start with 1 000 000 SAs: {seconds:.1} s, {gib:.2} GiB resident");
    let table = gateway.show_with(&["sa", "--name", "in-499999"])?;
    if table["sas"][0]["spi"] != format!("{:#010x}", spi(499_999)) {
        return Err(format!("the last SA is not there: {table}"));
    }
    // Its final tables would be long.
    drop(gateway);
    Ok(())
}

/// SPI of a tunnel's SAs.
fn spi(tunnel: u32) -> u32 {
    0x1000 + tunnel
}
