//! The media room gives everything back when the call is over: threads are counted, so nothing else may run in this
//! process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use intercomd::config::Source;
use intercomd::media::{Capture, CaptureState, Kind, Playback, RemoteStream, Unit};

const LIMIT: Duration = Duration::from_secs(20);

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux").count()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}

async fn one_call(capture: &Capture, playback: &Playback) {
    let tracks = [(Kind::Video, "H264", 90_000), (Kind::Audio, "OPUS", 48_000)];
    let inputs = tracks.map(|(kind, encoding, clock_rate)| {
        let stream =
            RemoteStream { kind, encoding: encoding.to_owned(), payload_type: 96, clock_rate };
        playback.open(stream, Arc::new(|| {}))
    });
    capture.set(true);
    let before = playback.status();
    let mut feed = capture.fanout().feed();
    let mut sequence = [0_u16; 2];
    loop {
        let now = playback.status();
        if now.video_frames >= before.video_frames + 3
            && now.audio_buffers >= before.audio_buffers + 3
        {
            break;
        }
        let unit = tokio::time::timeout(LIMIT, feed.next()).await;
        let (track, time, payloads) = match unit.expect("in time").expect("the capture lives") {
            Unit::Video(unit) => (0, unit.rtp_time, unit.payloads.clone()),
            Unit::Audio(unit) => (1, unit.rtp_time, vec![unit.payload.clone()]),
        };
        for (i, payload) in payloads.iter().enumerate() {
            let marker = if i + 1 == payloads.len() { 0x80 } else { 0 };
            let mut packet = vec![0x80, 96 | marker];
            sequence[track] = sequence[track].wrapping_add(1);
            packet.extend(sequence[track].to_be_bytes());
            packet.extend(time.to_be_bytes());
            packet.extend(7_u32.to_be_bytes());
            packet.extend_from_slice(payload);
            inputs[track].push(Bytes::from(packet));
        }
    }
    drop(inputs);
    capture.set(false);
    let mut status = capture.watch();
    let off = status.wait_for(|status| status.state == CaptureState::Off);
    tokio::time::timeout(LIMIT, off).await.expect("in time").expect("the capture lives");
}

/// Waits until at most so many threads are left; the kernel's list lags behind the join.
async fn settle(most: usize) -> usize {
    let deadline = Instant::now() + LIMIT;
    loop {
        // One reading both ends the wait and is judged: a thread that ends late may show in a second.
        let now = threads();
        if now <= most || Instant::now() >= deadline {
            return now;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_leaves_no_thread_and_no_open_file_behind() {
    intercomd::media::init().expect("GStreamer starts");
    let bare = threads();
    let mut board =
        intercomd::config::built_in_board("sim").expect("the simulated board is built in");
    (board.camera.width, board.camera.height) = (160, 120);
    board.display.source = Source::Off;
    board.speaker.source = Source::Off;
    let capture = Capture::new(&board);
    let playback = Playback::new(&board);
    one_call(&capture, &playback).await;
    // Our two threads, and the one GLib keeps to start others from.
    let idle = bare + 3;
    let left = settle(idle).await;
    assert!(left <= idle, "{left} threads after the first call, {bare} before");
    let files = open_files();
    for _ in 0..4 {
        one_call(&capture, &playback).await;
        let left = settle(idle).await;
        assert!(left <= idle, "{left} threads after a call, {bare} before the first");
    }
    assert!(open_files() <= files, "{} files, {files} before", open_files());
    assert_eq!(capture.status().pipelines_built, 5);
    capture.stop().await;
    playback.stop().await;
    assert!(settle(bare + 1).await <= bare + 1);
}
