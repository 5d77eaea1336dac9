//! The door's sound through the public face of the media room: the chime and other sounds, mixing, healing, what
//! the self-test says of a broken microphone. Speaker and microphone are pipelines of the tests.

use std::path::Path;
use std::time::Duration;

use intercomd::config::{Board, ChimeSound, Source, built_in_board};
use intercomd::media::room::Grade;
use intercomd::media::{Line, Playback, PlaybackStatus, selftest};

const LIMIT: Duration = Duration::from_secs(20);
/// A speaker that is open mixes a hundred pieces a second.
const STILL: Duration = Duration::from_millis(300);

fn board(speaker: &str) -> Board {
    let mut board = built_in_board("sim").expect("the simulated board is built in");
    board.display.source = Source::Off;
    board.speaker.source = Source::Pipeline(speaker.to_owned());
    board
}

/// What is heard goes into this file, 16 bit at 48 kHz.
fn into(file: &Path) -> String {
    format!(
        "audio/x-raw,format=S16LE,rate=48000,channels=1 ! filesink buffer-mode=unbuffered location={}",
        file.display()
    )
}

async fn until(playback: &Playback, wanted: impl Fn(&PlaybackStatus) -> bool) {
    let work = async {
        while !wanted(&playback.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let done = tokio::time::timeout(LIMIT, work).await;
    done.unwrap_or_else(|_| panic!("{:?}", playback.status()));
}

async fn until_heard(file: &Path, seconds: f64, hertz: f64) -> f64 {
    let work = async {
        loop {
            let share = loudest_share(file, seconds, hertz);
            if share > 0.5 {
                return share;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let heard = tokio::time::timeout(LIMIT, work).await;
    heard.unwrap_or_else(|_| panic!("{hertz} Hz was never heard"))
}

/// The largest share of this pitch in any piece of so many seconds that is not silent.
fn loudest_share(file: &Path, seconds: f64, hertz: f64) -> f64 {
    shares(file, seconds, hertz).into_iter().fold(0.0, f64::max)
}

/// How many pieces of so many seconds are this pitch.
fn pieces_of(file: &Path, seconds: f64, hertz: f64) -> usize {
    shares(file, seconds, hertz).into_iter().filter(|share| *share > 0.5).count()
}

/// The share of this pitch in each piece of so many seconds, 0 in one that is silent (Goertzel).
fn shares(file: &Path, seconds: f64, hertz: f64) -> Vec<f64> {
    let bytes = std::fs::read(file).unwrap_or_default();
    let samples: Vec<f64> = bytes
        .chunks_exact(2)
        .map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])))
        .collect();
    let piece = (seconds * 48_000.0) as usize;
    let step = std::f64::consts::TAU * hertz / 48_000.0;
    let share = |piece: &[f64]| {
        let energy: f64 = piece.iter().map(|sample| sample * sample).sum();
        if energy / (piece.len() as f64) < 1e4 {
            return 0.0;
        }
        let part = |wave: fn(f64) -> f64| {
            piece.iter().enumerate().map(|(n, sample)| sample * wave(step * n as f64)).sum::<f64>()
        };
        2.0 * (part(f64::cos).powi(2) + part(f64::sin).powi(2)) / (piece.len() as f64 * energy)
    };
    samples.chunks_exact(piece).map(share).collect()
}

#[tokio::test]
async fn the_chime_is_heard_without_a_call_and_the_speaker_is_closed_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("heard.raw");
    let playback = Playback::new(&board(&into(&file)));
    assert!(!file.exists(), "nothing is open before there is something to hear");
    playback.chime();
    until_heard(&file, 0.1, 659.26).await;
    until_heard(&file, 0.1, 523.25).await;
    until_still(&playback, STILL).await;
    let status = playback.status();
    assert_eq!((status.sounds, status.speaker_opened), (1, 1), "{status:?}");
    assert_eq!(status.trouble, "");
    playback.sorry();
    until_heard(&file, 0.1, 392.0).await;
    assert_eq!(playback.status().speaker_opened, 2);
    playback.stop().await;
}

/// Waits until no more is mixed for so long, which is when the speaker is closed.
async fn until_still(playback: &Playback, still: Duration) {
    let work = async {
        let mut seen = 0;
        loop {
            let mixed = playback.status().mixed;
            if mixed == seen && mixed > 0 {
                return;
            }
            seen = mixed;
            tokio::time::sleep(still).await;
        }
    };
    tokio::time::timeout(LIMIT, work).await.expect("the speaker is closed");
}

