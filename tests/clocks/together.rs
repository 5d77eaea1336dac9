//! Sound and picture of a phone that arrive together are heard and seen together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::AppSink;
use intercomd::config::Source;
use intercomd::media::{Kind, Playback, RemoteStream, plan_sound};

use super::cards::{self, seen, system_ns};
use super::{board, planned, probe};

/// Packets as a phone sends them.
fn recorded(text: &str) -> Vec<Vec<u8>> {
    let pipeline = gst::parse::launch(&format!("{text} ! appsink name=out sync=false"))
        .expect("the elements are there");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let sink =
        pipeline.by_name("out").and_then(|it| it.downcast::<AppSink>().ok()).expect("an appsink");
    pipeline.set_state(gst::State::Playing).expect("it starts");
    let mut packets = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        packets.push(sample.buffer().expect("a packet").map_readable().expect("readable").to_vec());
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
    packets
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_picture_that_come_together_are_out_together() {
    cards::register();
    let mut board = board();
    let text = planned(&plan_sound::speaker(&board, &probe()).text, "sink", 1.0);
    board.speaker.source = Source::Pipeline(format!(
        "{text} called=together {}",
        std::env::var("MORE").unwrap_or_default()
    ));
    board.display.source = Source::Pipeline("fakesink sync=false".to_owned());
    // Half a second of each second is a tone.
    let sound = recorded(
        "audiotestsrc wave=sine freq=700 num-buffers=600 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 ! opusenc frame-size=20 ! rtpopuspay pt=111",
    );
    let silence = recorded(
        "audiotestsrc wave=silence num-buffers=600 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 ! opusenc frame-size=20 ! rtpopuspay pt=111",
    );
    let pictures = recorded(
        "videotestsrc num-buffers=400 ! video/x-raw,width=320,height=240,framerate=25/1 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay pt=96 mtu=60000 config-interval=-1",
    );
    let playback = Playback::new(&board);
    let open = |kind, encoding: &str, payload_type, clock_rate| {
        playback.open(
            RemoteStream { kind, encoding: encoding.to_owned(), payload_type, clock_rate },
            Arc::new(|| {}),
        )
    };
    let voice = open(Kind::Audio, "OPUS", 111, 48_000);
    let face = open(Kind::Video, "H264", 96, 90_000);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut begun = Vec::new();
    let mut shown = Vec::new();
    let (mut at, mut picture) = (0, 0);
    while seen("together").outside.len() < 8 && at < 590 {
        tick.tick().await;
        let loud = at % 50 >= 25;
        if at % 50 == 25 {
            begun.push(system_ns());
        }
        let (head, body) = (&sound[at][..12], if loud { &sound[at] } else { &silence[at] });
        let packet = [head, &body[12..]].concat();
        voice.push(Bytes::from(packet));
        if at % 2 == 0 {
            let before = playback.status().video_frames;
            let sent = system_ns();
            // All packets of one picture.
            loop {
                let packet = &pictures[picture];
                picture += 1;
                face.push(Bytes::copy_from_slice(packet));
                if packet[1] & 0x80 != 0 {
                    break;
                }
            }
            while playback.status().video_frames == before && system_ns() - sent < 15e6 {
                std::thread::sleep(Duration::from_micros(500));
            }
            if playback.status().video_frames > before {
                shown.push((system_ns() - sent) / 1e6);
            }
        }
        at += 1;
    }
    let heard = seen("together");
    println!(
        "sound {:?}",
        heard
            .outside
            .iter()
            .map(|it| begun
                .iter()
                .map(|b| (it - b) / 1e6)
                .filter(|d| *d > 0.0 && *d < 900.0)
                .fold(0.0_f64, f64::max))
            .collect::<Vec<_>>()
    );
    println!(
        "mixed {:?}",
        heard
            .inside
            .iter()
            .map(|it| begun
                .iter()
                .map(|b| (it - b) / 1e6)
                .filter(|d| *d > -300.0 && *d < 900.0)
                .fold(-1000.0_f64, f64::max))
            .collect::<Vec<_>>()
    );
    shown.sort_by(f64::total_cmp);
    println!("picture {} median {:?}", shown.len(), shown.get(shown.len() / 2));
    playback.stop().await;
}
