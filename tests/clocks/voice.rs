//! A voice that begins before the speaker is open: heard as soon after it came as everything later.

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

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_is_heard_as_soon_at_first_as_later() {
    cards::register();
    let mut board = board();
    let text = planned(&plan_sound::speaker(&board, &probe()).text, "sink", 1.0);
    board.speaker.source = Source::Pipeline(format!("{text} called=voice"));
    let (tone, silence) = (sent("sine"), sent("silence"));
    let playback = Playback::new(&board);
    let encoding = "OPUS".to_owned();
    let stream =
        RemoteStream { kind: Kind::Audio, encoding, payload_type: 111, clock_rate: 48_000 };
    let voice = playback.open(stream, Arc::new(|| {}));
    let mut next = tokio::time::interval(PACKET);
    let mut begun = Vec::new();
    for (at, loud) in tone.iter().enumerate() {
        next.tick().await;
        let packet = match at % TURN {
            n if n < TURN / 2 => [&loud[..12], &silence[at][12..]].concat(),
            _ => loud.clone(),
        };
        if at % TURN == TURN / 2 {
            begun.push(system_ns());
        }
        voice.push(Bytes::from(packet));
    }
    playback.stop().await;
    // The last may not have been played out.
    let heard = &seen("voice").outside[..];
    assert!(heard.len() + 1 >= begun.len(), "{} heard of {}", heard.len(), begun.len());
    let delays: Vec<f64> = heard.iter().zip(&begun).map(|(ear, came)| (ear - came) / 1e6).collect();
    println!("a voice is heard after {delays:.0?} ms");
    assert!(spread(&delays) < SPREAD_MS, "{delays:?}");
}
