//! How long the pure parts take, by the clock: `cargo bench --bench time`. For comparing two states of one machine;
//! `instructions.rs` guards them.

#![allow(missing_docs, reason = "the macros of Criterion make public functions without words")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use intercomd::media::packetise::Packetiser;

mod common;

fn wire(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    for (name, text) in [
        ("an offer of the service's", common::service_frame()),
        ("a page's answer", common::page_frame()),
    ] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| common::read_frame(black_box(&text))));
    }
    group.finish();
}

fn heart(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("heart, six phones");
    let mut house = common::House::new();
    house.call();
    group.bench_function("a candidate", |bencher| bencher.iter(|| house.candidate()));
    group.bench_function("an offer and our answer", |bencher| bencher.iter(|| house.offer()));
    group.bench_function("from press to all connected", |bencher| {
        bencher.iter_batched_ref(common::House::new, common::House::call, BatchSize::SmallInput);
    });
    assert!(house.commands > 0);
    group.finish();
}

fn media(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("media");
    let mut tap = common::Tap::new();
    assert_eq!(tap.pour(), common::FEEDS);
    group.bench_function("one picture to eight feeds", |bencher| bencher.iter(|| tap.pour()));
    let picture = common::access_unit();
    let mut packetiser = Packetiser::new();
    group.throughput(Throughput::Bytes(picture.len() as u64));
    group.bench_function("a picture of 30 kB into packets", |bencher| {
        bencher.iter(|| packetiser.video(black_box(&picture), 0));
    });
    group.finish();
}

fn path(criterion: &mut Criterion) {
    let mut reports = common::Reports::new();
    criterion
        .bench_function("path/a report on ten packets", |bencher| bencher.iter(|| reports.step()));
}

criterion_group!(parts, wire, heart, media, path);
criterion_main!(parts);
