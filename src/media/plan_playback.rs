//! What remote tracks are played with: board settings and what was found become pipeline text.
//!
//! Pure: looks at nothing itself and builds nothing; `playback.rs` does the building.

use super::found::{Probe, Screen, missing_element, quoted};
use super::plan_sound;
use crate::config::{Board, Source};

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
    /// Pipeline text from an appsrc called `in` to the sink; an element called `shown` stands before the sink.
    pub text: String,
    /// The decoder's element name.
    pub decoder: String,
    /// The sink in words.
    pub sink: String,
}

/// How long the jitter buffer holds sound back, in ms: three packets. All of it is heard as delay.
const SOUND_JITTER_MS: u32 = 60;
/// How long the jitter buffer waits for a missing packet of a picture, in ms: time for one retransmission.
/// Packets in order pass at once, and as the sinks show pictures as they come, this is no delay. It is also what
/// fits in while the branch is being built; were it less, the first keyframe would be dropped.
const PICTURE_JITTER_MS: u32 = 300;

/// Where a remote picture goes.
pub fn display(board: &Board, probe: &Probe) -> Sink {
    let counted = |why: &str| Sink {
        text: match probe.has("fakevideosink") {
            true => "fakevideosink sync=false".to_owned(),
            false => "fakesink sync=false".to_owned(),
        },
        label: format!("none, only counted ({why})"),
    };
    let window = || Sink {
        text: "videoconvert ! videoscale ! autovideosink sync=false".to_owned(),
        label: "window".to_owned(),
    };
    let screen = |screen: &Screen| Sink {
        text: match screen.id {
            Some(id) => format!("videoconvert ! videoscale ! kmssink sync=false connector-id={id}"),
            None => "videoconvert ! videoscale ! kmssink sync=false".to_owned(),
        },
        label: format!("screen on {}", screen.connector),
    };
    let windows = probe.windows && probe.has("autovideosink");
    match &board.display.source {
        Source::Off => counted("off, as the board says"),
        Source::Pipeline(fragment) => Sink {
            text: format!("videoconvert ! {}", fragment.trim()),
            label: "own pipeline".to_owned(),
        },
        Source::Test | Source::Auto if windows => window(),
        Source::Test => counted("no window system"),
        Source::Auto => match probe.screens.iter().find(|screen| screen.connected) {
            Some(found) if probe.has("kmssink") => screen(found),
            Some(_) => counted("no kmssink element for the screen"),
            None => counted("no screen is connected"),
        },
        Source::Device(wanted) if wanted.starts_with("/dev/fb") && probe.has("fbdevsink") => Sink {
            text: format!(
                "videoconvert ! videoscale ! fbdevsink sync=false device={}",
                quoted(wanted)
            ),
            label: wanted.clone(),
        },
        Source::Device(wanted) => match probe.screens.iter().find(|s| s.connector == *wanted) {
            Some(found) if probe.has("kmssink") => screen(found),
            Some(_) => counted("no kmssink element for the screen"),
            None => counted("the named connector does not exist"),
        },
    }
}

