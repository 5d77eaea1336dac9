//! What remote tracks are played with: board settings and what was found become pipeline text.
//!
//! Pure: looks at nothing itself and builds nothing; `playback.rs` does the building.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::found::{Probe, missing_element};
use super::jitter::JITTER;
use super::plan_display::{self, Surface};
use super::plan_sound;
use crate::config::Board;

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

/// What a remote track carries, as its description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteStream {
    /// Audio or video.
    pub kind: Kind,
    /// The encoding's name: `H264`, `VP8` or `OPUS`, in any case.
    pub encoding: String,
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// RTP clock in Hz.
    pub clock_rate: u32,
}

/// Where something decoded goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Pipeline text behind the decoder.
    pub text: String,
    /// The sink in words.
    pub label: String,
}

/// What one remote track is played with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Pipeline text from an appsrc called `in` to the sink; an element called `shown` stands before the
    /// sink.
    pub text: String,
    /// The decoder's element name.
    pub decoder: String,
    /// The sink in words; empty when the screen tells them.
    pub sink: String,
}

/// The decoder's name in a branch.
pub(super) const DECODER: &str = "track-decoder";
/// The name of the sink whose pictures go to the screen.
pub(super) const TO_SCREEN: &str = "to-screen";

/// How long the jitter buffer holds sound back, in ms: three packets. All of it is heard as delay.
const SOUND_JITTER_MS: u32 = 60;
/// How much of a voice may wait for the mixer: the jitter buffer's and the sound card's delay, and as much as a slow machine is let
/// be behind (`behind.rs`). Less would leave out what is on time; more is no delay, as the mixer takes each piece at its time.
const VOICE_ROOM: Duration = Duration::from_millis(1500);
/// How long the jitter buffer waits for a missing packet of a picture, in ms: time for one retransmission.
/// Packets in order pass at once, and as the sinks show pictures as they come, this is no delay. It is also what
/// fits in while the branch is being built; were it less, the first keyframe would be dropped.
const PICTURE_JITTER_MS: u32 = 300;
/// A gap of more pictures than this, in ms, is a hole: what is missing will not come, and the jitter buffer begins
/// anew instead of waiting for it.
const PICTURE_HOLE_MS: u32 = 600;

/// Decoders of H.264 in hardware, in the order in which they are tried: those that need no firmware of their own
/// first.
const HARDWARE: [&str; 2] = ["v4l2slh264dec", "v4l2h264dec"];
/// Decoders of H.264 in software. Frame threads would add the delay of a picture each.
const SOFTWARE: [(&str, &str); 2] = [("avdec_h264", " thread-type=slice"), ("openh264dec", "")];

/// Whether phones should rather send H.264: whether this machine has a decoder for it in hardware.
pub fn prefers_h264(probe: &Probe) -> bool {
    probe.has("h264parse") && HARDWARE.iter().any(|name| probe.has(name))
}

/// Whether a decoder is a piece of hardware, with moods of its own.
pub fn is_hardware(decoder: &str) -> bool {
    HARDWARE.contains(&decoder)
}

/// Which decoders failed on this machine. Within a call none is asked twice; the next call begins with the best
/// again, as a device may only have been busy, unless it failed too often.
#[derive(Debug, Default)]
pub struct Grudges {
    failures: BTreeMap<String, u32>,
    this_call: BTreeSet<String>,
}

/// After so many failures without a success a decoder is not tried first any more.
const TOO_OFTEN: u32 = 3;

impl Grudges {
    /// This decoder failed. Returns whether that is new in this call.
    pub fn blame(&mut self, decoder: &str) -> bool {
        *self.failures.entry(decoder.to_owned()).or_default() += 1;
        self.this_call.insert(decoder.to_owned())
    }

    /// This decoder has worked for a while.
    pub fn proved(&mut self, decoder: &str) {
        self.failures.remove(decoder);
    }

    /// No picture is wanted any more.
    pub fn call_is_over(&mut self) {
        self.this_call.clear();
    }

