//! What sound is captured and played with: board settings and what was found become pipeline text.
//!
//! Pure: looks at nothing itself and builds nothing. Pictures are planned in `plan.rs` and `plan_playback.rs`.

use super::found::{Probe, alsa_name, found_cards, missing_element, plughw, quoted};
use super::plan::{Fragment, OUT, Part};
use super::plan_playback::Sink;
use crate::config::{Board, Source};

// When the encoder is late, the oldest sound is dropped here: delay in a talk is worse than a gap.
const SOUND_TO_ENCODER: &str = "queue name=microphone-queue leaky=downstream max-size-buffers=0 \
    max-size-bytes=0 max-size-time=60000000 ! audioconvert ! audioresample \
    ! audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=1";

// `voice` rather than `restricted-lowdelay`: the latter saves 2.5 ms but has no in-band error correction
// (RFC 6716 section 2.1.7), which phones on a bad radio link need more.
const OPUS: &str = "opusenc name=encoder audio-type=voice frame-size=20 bitrate=32000 \
    bitrate-type=constrained-vbr inband-fec=true packet-loss-percentage=10 complexity=5";

/// The door's voice, from its source to an encoder and its appsink.
pub(super) fn microphone(board: &Board, probe: &Probe, reasons: &mut Vec<String>) -> Part {
    match microphone_source(board, probe, reasons) {
        Err(part) => part,
        Ok(_) if !probe.has("opusenc") => Part::Missing(missing_element("opusenc")),
        Ok((source, text)) => Part::Ready(Fragment {
            text: format!("{text} ! {SOUND_TO_ENCODER} ! {OPUS} ! {OUT}"),
            source,
            encoder: "opusenc".to_owned(),
            bitrate: 0,
        }),
    }
}

fn microphone_source(
    board: &Board,
    probe: &Probe,
    reasons: &mut Vec<String>,
) -> Result<(String, String), Part> {
    const TONE: &str =
        "audiotestsrc is-live=true wave=sine freq=660 volume=0.2 samplesperbuffer=480";
    let alsa = |device: &str| {
        if !probe.has("alsasrc") {
            return Err(Part::Missing(missing_element("alsasrc")));
        }
        Ok(format!("alsasrc device={} latency-time=10000 buffer-time=60000", quoted(device)))
    };
    match &board.microphone.source {
        Source::Off => Err(Part::Off),
        Source::Test => Ok(("test tone".to_owned(), TONE.to_owned())),
        Source::Pipeline(fragment) => {
            reasons.push("microphone: the board's own pipeline".to_owned());
            Ok(("own pipeline".to_owned(), fragment.trim().to_owned()))
        }
        Source::Device(wanted) => match alsa_name(wanted, probe) {
            Some(device) => Ok((device.clone(), alsa(&device)?)),
            None => Err(Part::Missing(format!(
                "no sound card called \"{wanted}\"; {}",
                found_cards(probe)
            ))),
        },
        Source::Auto => match probe.sound_cards.iter().find(|card| card.records) {
            Some(card) => {
                reasons.push(format!("microphone: {} is the first card that records", card.name));
                Ok((card.name.clone(), alsa(&plughw(card))?))
            }
            None if board.name == "sim" => {
                reasons.push("microphone: no card records, so the test tone".to_owned());
                Ok(("test tone".to_owned(), TONE.to_owned()))
            }
            None => Err(Part::Missing(format!("no card records; {}", found_cards(probe)))),
        },
    }
}

/// Where remote sound goes.
pub fn speaker(board: &Board, probe: &Probe) -> Sink {
    // Paced by the clock, so that a door without a speaker behaves like one with a speaker.
    let counted = |why: &str| Sink {
        text: "fakesink sync=true".to_owned(),
        label: format!("none, only counted ({why})"),
    };
    let alsa = |device: &str, label: String| {
        if !probe.has("alsasink") {
            return counted(&missing_element("alsasink"));
        }
        Sink {
            text: format!(
                "audioconvert ! audioresample ! alsasink device={} latency-time=10000 buffer-time=60000",
                quoted(device)
            ),
            label,
        }
    };
    match &board.speaker.source {
        Source::Off => counted("off, as the board says"),
        Source::Test => counted("test"),
        Source::Pipeline(fragment) => Sink {
            text: format!("audioconvert ! audioresample ! {}", fragment.trim()),
            label: "own pipeline".to_owned(),
        },
        Source::Device(wanted) => match alsa_name(wanted, probe) {
            Some(device) => alsa(&device, device.clone()),
            None => counted("the named card does not exist"),
        },
        Source::Auto => {
            let plays = || probe.sound_cards.iter().filter(|card| card.plays);
            // A card of an HDMI socket plays into nothing when no screen hangs on it.
            match plays().find(|card| !card.is_hdmi()).or_else(|| plays().next()) {
                Some(card) => alsa(&plughw(card), card.name.clone()),
                None => counted("no card plays"),
            }
        }
    }
}