/// Plans the playing of one remote track.
///
/// # Errors
/// A sentence saying what cannot be decoded and what to install.
pub fn playback(stream: &RemoteStream, board: &Board, probe: &Probe) -> Result<Branch, String> {
    let encoding = stream.encoding.to_ascii_uppercase();
    let (media, depay, decoders): (_, _, &[(&str, &str)]) = match (stream.kind, encoding.as_str()) {
        (Kind::Video, "H264") => (
            "video",
            "rtph264depay request-keyframe=true wait-for-keyframe=true \
             ! video/x-h264,stream-format=byte-stream,alignment=au",
            // Frame threads would add the delay of a picture each.
            &[("avdec_h264", " thread-type=slice"), ("openh264dec", "")],
        ),
        (Kind::Video, "VP8") => {
            ("video", "rtpvp8depay request-keyframe=true wait-for-keyframe=true", &[("vp8dec", "")])
        }
        // No in-band error correction: with it opusdec holds back 120 ms, whatever the length of the packets.
        (Kind::Audio, "OPUS") => ("audio", "rtpopusdepay", &[("opusdec", " plc=true")]),
        _ => return Err("this door plays H.264 and VP8 pictures and Opus sound only".to_owned()),
    };
    let Some((decoder, options)) = decoders.iter().find(|(name, _)| probe.has(name)) else {
        let names: Vec<&str> = decoders.iter().map(|(name, _)| *name).collect();
        return Err(missing_element(&names.join(" or ")));
    };
    let (sink, jitter, asks, tail) = match stream.kind {
        Kind::Video => (
            display(board, probe),
            format!("latency={PICTURE_JITTER_MS}"),
            " automatic-request-sync-points=true",
            format!(
                "queue leaky=downstream max-size-buffers={} max-size-bytes=0 max-size-time=0",
                match board.display.source {
                    // It may show pictures by the clock, so it needs room for what the jitter buffer allows.
                    Source::Pipeline(_) => 12,
                    _ => 2,
                }
            ),
        ),
        Kind::Audio => (
            // The mixer of `speaker.rs` plays it.
            Sink { text: plan_sound::TO_MIXER.to_owned(), label: "the mixer".to_owned() },
            // Only told of a loss can the decoder fill it in.
            format!("latency={SOUND_JITTER_MS} do-lost=true"),
            "",
            // Room for the jitter buffer's and the sound card's delay; less would drop what is on time.
            "queue leaky=downstream max-size-buffers=0 max-size-bytes=0 max-size-time=250000000"
                .to_owned(),
        ),
    };
    let text = format!(
        "appsrc name=in is-live=true do-timestamp=true format=time block=false max-bytes=0 max-time=0 \
         max-buffers=256 leaky-type=downstream caps=\"application/x-rtp,media=(string){media},\
         clock-rate=(int){},encoding-name=(string){encoding},payload=(int){}\" \
         ! rtpjitterbuffer {jitter} faststart-min-packets=1 drop-on-latency=true ! {depay} \
         ! {decoder} max-errors=-1{asks}{options} ! {tail} ! identity name=shown silent=true ! {}",
        stream.clock_rate, stream.payload_type, sink.text
    );
    Ok(Branch { text, decoder: (*decoder).to_owned(), sink: sink.label })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::found::{ELEMENTS, SoundCard};
    use crate::media::plan_sound::speaker;

    fn machine() -> Probe {
        Probe {
            elements: ELEMENTS.iter().map(|name| (*name).to_owned()).collect(),
            ..Probe::default()
        }
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
        SoundCard { id: id.to_owned(), name: format!("Card {id}"), records: false, plays: true }
    }

    #[test]
    fn without_display_and_card_everything_is_only_counted() {
        let auto = board(Source::Auto);
        assert_eq!(display(&auto, &machine()).text, "fakevideosink sync=false");
        assert_eq!(speaker(&auto, &machine()).text, "fakesink sync=true");
        let mut bare = machine();
        bare.elements.remove("fakevideosink");
        assert_eq!(display(&auto, &bare).text, "fakesink sync=false");
    }

    #[test]
    fn a_window_goes_before_a_screen_and_off_before_both() {
        let mut probe = machine();
        probe.screens = vec![
            Screen { connector: "HDMI-A-1".to_owned(), connected: false, id: Some(32) },
            Screen { connector: "DSI-1".to_owned(), connected: true, id: Some(45) },
        ];
        assert!(
            display(&board(Source::Auto), &probe)
                .text
                .ends_with("kmssink sync=false connector-id=45")
        );
        assert!(display(&board(Source::Test), &probe).text.starts_with("fake"));
        let named = board(Source::Device("HDMI-A-1".to_owned()));
        assert!(display(&named, &probe).text.ends_with("connector-id=32"));
        probe.windows = true;
        assert_eq!(display(&board(Source::Auto), &probe).label, "window");
        assert_eq!(display(&board(Source::Test), &probe).label, "window");
        assert!(display(&board(Source::Off), &probe).text.starts_with("fake"));
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
        assert_eq!(display(&own, &machine()).text, "videoconvert ! fakesink name=mine");
        assert_eq!(
            speaker(&own, &machine()).text,
            "audioconvert ! audioresample ! fakesink name=mine"
        );
    }

    #[test]
    fn decoders_fall_back_and_unknown_encodings_are_refused() {
        let off = board(Source::Off);
        let mut probe = machine();
        let decoder = |probe: &Probe, kind, encoding| {
            playback(&stream(kind, encoding), &off, probe).map(|branch| branch.decoder)
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
}