    /// Those to be tried last now.
    pub fn broken(&self) -> BTreeSet<String> {
        let often = self.failures.iter().filter(|(_, times)| **times >= TOO_OFTEN);
        often.map(|(name, _)| name.clone()).chain(self.this_call.iter().cloned()).collect()
    }
}

/// The decoder of H.264 and what stands before and behind its name; `None` when there is none. Those in `broken`
/// come last, and of the hardware not at all while software can do it.
fn h264_decoder(
    probe: &Probe,
    broken: &BTreeSet<String>,
) -> Option<(&'static str, &'static str, &'static str)> {
    // Drivers want to be told size, profile and level before the first picture.
    let hardware = HARDWARE
        .iter()
        .filter(|name| probe.has("h264parse") && probe.has(name))
        .map(|name| (*name, "h264parse disable-passthrough=true ! ", ""));
    let software = SOFTWARE
        .iter()
        .filter(|(name, _)| probe.has(name))
        .map(|(name, options)| (*name, "", *options));
    let mut all: Vec<_> = hardware.chain(software).collect();
    all.sort_by_key(|(name, _, _)| broken.contains(*name));
    all.first().copied()
}

/// Plans the playing of one remote track.
///
/// Decoders in `broken` failed on this machine before and come last.
///
/// # Errors
/// A sentence saying what cannot be decoded and what to install.
pub fn playback(
    stream: &RemoteStream,
    board: &Board,
    probe: &Probe,
    broken: &BTreeSet<String>,
) -> Result<Branch, String> {
    let encoding = stream.encoding.to_ascii_uppercase();
    let only = |name: &'static str, options: &'static str| {
        probe.has(name).then_some((name, "", options)).ok_or_else(|| missing_element(name))
    };
    let (media, depay, (decoder, before, options)) = match (stream.kind, encoding.as_str()) {
        (Kind::Video, "H264") => (
            "video",
            "rtph264depay request-keyframe=true wait-for-keyframe=true \
             ! video/x-h264,stream-format=byte-stream,alignment=au",
            h264_decoder(probe, broken)
                .ok_or_else(|| missing_element(&SOFTWARE.map(|(name, _)| name).join(" or ")))?,
        ),
        (Kind::Video, "VP8") => (
            "video",
            "rtpvp8depay request-keyframe=true wait-for-keyframe=true",
            only("vp8dec", "")?,
        ),
        // No in-band error correction: with it opusdec holds back 120 ms, whatever the length of the packets.
        (Kind::Audio, "OPUS") => ("audio", "rtpopusdepay", only("opusdec", " plc=true")?),
        _ => return Err("this door plays H.264 and VP8 pictures and Opus sound only".to_owned()),
    };
    let (sink, jitter, asks, tail) = match stream.kind {
        Kind::Video => {
            let (sink, room) = pictures_to(board, probe);
            (
                sink,
                format!("latency={PICTURE_JITTER_MS} max-dropout-time={PICTURE_HOLE_MS}"),
                " automatic-request-sync-points=true",
                format!(
                    "queue leaky=downstream max-size-buffers={room} max-size-bytes=0 max-size-time=0"
                ),
            )
        }
        Kind::Audio => (
            // The mixer of `speaker.rs` plays it.
            Sink { text: plan_sound::TO_MIXER.to_owned(), label: "the mixer".to_owned() },
            // Only told of a loss can the decoder fill it in.
            format!("latency={SOUND_JITTER_MS} do-lost=true"),
            "",
            format!(
                "queue leaky=downstream max-size-buffers=0 max-size-bytes=0 max-size-time={}",
                VOICE_ROOM.as_nanos()
            ),
        ),
    };
    let text = format!(
        "appsrc name=in is-live=true do-timestamp=true format=time block=false max-bytes=0 max-time=0 \
         max-buffers=256 leaky-type=downstream caps=\"application/x-rtp,media=(string){media},\
         clock-rate=(int){},encoding-name=(string){encoding},payload=(int){}\" \
         ! rtpjitterbuffer name={JITTER} {jitter} faststart-min-packets=1 drop-on-latency=true ! {depay} \
         ! {before}{decoder} name={DECODER} max-errors=-1{asks}{options} ! {tail} \
         ! identity name=shown silent=true ! {}",
        stream.clock_rate, stream.payload_type, sink.text
    );
    Ok(Branch { text, decoder: decoder.to_owned(), sink: sink.label })
}

