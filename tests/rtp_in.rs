//! What a phone can send in place of sound and pictures: real packets of H.264, VP8 and Opus, spoiled in every way one
//! can think of, go into the real depayloaders and decoders. Afterwards whole ones have to be seen and heard again.
//!
//! `RTP_PACKETS=1000000` for a long run, `RTP_SEED=n` to repeat one.

#![allow(clippy::print_stdout, reason = "a long run tells how it goes")]

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use intercomd::config::Source;
use intercomd::media::{Kind, Playback, PlaybackStatus, RemoteStream, RtpInput};

const LIMIT: Duration = Duration::from_secs(60);
const PACKETS: u64 = 6_000;
/// Packets pushed before the pipeline gets a moment: more would be dropped unread.
const BURST: u64 = 32;
/// That moment.
const BREATH: Duration = Duration::from_millis(5);

struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length.max(1) as u64)).expect("small")
    }
}

/// Whole packets as a phone sends them: some seconds of what GStreamer's own payloaders make.
fn recorded(pipeline: &str) -> Vec<Vec<u8>> {
    let text = format!("{pipeline} ! appsink name=out sync=false");
    let pipeline = gst::parse::launch(&text).expect("the elements are there");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let sink = pipeline.by_name("out").expect("it is named");
    let sink = sink.downcast::<gst_app::AppSink>().expect("an appsink");
    pipeline.set_state(gst::State::Playing).expect("it starts");
    let mut packets = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let buffer = sample.buffer().expect("a packet");
        packets.push(buffer.map_readable().expect("readable").to_vec());
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert!(packets.len() > 50, "{} packets of {text}", packets.len());
    packets
}

fn spoil(chance: &mut Chance, mut packet: Vec<u8>, next: &[u8]) -> Vec<Vec<u8>> {
    match chance.below(16) {
        0..6 => {}
        // Somewhere in what the depayloader and the decoder read.
        6..9 => {
            for _ in 0..=chance.below(8) {
                let length = packet.len();
                packet[12 + chance.index(length - 12)] = chance.below(256) as u8;
            }
        }
        // The descriptor or the head of the unit, where lengths and fragments are.
        9 | 10 => {
            let at = 12 + chance.index(4.min(packet.len() - 12));
            packet[at] ^= 1 << chance.below(8);
        }
        // The RTP header: padding, extension, CSRC count, marker, type, number, time, source.
        11 => packet[chance.index(12)] ^= 1 << chance.below(8),
        12 => packet.truncate(chance.index(packet.len())),
        13 => {
            packet.truncate(12);
            let length = chance.below(1200);
            packet.extend((0..length).map(|_| chance.below(256) as u8));
        }
        14 => return vec![packet.clone(), packet],
        _ => {
            return match chance.below(2) {
                0 => Vec::new(),
                _ => vec![next.to_vec(), packet],
            };
        }
    }
    vec![packet]
}

/// What becomes of a packet, given it and the one behind it.
type Spoiler<'a> = dyn FnMut(Vec<u8>, &[u8]) -> Vec<Vec<u8>> + 'a;

/// Packets go on from where the last ones were: a new number and time each.
struct Line {
    input: RtpInput,
    number: u16,
    time: u32,
}

impl Line {
    /// Sends the recording once, spoiled by `spoil`; the numbers of whole headers run on over recordings.
    fn send(&mut self, packets: &[Vec<u8>], spoil: &mut Spoiler<'_>) {
        let time_of = |packet: &[u8]| u32::from_be_bytes(packet[4..8].try_into().expect("four"));
        let (first, last) = (time_of(&packets[0]), time_of(&packets[packets.len() - 1]));
        for (at, packet) in packets.iter().enumerate() {
            let mut packet = packet.clone();
            self.number = self.number.wrapping_add(1);
            let time = self.time.wrapping_add(time_of(&packet).wrapping_sub(first));
            packet[1] = packet[1] & 0x80 | 96;
            packet[2..4].copy_from_slice(&self.number.to_be_bytes());
            packet[4..8].copy_from_slice(&time.to_be_bytes());
            packet[8..12].copy_from_slice(&7_u32.to_be_bytes());
            let next = &packets[(at + 1) % packets.len()];
            for packet in spoil(packet, next) {
                self.input.push(Bytes::from(packet));
            }
        }
        self.time = self.time.wrapping_add(last.wrapping_sub(first)).wrapping_add(3_000);
    }
}

fn shown(kind: Kind, status: &PlaybackStatus) -> u64 {
    match kind {
        Kind::Video => status.video_frames,
        Kind::Audio => status.audio_buffers,
    }
}

/// Memory of this process in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

