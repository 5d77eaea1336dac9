//! A voice is heard as soon after it came as at any time: when it begins before the speaker is open, and when the network held
//! it back.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::AppSink;
use intercomd::config::Source;
use intercomd::media::{Kind, Playback, RemoteStream, plan_sound};

use super::cards::{self, seen, system_ns};
use super::{SPREAD_MS, board, planned, probe, spread};

/// A packet of Opus.
const PACKET: Duration = Duration::from_millis(20);
/// Half a second of silence, then half a second of a tone, in packets.
const TURN: usize = 50;
const SECONDS: usize = 8;

/// So much of one tone, or of silence, as a phone sends it.
fn sent(wave: &str) -> Vec<Vec<u8>> {
    let text = format!(
        "audiotestsrc wave={wave} freq=700 num-buffers={} samplesperbuffer=960 \
         ! audio/x-raw,rate=48000,channels=1 ! opusenc frame-size=20 ! rtpopuspay pt=111 \
         ! appsink name=out sync=false",
        SECONDS * TURN
    );
    let pipeline = gst::parse::launch(&text).expect("the elements are there");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let sink = pipeline.by_name("out").and_then(|it| it.downcast::<AppSink>().ok());
    let sink = sink.expect("an appsink");
    pipeline.set_state(gst::State::Playing).expect("it starts");
    let mut packets = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let packet = sample.buffer().expect("a packet").map_readable().expect("readable");
        packets.push(packet.to_vec());
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
    packets
}

/// Plays a voice of [`SECONDS`]; the packets of `held` wait for the last of them. Says how long after it came, or should have,
/// each tone was heard, in milliseconds.
async fn heard(name: &str, settings: &str, held: Range<usize>) -> Vec<f64> {
    cards::register();
    let mut board = board();
    let text = planned(&plan_sound::speaker(&board, &probe()).text, "sink", 1.0);
    board.speaker.source = Source::Pipeline(format!("{text} called={name} {settings}"));
    let (tone, silence) = (sent("sine"), sent("silence"));
    let playback = Playback::new(&board);
    let encoding = "OPUS".to_owned();
    let stream =
        RemoteStream { kind: Kind::Audio, encoding, payload_type: 111, clock_rate: 48_000 };
    let voice = playback.open(stream, Arc::new(|| {}));
    let mut next = tokio::time::interval(PACKET);
    let (mut begun, mut kept) = (Vec::new(), Vec::new());
    for (at, loud) in tone.iter().enumerate() {
        next.tick().await;
        if at % TURN == TURN / 2 {
            begun.push(system_ns());
        }
        kept.push(match at % TURN {
            n if n < TURN / 2 => [&loud[..12], &silence[at][12..]].concat(),
            _ => loud.clone(),
        });
        if !held.contains(&at) {
            kept.drain(..).for_each(|packet| voice.push(Bytes::from(packet)));
        }
    }
    playback.stop().await;
    // The last tone may not have been played out.
    begun.truncate(SECONDS - 1);
    let ears = seen(name).outside;
    let delay = |came: &f64| ears.iter().map(|ear| (ear - came) / 1e6).find(|delay| *delay > 0.0);
    begun.iter().filter_map(delay).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_is_heard_as_soon_at_first_as_later() {
    let delays = heard("voice", "", 0..0).await;
    println!("a voice is heard after {delays:.0?} ms");
    assert_eq!(delays.len(), SECONDS - 1);
    assert!(spread(&delays) < SPREAD_MS, "{delays:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_that_the_network_held_back_is_heard_in_time_again_at_once() {
    // In a silence; the tone that follows comes 100 ms after the network moves again.
    let held = [("voice-held-200", 110..120), ("voice-held-400", 100..120)];
    for (name, held) in held {
        let delays = heard(name, "", held).await;
        println!("{name}: {delays:.0?} ms");
        assert_eq!(delays.len(), SECONDS - 1);
        assert!(spread(&delays) < SPREAD_MS, "{name}: {delays:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_is_heard_late_on_a_machine_that_is_behind_all_the_time() {
    for late in [300, 600] {
        let name = format!("voice-late-{late}");
        let delays = heard(&name, &format!("late={late}"), 0..0).await;
        println!("{late} ms behind: {delays:.0?} ms");
        // The first ones tell how far behind the machine is.
        assert!(delays.len() >= SECONDS - 2, "{late}: {delays:?}");
        assert!(spread(&delays[2..]) < SPREAD_MS, "{late}: {delays:?}");
    }
}