/// Where pictures go, and how many of them may wait on the way there.
fn pictures_to(board: &Board, probe: &Probe) -> (Sink, u32) {
    match plan_display::surface(&board.display, probe) {
        Surface::Counted(sink) => (sink, 2),
        // It may show pictures by the clock, so it needs room for what the jitter buffer allows.
        Surface::Direct(sink) => (sink, 12),
        Surface::Screen(_) => {
            let text = format!(
                "appsink name={TO_SCREEN} sync=false max-buffers=1 drop=true enable-last-sample=false"
            );
            (Sink { text, label: String::new() }, 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::media::found::{ELEMENTS, SoundCard};
    use crate::media::plan_sound::speaker;

    fn machine() -> Probe {
        Probe::with_elements(ELEMENTS)
    }

    fn board(source: Source) -> Board {
        let mut board =
            crate::config::built_in_board("sim").expect("the simulated board is built in");
        board.display.source = source.clone();
        board.speaker.source = source;
        board
    }

    fn stream(kind: Kind, encoding: &str) -> RemoteStream {
        RemoteStream { kind, encoding: encoding.to_owned(), payload_type: 102, clock_rate: 90_000 }
    }

    fn card(id: &str) -> SoundCard {
        SoundCard {
            id: id.to_owned(),
            name: format!("Card {id}"),
            plays: true,
            ..SoundCard::default()
        }
    }

    #[test]
    fn without_a_card_sound_is_only_counted() {
        assert_eq!(speaker(&board(Source::Auto), &machine()).text, "fakesink sync=true");
    }

    #[test]
    fn the_speaker_is_rather_not_an_hdmi_socket() {
        let mut probe = machine();
        probe.sound_cards = vec![card("vc4hdmi0")];
        assert!(speaker(&board(Source::Auto), &probe).text.contains("CARD=vc4hdmi0"));
        probe.sound_cards.push(card("Headphones"));
        assert!(speaker(&board(Source::Auto), &probe).text.contains("CARD=Headphones"));
        let gone = speaker(&board(Source::Device("panel".to_owned())), &probe);
        assert!(gone.label.contains("does not exist"));
    }

    #[test]
    fn own_sinks_get_converted_input() {
        let own = board(Source::Pipeline("fakesink name=mine".to_owned()));
        assert_eq!(
            speaker(&own, &machine()).text,
            "audioconvert ! audioresample ! fakesink name=mine"
        );
    }

    #[test]
    fn decoders_fall_back_and_unknown_encodings_are_refused() {
        let off = board(Source::Off);
        let mut probe = software();
        let none = BTreeSet::new();
        let decoder = |probe: &Probe, kind, encoding| {
            playback(&stream(kind, encoding), &off, probe, &none).map(|branch| branch.decoder)
        };
        assert_eq!(decoder(&probe, Kind::Video, "h264").as_deref(), Ok("avdec_h264"));
        assert_eq!(decoder(&probe, Kind::Video, "VP8").as_deref(), Ok("vp8dec"));
        assert_eq!(decoder(&probe, Kind::Audio, "opus").as_deref(), Ok("opusdec"));
        probe.elements.remove("avdec_h264");
        assert_eq!(decoder(&probe, Kind::Video, "H264").as_deref(), Ok("openh264dec"));
        probe.elements.remove("openh264dec");
        assert!(decoder(&probe, Kind::Video, "H264").is_err_and(|why| why.contains("install")));
        assert!(decoder(&probe, Kind::Video, "VP8\" ! filesink location=\"/tmp/x").is_err());
        assert!(decoder(&probe, Kind::Audio, "H264").is_err());
    }

    /// A machine without decoders in hardware.
    fn software() -> Probe {
        let mut probe = machine();
        HARDWARE.iter().for_each(|name| {
            probe.elements.remove(*name);
        });
        probe
    }

    #[test]
    fn a_decoder_in_hardware_goes_first_until_it_failed() {
        let off = board(Source::Off);
        let mut probe = machine();
        let decoder = |probe: &Probe, broken: &[&str]| {
            let broken = broken.iter().map(|name| (*name).to_owned()).collect();
            playback(&stream(Kind::Video, "H264"), &off, probe, &broken)
        };
        let first = decoder(&probe, &[]).expect("a plan");
        assert_eq!(first.decoder, "v4l2slh264dec");
        let [parser, hardware] = ["h264parse", "v4l2slh264dec name=track-decoder"]
            .map(|part| first.text.find(part).unwrap_or_else(|| panic!("{part}: {}", first.text)));
        assert!(parser < hardware, "drivers want parsed input: {}", first.text);
        let name = |probe: &Probe, broken: &[&str]| decoder(probe, broken).map(|plan| plan.decoder);
        assert_eq!(name(&probe, &["v4l2slh264dec"]).as_deref(), Ok("v4l2h264dec"));
        assert_eq!(name(&probe, &HARDWARE).as_deref(), Ok("avdec_h264"));
        probe.elements.remove("avdec_h264");
        probe.elements.remove("openh264dec");
        assert_eq!(name(&probe, &HARDWARE).as_deref(), Ok("v4l2slh264dec"), "better than nothing");
        probe.elements.remove("h264parse");
        assert!(name(&probe, &[]).is_err(), "none without a parser");
    }

    #[test]
    fn a_decoder_that_failed_gets_another_chance_in_the_next_call_but_not_for_ever() {
        let mut grudges = Grudges::default();
        let v4l2 = BTreeSet::from(["v4l2h264dec".to_owned()]);
        for _ in 0..2 {
            assert!(grudges.blame("v4l2h264dec"));
            assert!(!grudges.blame("v4l2h264dec"), "no news within a call");
            assert_eq!(grudges.broken(), v4l2);
            grudges.proved("v4l2h264dec");
            grudges.call_is_over();
            assert!(grudges.broken().is_empty(), "worked in between");
        }
        for _ in 0..TOO_OFTEN {
            assert!(grudges.broken().is_empty());
            grudges.blame("v4l2h264dec");
            grudges.call_is_over();
        }
        assert_eq!(grudges.broken(), v4l2);
    }

    #[test]
    fn h264_is_preferred_where_hardware_decodes_it() {
        assert!(prefers_h264(&machine()));
        assert!(!prefers_h264(&software()));
        assert!(is_hardware("v4l2h264dec") && !is_hardware("avdec_h264"));
    }

    #[test]
    fn pictures_go_to_the_screen_where_there_is_one_and_else_as_ever() {
        let mut probe = machine();
        let plan = |source: Source, probe: &Probe| {
            playback(&stream(Kind::Video, "VP8"), &board(source), probe, &BTreeSet::new())
                .expect("a plan")
        };
        assert!(plan(Source::Auto, &probe).text.ends_with("! fakevideosink sync=false"));
        let mut own = board(Source::Pipeline("fakesink".to_owned()));
        own.display.slates = false;
        let branch = playback(&stream(Kind::Video, "VP8"), &own, &probe, &BTreeSet::new());
        assert!(branch.expect("a plan").text.ends_with(
            "max-size-buffers=12 max-size-bytes=0 max-size-time=0 \
             ! identity name=shown silent=true ! videoconvert ! fakesink"
        ));
        probe.windows = true;
        assert!(plan(Source::Auto, &probe).text.contains("appsink name=to-screen"));
    }
}