#[tokio::test]
async fn ringing_is_heard_until_it_is_over_and_not_where_it_is_switched_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("heard.raw");
    let mut board = board(&into(&file));
    let playback = Playback::new(&board);
    playback.set_line(Line::Ringing);
    until(&playback, |status| status.sounds >= 2).await;
    until_heard(&file, 0.1, 425.0).await;
    // As when somebody answers: nothing sounds over the first words.
    playback.set_line(Line::Open);
    let so_far = playback.status().mixed;
    until(&playback, |status| status.mixed > so_far + 150).await;
    playback.set_line(Line::Idle);
    until_still(&playback, STILL).await;
    let tones = pieces_of(&file, 0.1, 425.0);
    assert!((8..15).contains(&tones), "{tones} tenths of a second: the second tone was cut off");
    assert_eq!(playback.status().speaker_opened, 1);
    playback.stop().await;

    board.sounds.ringback = false;
    board.sounds.chime = ChimeSound::Off;
    let playback = Playback::new(&board);
    playback.set_line(Line::Ringing);
    playback.chime();
    playback.sorry();
    until(&playback, |status| status.sounds >= 1).await;
    assert_eq!(playback.status().sounds, 1, "the sorry alone");
    playback.stop().await;
}

#[tokio::test]
async fn in_a_call_the_speaker_stays_open_so_that_a_voice_is_heard_from_its_first_word() {
    let playback = Playback::new(&board("fakesink sync=true"));
    playback.chime();
    playback.set_line(Line::Open);
    // Long after the chime.
    until(&playback, |status| status.mixed > 400).await;
    assert_eq!(playback.status().speaker_opened, 1);
    playback.set_line(Line::Idle);
    until_still(&playback, STILL).await;
    assert_eq!(playback.status().speaker_opened, 1);
    playback.stop().await;
}

#[tokio::test]
async fn a_speaker_that_waits_for_the_clock_is_not_taken_for_a_slow_machine() {
    let playback = Playback::new(&board("fakesink sync=true"));
    playback.set_line(Line::Open);
    // Ten seconds: a delay that grows by 50 ms five times a second would have come to its end.
    until(&playback, |status| status.mixed > 1_000).await;
    let status = playback.status();
    assert_eq!((status.speaker_opened, status.trouble.as_str()), (1, ""), "{status:?}");
    playback.stop().await;
}

#[tokio::test]
async fn a_speaker_that_fails_is_opened_again_and_the_status_says_why() {
    let playback = Playback::new(&board("identity error-after=30 ! fakesink sync=true"));
    playback.set_line(Line::Ringing);
    until(&playback, |status| status.speaker_opened >= 3).await;
    let status = playback.status();
    assert!(!status.trouble.is_empty(), "{status:?}");
    until(&playback, |status| status.speaker.contains("not playing")).await;
    playback.stop().await;
}

#[tokio::test]
async fn a_machine_too_slow_for_its_sound_says_so_and_begins_it_again_but_not_for_ever() {
    // Ten times as long for a piece as it lasts.
    let playback = Playback::new(&board("identity sleep-time=100000 ! fakesink sync=true"));
    playback.chime();
    until(&playback, |status| status.speaker_opened >= 2 && status.sounds >= 2).await;
    let why = playback.status().trouble;
    assert!(why.contains("too slow"), "{why}");
    // This one mixes five pieces a second and more while it is open.
    until_still(&playback, Duration::from_secs(2)).await;
    let status = playback.status();
    assert!((2..=4).contains(&status.sounds), "{status:?}");
    playback.stop().await;
}

#[tokio::test]
async fn a_speaker_that_cannot_be_built_does_not_stop_the_rest() {
    let playback = Playback::new(&board("no-such-element-anywhere"));
    playback.chime();
    until(&playback, |status| status.speaker.contains("not playing")).await;
    assert!(
        playback.status().trouble.contains("no-such-element-anywhere"),
        "{:?}",
        playback.status()
    );
    playback.stop().await;
}

#[test]
fn the_self_test_says_that_the_microphone_hears_nothing() {
    let mut deaf = board("fakesink sync=true");
    deaf.microphone.source =
        Source::Pipeline("audiotestsrc is-live=true wave=pink-noise volume=0.02".to_owned());
    let report = selftest::sound(&deaf);
    assert!(
        report.verdicts.iter().any(|v| v.grade == Grade::Bad && v.words.contains("does not hear")),
        "{report:?}"
    );
}

#[test]
fn the_self_test_says_that_the_microphone_does_not_work() {
    let mut broken = board("fakesink sync=true");
    broken.microphone.source =
        Source::Pipeline("audiotestsrc is-live=true ! identity error-after=2".to_owned());
    let report = selftest::sound(&broken);
    assert!(
        report.verdicts.iter().any(|v| v.grade == Grade::Bad && !v.remedy.is_empty()),
        "{report:?}"
    );
}

#[tokio::test]
async fn the_self_test_counts_pictures() {
    let mut board = board("fakesink");
    board.camera.source = Source::Pipeline(
        "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=15/1".to_owned(),
    );
    (board.camera.width, board.camera.height, board.camera.rate) = (160, 120, 15);
    let report = selftest::picture(&board).await;
    assert!(report.pictures_per_second.is_some_and(|rate| rate > 3.0), "{report:?}");
}
