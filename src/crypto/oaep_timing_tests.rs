//! Whether the time of a failed login says if OAEP held: an R2 whose skem opens and whose RSA
//! ciphertext is valid (of a secret that the sender does not know) against one whose ciphertext is
//! not. Takes some minutes, on a machine that does nothing else:
//!
//!     cargo test --release --lib oaep_timing -- --ignored --nocapture
//!
//! Classes are measured one after the other in an order by chance, each sample with a ciphertext of
//! its own. The statistics are Welch's t of the samples below their common 90th percentile
//! (Reparaz, Balasch, Verbauwhede: dudect, 2017) and Mann-Whitney's z of all. The control is an
//! implementation that ends where OAEP fails, as a careless one would: when that is not found, the
//! machine is too noisy to say anything.

use std::time::Instant;

use rand::seq::SliceRandom;
use rsa::Oaep;
use sha2::Sha256;

use super::*;
use crate::crypto::hello::Greeting;
use crate::crypto::random;

const SAMPLES: usize = 10_000;
/// dudect's bound, beyond which the classes differ.
const T_MAX: f64 = 4.5;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    Valid,
    /// A second batch of the same: what noise alone gives.
    ValidAgain,
    /// Any number: its first byte is wrong, most of the time.
    Number,
    /// OAEP under another label.
    Label,
    /// OAEP of 31 bytes.
    Length,
    /// Another label, and an end at the failure.
    Careless,
}

const CLASSES: [Class; 6] =
    [Class::Valid, Class::ValidAgain, Class::Number, Class::Label, Class::Length, Class::Careless];

fn ciphertext(class: Class, to: &PublicKey) -> [u8; MODULUS_BYTES] {
    let sealed = |label: &[u8], bytes: &[u8]| {
        let padding = Oaep::<Sha256>::new_with_label(label);
        to.to_rsa().encrypt(&mut rand::rng(), padding, bytes).unwrap().try_into().unwrap()
    };
    let secret: [u8; 32] = random();
    match class {
        Class::Valid | Class::ValidAgain => sealed(HOP, &secret),
        Class::Label | Class::Careless => sealed(b"pychat/1 hip", &secret),
        Class::Length => sealed(HOP, &secret[..31]),
        Class::Number => {
            // The same work before the clock starts: it leaves its traces in the caches.
            let _: [u8; MODULUS_BYTES] = sealed(HOP, &secret);
            let mut number = random::<MODULUS_BYTES>();
            number[0] &= 0x7f;
            number
        }
    }
}

/// Nanoseconds that the server takes from the gate to its silence.
fn sample(class: Class, server: &Arc<Identity>, client: &Identity) -> f64 {
    let suites = Suites::only(Suite::Classic);
    let (start, r0) = ClientStart::new(client, server.public(), suites);
    let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [server]) else { panic!("not an R0") };
    let (hello, r1) = ServerHello::start(hello, suites);
    let ct = ciphertext(class, server.public());
    let unknown = |_: &PublicKey| (ct, Zeroizing::new(random()));
    let (_, r2) = start.answer_with(&r1, encapsulate, unknown).unwrap();
    let gated = hello.gate(&r2).unwrap();
    let began = Instant::now();
    if class == Class::Careless {
        assert!(gated.identity.opens(HOP, &gated.ct).is_none());
    } else {
        assert!(gated.finish().is_err());
    }
    began.elapsed().as_nanos() as f64
}

/// Welch's t of two classes below the 90th percentile of both together.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let mut all = [one, other].concat();
    all.sort_by(f64::total_cmp);
    let bound = all[all.len() * 9 / 10];
    let [a, b] = [one, other].map(|class| {
        let kept: Vec<_> = class.iter().filter(|sample| **sample < bound).collect();
        let count = kept.len() as f64;
        let mean = kept.iter().copied().sum::<f64>() / count;
        let spread = kept.iter().map(|sample| (*sample - mean).powi(2)).sum::<f64>();
        (mean, spread / (count - 1.0) / count)
    });
    (a.0 - b.0) / (a.1 + b.1).sqrt()
}

/// Mann-Whitney's U of two classes, in standard deviations.
fn mann_whitney(one: &[f64], other: &[f64]) -> f64 {
    let mut all: Vec<_> = one.iter().map(|sample| (*sample, true)).collect();
    all.extend(other.iter().map(|sample| (*sample, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (n, m) = (one.len() as f64, other.len() as f64);
    let (mut ranks, mut before) = (0.0, 0.0);
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let count = equal.len() as f64;
        let own = equal.iter().filter(|(_, first)| *first).count() as f64;
        ranks += own * (before + (count + 1.0) / 2.0);
        before += count;
    }
    let u = ranks - n * (n + 1.0) / 2.0;
    (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2] / 1000.0
}

#[test]
#[ignore = "takes minutes of a quiet machine"]
fn a_failed_login_takes_as_long_whether_oaep_held_or_not() {
    let (server, client) = (Arc::new(Identity::generate()), Identity::generate());
    let mut order: Vec<_> = CLASSES.iter().copied().cycle().take(CLASSES.len() * SAMPLES).collect();
    order.shuffle(&mut rand::rng());
    let warm = |class: &Class| assert!(sample(*class, &server, &client) > 0.0);
    CLASSES.iter().cycle().take(600).for_each(warm);
    let mut samples = CLASSES.map(|_| Vec::with_capacity(SAMPLES));
    for class in order {
        samples[class as usize].push(sample(class, &server, &client));
    }
    let valid = &samples[Class::Valid as usize];
    println!("valid: median {:.2} us, {SAMPLES} samples of each", median(valid));
    let against = |class: Class| {
        let other = &samples[class as usize];
        let (t, z) = (welch(valid, other), mann_whitney(valid, other));
        println!(
            "{class:?}: median {:.2} us, Welch t {t:+.2}, Mann-Whitney z {z:+.2}",
            median(other)
        );
        [t.abs(), z.abs()]
    };
    let [again, number, label, length, careless] =
        [Class::ValidAgain, Class::Number, Class::Label, Class::Length, Class::Careless]
            .map(against);
    let is_equal = |statistics: [f64; 2]| statistics.into_iter().all(|one| one < T_MAX);
    assert!(is_equal(again), "equal classes differ: the machine is too noisy to say anything");
    let is_found = careless.into_iter().all(|one| one > T_MAX);
    assert!(is_found, "the control is not found: the machine is too noisy to say anything");
    for (what, statistics) in [("a number", number), ("a label", label), ("a length", length)] {
        assert!(is_equal(statistics), "{what} is told from a valid ciphertext by its time");
    }
}

#[test]
fn the_statistics_know_equal_from_unequal() {
    let mut state = 7u64;
    let mut byte = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from((state >> 56) as u8)
    };
    // Four bytes together: about a bell with a spread of 148.
    let mut batch = |more: f64| {
        let sample = |_| more + (0..4).map(|_| byte()).sum::<f64>();
        (0..4_000).map(sample).collect::<Vec<_>>()
    };
    let [one, same, more] = [0.0, 0.0, 30.0].map(&mut batch);
    for statistic in [welch, mann_whitney] {
        assert!(statistic(&one, &same).abs() < T_MAX);
        assert!(statistic(&one, &more) < -T_MAX && statistic(&more, &one) > T_MAX);
    }
}