/// Sends the recording again and again until so much more was shown or heard.
async fn until_shown(
    playback: &Playback,
    line: &mut Line,
    kind: Kind,
    packets: &[Vec<u8>],
    what: &str,
) {
    let before = shown(kind, &playback.status());
    let deadline = Instant::now() + LIMIT;
    while shown(kind, &playback.status()) < before + 5 {
        assert!(Instant::now() < deadline, "{what}: {:?}", playback.status());
        line.send(packets, &mut |packet, _| vec![packet]);
        // The pipeline's threads are the kernel's own.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn torture(name: &str, kind: Kind, encoding: &str, clock_rate: u32, pipeline: &str) {
    intercomd::media::init().expect("GStreamer starts");
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("RTP_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    let total = number("RTP_PACKETS").unwrap_or(PACKETS);
    println!("{name}: RTP_SEED={seed} RTP_PACKETS={total}");
    let mut chance = Chance(seed | 1);
    let packets = recorded(pipeline);
    let mut board = intercomd::config::built_in_board("sim").expect("it is built in");
    board.display.source = Source::Off;
    board.speaker.source = Source::Off;
    let playback = Playback::new(&board);
    let stream = RemoteStream { kind, encoding: encoding.to_owned(), payload_type: 96, clock_rate };
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let input = playback.open(
        stream,
        Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }),
    );
    let mut line = Line { input, number: 0, time: 0 };
    until_shown(&playback, &mut line, kind, &packets, "before anything was spoiled").await;

    let began = resident();
    let (mut sent, mut told) = (0, 0);
    while sent < total {
        let mut burst = 0;
        while burst < BURST {
            let some = packets.len().min(16);
            let from = chance.index(packets.len() - some + 1);
            line.send(&packets[from..from + some], &mut |packet, next| {
                let spoiled = spoil(&mut chance, packet, next);
                burst += spoiled.len() as u64;
                spoiled
            });
        }
        sent += burst;
        tokio::time::sleep(BREATH).await;
        if sent / 1_000_000 > told {
            told = sent / 1_000_000;
            println!("{name}: {sent} packets, {} MiB, {:?}", resident(), playback.status());
        }
    }
    until_shown(&playback, &mut line, kind, &packets, "after all that").await;
    let grown = resident().saturating_sub(began);
    let status = playback.status();
    println!(
        "{name}: {sent} packets, {} refused, {} branches, {} MiB more, {} keyframes asked for",
        status.refused_packets,
        status.branches_built,
        grown,
        asked.load(Ordering::Relaxed)
    );
    // What may wait is bounded, and a decoder that was given up is gone.
    assert!(grown < 200, "{grown} MiB more");
    drop(line);
    playback.stop().await;
}

const VOICE: &str = "audiotestsrc num-buffers=200 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 ! opusenc ! rtpopuspay pt=96";
const PICTURE: &str =
    "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,width=320,height=240,framerate=30/1";

#[tokio::test]
async fn h264_spoiled_in_any_way_is_survived_and_whole_pictures_are_shown_again() {
    let pipeline = format!(
        "{PICTURE} ! x264enc tune=zerolatency key-int-max=10 bitrate=600 ! video/x-h264,profile=constrained-baseline \
         ! rtph264pay mtu=600 config-interval=-1 pt=96"
    );
    torture("H.264", Kind::Video, "H264", 90_000, &pipeline).await;
}

#[tokio::test]
async fn vp8_spoiled_in_any_way_is_survived_and_whole_pictures_are_shown_again() {
    let pipeline = format!(
        "{PICTURE} ! vp8enc deadline=1 keyframe-max-dist=10 ! rtpvp8pay mtu=600 picture-id-mode=2 pt=96"
    );
    torture("VP8", Kind::Video, "VP8", 90_000, &pipeline).await;
}

#[tokio::test]
async fn opus_spoiled_in_any_way_is_survived_and_whole_sound_is_heard_again() {
    let pipeline = VOICE;
    torture("Opus", Kind::Audio, "OPUS", 48_000, pipeline).await;
}

/// One packet is missing, and by the next one's word it was hours long: filled in with made-up sound, it would take gigabytes.
#[tokio::test]
async fn a_jump_in_time_by_hours_is_not_filled_in_with_sound() {
    intercomd::media::init().expect("GStreamer starts");
    let packets = recorded(VOICE);
    let mut board = intercomd::config::built_in_board("sim").expect("it is built in");
    board.display.source = Source::Off;
    board.speaker.source = Source::Off;
    let playback = Playback::new(&board);
    let encoding = "OPUS".to_owned();
    let stream = RemoteStream { kind: Kind::Audio, encoding, payload_type: 96, clock_rate: 48_000 };
    let input = playback.open(stream, Arc::new(|| {}));
    let mut line = Line { input, number: 0, time: 0 };
    until_shown(&playback, &mut line, Kind::Audio, &packets, "the voice").await;
    let began = resident();
    for _ in 0..4 {
        line.number = line.number.wrapping_add(1);
        line.time = line.time.wrapping_add(1 << 29);
        until_shown(&playback, &mut line, Kind::Audio, &packets, "the voice again").await;
        let grown = resident().saturating_sub(began);
        assert!(grown < 100, "{grown} MiB more");
    }
    playback.stop().await;
}
