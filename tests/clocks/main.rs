//! Two clocks: cards whose own clock is off by a fiftieth play and record as long as one likes, and what is heard and sent
//! stays as late as it was at first. Real cards are off by a thousandth of that, and take a day for it.
//!
//! The cards are doubles of hardware alone: each is the base class that GStreamer's ALSA elements are made of too, with a
//! card behind it that takes or gives samples at its own pace. What is set on them is what the plan sets on a real card.

#![allow(clippy::print_stdout, reason = "the measured delays are quoted in docs/media.md")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::{AppSink, AppSrc};
use intercomd::config::{Board, Source, built_in_board};
use intercomd::media::found::{Probe, SoundCard};
use intercomd::media::tones::{self, Tone};
use intercomd::media::{AudioUnit, Capture, Line, Playback, Unit, plan_sound, selftest};

mod cards;
mod voice;

use cards::{Seen, seen, system_ns};

const LIMIT: Duration = Duration::from_secs(60);
/// What a late piece of a noisy machine may add to a delay.
const SPREAD_MS: f64 = 45.0;

/// What the plan says of a card, with a card of this pace in its place.
fn planned(text: &str, element: &str, pace: f64) -> String {
    let (before, rest) =
        text.split_once(&format!("alsa{element} device=")).expect("ALSA is planned");
    let (_, settings) = rest.split_once("\" ").expect("a quoted device");
    format!("{before} drifting{element} pace={pace} {settings}")
}

fn board() -> Board {
    let mut board = built_in_board("sim").expect("the simulated board is built in");
    (board.camera.source, board.display.source) = (Source::Off, Source::Off);
    (board.microphone.source, board.speaker.source) = (Source::Auto, Source::Auto);
    board
}

fn probe() -> Probe {
    let card = SoundCard { id: "card".into(), records: true, plays: true, ..SoundCard::default() };
    let elements = ["alsasink", "alsasrc"].map(str::to_owned);
    Probe { elements: BTreeSet::from(elements), sound_cards: vec![card], ..Probe::default() }
}

/// How long each beginning of a sound took from the mixer to the ear, in milliseconds.
async fn played(name: &str, pace: f64, change: fn(&str) -> String) -> Vec<f64> {
    let mut board = board();
    let text = change(&planned(&plan_sound::speaker(&board, &probe()).text, "sink", pace));
    board.speaker.source = Source::Pipeline(format!("{text} called={name}"));
    let playback = Playback::new(&board);
    playback.set_line(Line::Ringing);
    let is_done = |seen: &Seen| seen.inside.len() >= 4 && seen.outside.len() >= 4;
    until(name, is_done).await;
    playback.stop().await;
    let seen = seen(name);
    seen.inside.iter().zip(&seen.outside).map(|(mixed, heard)| (heard - mixed) / 1e6).collect()
}

/// What became of a microphone's ticks, in milliseconds.
#[derive(Debug)]
struct Recorded {
    /// How much later than the first each is, by the times of RTP.
    sent: Vec<f64>,
    /// How much later units came at the end than at first.
    queued: f64,
}

async fn recorded(name: &str, pace: f64, tells: bool) -> Recorded {
    /// Of so many units the most punctual is taken.
    const SOME: usize = 25;
    const TICKS: usize = 18;
    let mut board = board();
    let plan = plan_sound::microphone_source(&board, &probe(), &mut Vec::new()).expect("a card");
    let text = planned(&plan.text, "src", pace);
    let text = text.replace("pace=", &format!("called={name} tells={tells} pace="));
    board.microphone.source = Source::Pipeline(text);
    // What is made of the voice is not what is looked at.
    let microphone = &mut board.microphone;
    (microphone.noise_suppression, microphone.gain_control) = (false, false);
    let capture = Capture::new(&board);
    capture.set(true);
    let mut feed = capture.fanout().feed();
    let mut sent = Vec::new();
    let work = async {
        while seen(name).inside.len() < TICKS {
            if let Unit::Audio(unit) = feed.next().await.expect("the capture lives") {
                sent.push((unit, system_ns()));
            }
        }
    };
    let done = tokio::time::timeout(LIMIT, work).await;
    done.unwrap_or_else(|_| panic!("{name}: {:?}, {:?}", seen(name), capture.status()));
    capture.stop().await;
    let late = |(unit, at): &(Arc<AudioUnit>, f64)| {
        at / 1e6 - f64::from(unit.rtp_time.wrapping_sub(sent[0].0.rtp_time)) / 48.0
    };
    let least = |some: &[_]| some.iter().map(late).fold(f64::MAX, f64::min);
    let queued = least(&sent[sent.len() - SOME..]) - least(&sent[..SOME]);
    let units: Vec<Arc<AudioUnit>> = sent.into_iter().map(|(unit, _)| unit).collect();
    let ticks = ticks(&units);
    assert!(ticks.len() > TICKS / 2, "{name}: {ticks:?}");
    let phase = |tick: &f64| (tick - ticks[0] + 1.5 * cards::TICK_MS) % cards::TICK_MS;
    Recorded { sent: ticks.iter().map(|tick| phase(tick) - cards::TICK_MS / 2.0).collect(), queued }
}

