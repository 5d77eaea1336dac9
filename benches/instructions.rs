//! How many instructions the hot paths take, each with a ceiling: `cargo bench --bench instructions`, under valgrind.
//! The count does not depend on what else the machine does, so a step over the ceiling is a change of the code. `make test` counts the
//! build of the tests, which is not optimised (`tools/bench.sh plain-counts`), as an optimised one would take it minutes.
//! Who raises a ceiling says in the commit what is worth it.

#![allow(missing_docs, reason = "the macros of iai-callgrind make public functions without words")]

use std::hint::black_box;

use bytes::Bytes;
use iai_callgrind::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use intercomd::media::VideoUnit;
use intercomd::media::packetise::Packetiser;

mod common;

/// Instructions at most, optimised and not: a tenth above what was counted when the ceiling was set, as compilers differ.
fn at_most(optimised: u64, plain: u64) -> LibraryBenchmarkConfig {
    let instructions = if cfg!(debug_assertions) { plain } else { optimised };
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]));
    config
}

fn in_a_call() -> common::House {
    let mut house = common::House::new();
    house.call();
    house
}

#[library_benchmark(config = at_most(57_000, 90_000))]
#[bench::run(common::service_frame())]
fn read_an_offer(text: String) -> intercomd::intercom::Signal {
    common::read_frame(black_box(&text))
}

#[library_benchmark(config = at_most(10_200, 40_300))]
#[bench::run(common::page_frame())]
fn read_an_answer_of_a_page(text: String) -> intercomd::intercom::Signal {
    common::read_frame(black_box(&text))
}

#[library_benchmark(config = at_most(8_500, 62_400))]
#[bench::run(in_a_call())]
fn take_a_candidate_with_six_phones(mut house: common::House) -> common::House {
    house.candidate();
    house
}

#[library_benchmark(config = at_most(115_000, 479_000))]
#[bench::run(in_a_call())]
fn answer_an_offer_with_six_phones(mut house: common::House) -> common::House {
    house.offer();
    house
}

#[library_benchmark(config = at_most(785_000, 3_730_000))]
#[bench::run(common::House::new())]
fn connect_six_phones(mut house: common::House) -> common::House {
    house.call();
    house
}

#[library_benchmark(config = at_most(13_400, 30_100))]
#[bench::run(common::Tap::new())]
fn hand_a_picture_to_eight_feeds(mut tap: common::Tap) -> (usize, common::Tap) {
    (tap.pour(), tap)
}

#[library_benchmark(config = at_most(675_000, 5_930_000))]
#[bench::run((Packetiser::new(), common::access_unit()))]
fn cut_a_picture_of_30_kb((mut packetiser, picture): (Packetiser, Bytes)) -> Option<VideoUnit> {
    packetiser.video(black_box(&picture), 0).ok()
}

#[library_benchmark(config = at_most(5_900, 44_700))]
#[bench::run(common::Reports::new())]
fn take_a_report_on_ten_packets(mut reports: common::Reports) -> (f64, common::Reports) {
    (reports.step(), reports)
}

library_benchmark_group!(
    name = hot;
    benchmarks =
        read_an_offer,
        read_an_answer_of_a_page,
        take_a_candidate_with_six_phones,
        answer_an_offer_with_six_phones,
        connect_six_phones,
        hand_a_picture_to_eight_feeds,
        cut_a_picture_of_30_kb,
        take_a_report_on_ten_packets
);
main!(library_benchmark_groups = hot);