/// When ticks begin in what was sent, in milliseconds from its beginning, by the times of RTP.
fn ticks(units: &[Arc<AudioUnit>]) -> Vec<f64> {
    const DECODER: &str = "appsrc name=in format=time caps=\"audio/x-opus,channel-mapping-family=0,channels=1,rate=48000\" \
        ! opusdec ! audio/x-raw,format=S16LE,rate=48000,channels=1 ! appsink name=out sync=false";
    let pipeline = gst::parse::launch(DECODER).expect("a decoder");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let input =
        pipeline.by_name("in").and_then(|it| it.downcast::<AppSrc>().ok()).expect("a source");
    let output =
        pipeline.by_name("out").and_then(|it| it.downcast::<AppSink>().ok()).expect("a sink");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let mut ear = cards::Ear::default();
    let mut found = Vec::new();
    for unit in units {
        input.push_buffer(gst::Buffer::from_slice(unit.payload.clone())).expect("it is taken");
        let sample = output.pull_sample().expect("it is decoded");
        let map = sample.buffer().expect("a buffer").map_readable().expect("memory");
        if let Some(at) = ear.beginning(&map) {
            let since = unit.rtp_time.wrapping_sub(units[0].rtp_time);
            found.push((f64::from(since) + at as f64) / 48.0);
        }
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
    found
}

async fn until(name: &str, wanted: impl Fn(&Seen) -> bool) {
    let work = async {
        while !wanted(&seen(name)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(LIMIT, work).await;
    done.unwrap_or_else(|_| panic!("{name}: {:?}", seen(name)));
}

fn spread(delays: &[f64]) -> f64 {
    let most = delays.iter().copied().fold(f64::MIN, f64::max);
    most - delays.iter().copied().fold(f64::MAX, f64::min)
}

/// What became of a chime.
struct Chimed {
    /// How much of it was given to the card, in milliseconds of loud samples.
    loud: f64,
    /// How long after it was asked for it began at the ear, in milliseconds.
    after: f64,
}

/// So many chimes, one after the other, through a card of these settings.
async fn chimed(name: &str, settings: &str, times: usize) -> Vec<Chimed> {
    let mut board = board();
    let text = planned(&plan_sound::speaker(&board, &probe()).text, "sink", 1.0);
    board.speaker.source = Source::Pipeline(format!("{text} called={name} {settings}"));
    let playback = Playback::new(&board);
    // The daemon has been up for longer when somebody presses.
    let is_ready = async {
        while playback.status().speaker.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, is_ready).await.expect("the speaker was planned");
    let mut chimes = Vec::new();
    for n in 0..times {
        let asked = system_ns();
        playback.chime();
        // It is closed when the chime has been played out.
        until(name, |seen| seen.closed > n).await;
        let seen = seen(name);
        let before: f64 = chimes.iter().map(|it: &Chimed| it.loud).sum();
        let (loud, after) = (seen.loud as f64 / 48.0 - before, (seen.outside[n] - asked) / 1e6);
        chimes.push(Chimed { loud, after });
    }
    playback.stop().await;
    chimes
}

/// Milliseconds of loud samples in a chime.
fn whole_chime() -> f64 {
    let chime = tones::samples(Tone::Chime, board().sounds.volume);
    chime.iter().filter(|sample| sample.unsigned_abs() >= cards::LOUD).count() as f64 / 48.0
}

fn left_alone(text: &str) -> String {
    let (before, _) = text.split_once("slave-method=").expect("the plan says how the card follows");
    let after = text[before.len()..].split_once(' ').map_or("", |(_, after)| after);
    format!("{before}slave-method=none {after}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_speaker_whose_clock_is_off_is_heard_no_later_as_time_goes_by() {
    cards::register();
    let (fast, slow, alone) = tokio::join!(
        played("fast-speaker", 1.02, str::to_owned),
        played("slow-speaker", 0.98, str::to_owned),
        played("speaker-left-alone", 0.98, left_alone),
    );
    for (name, delays) in [("fast", &fast), ("slow", &slow)] {
        println!("{name} speaker: heard within {:.0} ms", spread(delays));
        assert!(spread(delays) < SPREAD_MS, "{name}: {delays:?}");
    }
    assert!(spread(&alone) > 3.0 * SPREAD_MS, "this card shows no drift: {alone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_microphone_whose_clock_is_off_is_sent_no_later_as_time_goes_by() {
    cards::register();
    let (fast, slow, dumb) = tokio::join!(
        recorded("fast-microphone", 1.02, true),
        recorded("slow-microphone", 0.98, true),
        recorded("microphone-without-times", 1.02, false),
    );
    for (name, seen) in [("fast", &fast), ("slow", &slow)] {
        println!("{name} microphone: sent within {:.0} ms", spread(&seen.sent));
        assert!(spread(&seen.sent) < SPREAD_MS && seen.queued.abs() < SPREAD_MS, "{seen:?}");
    }
    assert!(spread(&dumb.sent) > 3.0 * SPREAD_MS, "this card shows no drift: {dumb:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chime_is_heard_whole_through_a_card_that_takes_long_to_open() {
    cards::register();
    let whole = whole_chime();
    for (slow, times) in [(0, 3), (40, 1), (800, 1)] {
        for chime in chimed(&format!("chime-{slow}"), &format!("slow={slow}"), times).await {
            println!(
                "a card that opens in {slow} ms: {:.0} of {whole:.0} ms, {:.0} ms after",
                chime.loud, chime.after
            );
            assert!((chime.loud - whole).abs() < 8.0, "{slow}: {}", chime.loud);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_machine_that_is_a_little_behind_all_the_time_a_chime_is_heard_but_for_its_beginning()
{
    cards::register();
    let whole = whole_chime();
    // From some 26 ms on a piece finds its place in the card played, and none may come so late that it is plainly behind.
    for late in [20, 28, 32, 36, 40] {
        let chimes = chimed(&format!("late-{late}"), &format!("late={late}"), 1).await;
        println!("{late} ms behind: {:.0} of {whole:.0} ms", chimes[0].loud);
        assert!(chimes[0].loud > 0.6 * whole, "{late}: {}", chimes[0].loud);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chime_is_heard_whole_when_the_card_can_be_opened_the_second_time_only() {
    cards::register();
    let whole = whole_chime();
    let chimed = chimed("failing-chime", "fails=1", 1).await;
    assert!((chimed[0].loud - whole).abs() < 8.0, "{}", chimed[0].loud);
    assert_eq!(seen("failing-chime").prepared, 2);
}

/// What the self-test says of two cards in a room; the speaker's has these settings, too.
fn self_tested(air: &str, settings: &str) -> selftest::PartReport {
    cards::register();
    let mut board = board();
    let speaker = planned(&plan_sound::speaker(&board, &probe()).text, "sink", 1.0);
    let plan = plan_sound::microphone_source(&board, &probe(), &mut Vec::new()).expect("a card");
    let microphone = planned(&plan.text, "src", 1.0);
    board.speaker.source = Source::Pipeline(format!("{speaker} called={air} air={air} {settings}"));
    let own = format!("called={air} air={air} tells=true pace=");
    board.microphone.source = Source::Pipeline(microphone.replace("pace=", &own));
    selftest::sound(&board)
}

#[test]
fn the_self_test_measures_the_room_between_two_cards() {
    let report = self_tested("a-room", "");
    let found = report.findings.unwrap_or_else(|| panic!("{report:?}"));
    println!("a room of 5 ms and 12 dB: {found:?}");
    // The sweep ends at 8 kHz: where the speaker follows its card by some samples meanwhile, it looks like another.
    assert!(found.likeness > 0.2, "{found:?}");
    assert!((found.return_loss_db - 12.0).abs() < 1.0, "{found:?}");
    assert!((0.0..15.0).contains(&found.delay_ms), "{found:?}");
    assert_eq!(found.clipped, 0.0);
    assert!(found.noise_db < -90.0, "{found:?}");
    assert!(found.enhancement_db.is_some_and(|db| db > 10.0), "{found:?}");
}

#[test]
fn the_self_test_waits_for_a_speaker_that_takes_long_to_open() {
    let report = self_tested("a-slow-room", "slow=2500");
    let found = report.findings.unwrap_or_else(|| panic!("{report:?}"));
    assert!(found.likeness > 0.2 && (0.0..15.0).contains(&found.delay_ms), "{found:?}");
}
