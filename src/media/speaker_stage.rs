//! The speaker's thread: opens the one pipeline while there is something to hear, mixes into it, heals it.
//!
//! Blocks while the card is opened and closed, which is why it is a thread. Which card it is, is decided in
//! `plan_sound.rs`; what is to be heard, by the callers of `playback.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::bell::lock;
use super::hearing::Hearing;
use super::plan_playback::{self, Kind};
use super::plan_sound::{self, SpeakerPlan};
use super::playback::{Inlet, Shared, Track};
use super::rate::pause;
use super::sounding::{Sounding, Wanted};
use super::speaker::{LineSince, Sound};
use super::speaker_line::{SpeakerLine, Strand};
use super::tones::Tone;
use super::{chime, devices, init, volume};
use crate::config::{Board, ChimeSound};

/// How long the thread sleeps when nothing is wanted of it.
const IDLE: Duration = Duration::from_secs(60);
/// How often the open speaker is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A speaker that takes nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(5);
/// After this time of playing, the speaker's failures are forgotten.
const GOOD_AGE: Duration = Duration::from_secs(10);
/// How often a missing card is looked for while something stands in for it.
const SEARCH: Duration = Duration::from_secs(3);
/// So long after its planned end a sound is unplugged, if all of it was heard; a busy machine may be behind.
const SOUND_END: Duration = Duration::from_millis(100);
/// How often it is said that a machine is too slow for its sound.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// How often a speaker that is being opened is looked at by who has a sound for it.
const OPENING: Duration = Duration::from_millis(3);
/// When the tone of ringing is heard first, so that the chime has died away.
const FIRST_RING: Duration = Duration::from_secs(3);
/// From one tone of ringing to the next.
const RING_PERIOD: Duration = Duration::from_secs(4);

/// Where the speaker stands.
#[derive(Debug)]
enum Seat {
    /// Nothing is to be heard; no device is open.
    Closed,
    Open(Box<Open>),
    /// It does not work; it is tried again.
    Resting {
        until: Instant,
        attempt: u32,
    },
}

#[derive(Debug)]
struct Open {
    line: SpeakerLine,
    attempt: u32,
    since: Instant,
    /// How much had left the mixer at the last look that saw more, and when that was.
    seen: (u64, Instant),
    search_at: Instant,
    voices: BTreeMap<u64, Voice>,
    /// The door's own sounds.
    sounds: Vec<Sounding>,
    next_ring: Option<Instant>,
}

/// What the thread does for one remote track.
#[derive(Debug)]
enum Voice {
    Playing(Arc<Track>, Strand, Hearing),
    /// Nothing on this machine can play it.
    Hopeless,
}

/// The thread's own state.
#[derive(Debug)]
pub(super) struct SpeakerStage {
    board: Board,
    shared: Arc<Shared>,
    plan: SpeakerPlan,
    chime: Vec<i16>,
    seat: Seat,
    /// Sounds that nobody heard.
    unheard: Vec<Wanted>,
    /// When it was last said that the machine is too slow.
    said_slow: Option<Instant>,
}

type Tracks = BTreeMap<u64, Arc<Track>>;

impl SpeakerStage {
    /// A stage that does nothing yet.
    pub(super) fn new(board: Board, shared: Arc<Shared>) -> Self {
        let plan = plan_sound::speaker(&board, &super::found::Probe::default());
        Self {
            board,
            shared,
            plan,
            chime: Vec::new(),
            seat: Seat::Closed,
            unheard: Vec::new(),
            said_slow: None,
        }
    }

    /// The thread's whole life: until the playback ends.
    pub(super) fn run(mut self) {
        if let Err(error) = init() {
            self.shared.trouble(error.to_string());
            return;
        }
        // Ahead of the first press: what is found and read now costs no time then.
        self.plan = plan_sound::speaker(&self.board, &devices::sound_probe());
        SpeakerLine::warm_up(&self.plan);
        self.shared.speaker.echo.probe();
        self.chime = self.load_chime();
        self.say(self.plan.label.clone());
        while let Some(tracks) = self.tracks() {
            self.tend(&tracks);
            self.shared.speaker.bell.wait(self.until_next(&tracks));
        }
        self.close();
    }

    fn tracks(&self) -> Option<Tracks> {
        let mut tracks = self.shared.tracks()?;
        tracks.retain(|_, track| track.stream.kind == Kind::Audio);
        Some(tracks)
    }

    fn load_chime(&self) -> Vec<i16> {
        let sounds = &self.board.sounds;
        match &sounds.chime {
            ChimeSound::Off => Vec::new(),
            ChimeSound::DingDong => super::tones::samples(Tone::Chime, sounds.volume),
            ChimeSound::File(path) => match chime::read(path, sounds.volume) {
                Ok(samples) => samples,
                Err(why) => {
                    tracing::warn!(path = %path.display(), why, "the chime's file is no use; playing ding-dong");
                    self.shared.trouble(format!("chime: {}: {why}", path.display()));
                    super::tones::samples(Tone::Chime, sounds.volume)
                }
            },
        }
    }

    fn replan(&mut self) {
        self.plan = plan_sound::speaker(&self.board, &devices::sound_probe());
        self.say(self.plan.label.clone());
    }

    fn say(&self, words: String) {
        lock(&self.shared.words).speaker = words;
    }

    fn is_needed(&self, tracks: &Tracks) -> bool {
        let sounding = matches!(&self.seat, Seat::Open(open) if !open.sounds.is_empty());
        let desk = &self.shared.speaker;
        sounding
            || !self.unheard.is_empty()
            || !tracks.is_empty()
            || desk.has_sound()
            || desk.line() != LineSince::Idle
    }

    fn ringing(&self) -> Option<Instant> {
        match self.shared.speaker.line() {
            LineSince::Ringing(since) if self.board.sounds.ringback => Some(since),
            LineSince::Ringing(_) | LineSince::Open | LineSince::Idle => None,
        }
    }

    /// One round of work.
    fn tend(&mut self, tracks: &Tracks) {
        self.look();
        self.end_sounds();
        self.forget_unheard();
        match (&self.seat, self.is_needed(tracks)) {
            (Seat::Closed, true) => {
                // A card that was missing may be there by now.
                if self.plan.stands_in {
                    self.replan();
                }
                self.open(0);
            }
            (Seat::Resting { until, attempt }, true) if *until <= Instant::now() => {
                let attempt = *attempt;
                self.replan();
                self.open(attempt);
            }
            (Seat::Open(_) | Seat::Resting { .. }, false) => self.close(),
            _ => {}
        }
        self.keep_voices(tracks);
        self.begin_sounds();
    }

    fn open(&mut self, attempt: u32) {
        let words = volume::of_speaker(&self.board, &self.plan).unwrap_or_default();
        let desk = &self.shared.speaker;
        let made = SpeakerLine::open(&self.plan, desk, desk.echo.probe());
        match made {
            Err(why) => self.rest(attempt, &why),
            Ok(line) => {
                desk.counts.opened.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(sink = self.plan.label, words, "the speaker is open");
                self.say(match words {
                    words if words.is_empty() => self.plan.label.clone(),
                    words => format!("{} ({words})", self.plan.label),
                });
                let now = Instant::now();
                self.seat = Seat::Open(Box::new(Open {
                    line,
                    attempt,
                    since: now,
                    seen: (0, now),
                    search_at: now + SEARCH,
                    voices: BTreeMap::new(),
                    sounds: Vec::new(),
                    next_ring: None,
                }));
            }
        }
    }

    /// Looks whether the speaker still plays.
    fn look(&mut self) {
        let Seat::Open(open) = &mut self.seat else { return };
        let now = Instant::now();
        let mixed = self.shared.speaker.counts.mixed.load(Ordering::Relaxed);
        if mixed != open.seen.0 {
            open.seen = (mixed, now);
        }
        if now.saturating_duration_since(open.since) >= GOOD_AGE {
            open.attempt = 0;
        }
        let attempt = open.attempt;
        if let Some(words) = open.line.read_bus() {
            return self.fail(attempt, &words);
        }
        if open.line.is_playing() {
            open.line.keep_up();
        }
        if open.line.is_lost() {
            let words = "the machine is too slow for its sound; what waited was left out";
            if self.said_slow.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
                self.said_slow = Some(now);
                tracing::warn!("{words}");
            }
            self.shared.trouble(words.to_owned());
            let sounds = std::mem::take(&mut open.sounds);
            self.unheard.extend(sounds.into_iter().filter_map(Sounding::unheard));
            // It is opened again at once, if there is anything for it.
            return self.take_down();
        }
        if now.saturating_duration_since(open.seen.1) >= PATIENCE {
            let words = format!("the speaker takes nothing for {} s", PATIENCE.as_secs());
            return self.fail(attempt, &words);
        }
        if self.plan.stands_in && open.search_at <= now {
            open.search_at = now + SEARCH;
            let found = plan_sound::speaker(&self.board, &devices::sound_probe());
            if !found.stands_in {
                tracing::info!(speaker = found.label, "the speaker is there");
                self.plan = found;
                self.take_down();
                self.open(0);
            }
        }
    }

    fn fail(&mut self, attempt: u32, words: &str) {
        self.take_down();
        self.rest(attempt, words);
    }

    fn rest(&mut self, attempt: u32, words: &str) {
        let pause = pause(attempt);
        match attempt {
            0 => tracing::warn!(words, ?pause, "the speaker does not play; trying again"),
            _ => tracing::debug!(words, ?pause, attempt, "the speaker still does not play"),
        }
        self.shared.trouble(words.to_owned());
        self.say(format!("{}: not playing ({words})", self.plan.label));
        let until = Instant::now() + pause;
        self.seat = Seat::Resting { until, attempt: attempt.saturating_add(1) };
    }

    fn close(&mut self) {
        self.take_down();
        // Who presses next is not to wait out a pause, nor to be told of an old failure, nor to hear nothing because a
        // better card came late.
        self.seat = Seat::Closed;
        self.unheard.clear();
        self.replan();
    }

    fn take_down(&mut self) {
        let Seat::Open(open) = std::mem::replace(&mut self.seat, Seat::Closed) else { return };
        for voice in open.voices.values() {
            if let Voice::Playing(track, ..) = voice {
                track.close_inlet_for_now();
            }
        }
        open.line.close();
        if self.shared.tracks().is_none() {
            for voice in open.voices.into_values() {
                if let Voice::Playing(track, ..) = voice {
                    track.set_inlet(Inlet::Closed);
                }
            }
        }
    }

    /// Makes what is mixed be what is wanted.
    fn keep_voices(&mut self, tracks: &Tracks) {
        let Seat::Open(open) = &mut self.seat else { return };
        let now = Instant::now();
        open.voices.retain(|id, voice| {
            let is_wanted = tracks.contains_key(id);
            let Voice::Playing(track, strand, hearing) = voice else { return is_wanted };
            let is_mute = hearing.is_mute(now, track.fed.load(Ordering::Relaxed));
            if is_wanted && !is_mute {
                return true;
            }
            if is_wanted {
                tracing::debug!("nothing is heard of a voice that comes; it is begun anew");
                track.close_inlet_for_now();
            }
            open.line.remove(strand);
            false
        });
        for (id, track) in tracks {
            if open.voices.contains_key(id) {
                continue;
            }
            let planned = plan_playback::playback(
                &track.stream,
                &self.board,
                &devices::sound_probe(),
                &BTreeSet::new(),
            );
            let hearing = Hearing::new(track.fed.load(Ordering::Relaxed));
            let counts = [Arc::clone(&self.shared.audio_buffers), hearing.count()];
            let added = planned.and_then(|plan| {
                open.line.add_voice(&plan.text, &counts).inspect(|_| {
                    tracing::debug!(decoder = plan.decoder, "playing a remote voice");
                })
            });
            let voice = match added {
                Ok((strand, source)) => {
                    self.shared.branches_built.fetch_add(1, Ordering::Relaxed);
                    track.open_inlet(source);
                    Voice::Playing(Arc::clone(track), strand, hearing)
                }
                Err(words) => {
                    tracing::warn!(words, "a remote voice cannot be played");
                    self.shared.trouble(words);
                    Voice::Hopeless
                }
            };
            open.voices.insert(*id, voice);
        }
    }

    fn begin_sounds(&mut self) {
        let now = Instant::now();
        let ringing = self.ringing();
        let Seat::Open(open) = &mut self.seat else { return };
        let desk = &self.shared.speaker;
        let is_playing = open.line.is_playing();
        let mut due: Vec<Wanted> = match is_playing {
            true => std::iter::from_fn(|| desk.take_sound()).map(Wanted::new).collect(),
            false => Vec::new(),
        };
        if is_playing && !open.line.is_mute() {
            for wanted in self.unheard.drain(..) {
                if due.iter().all(|one| one.sound != wanted.sound) {
                    due.push(wanted);
                }
            }
        }
        match (ringing, open.next_ring) {
            (None, _) => {
                open.next_ring = None;
                // Over it, the first words would not be understood.
                let line = &open.line;
                open.sounds.retain(|sound| {
                    if sound.rings() {
                        line.remove(&sound.strand);
                    }
                    !sound.rings()
                });
            }
            (Some(since), None) => open.next_ring = Some((since + FIRST_RING).max(now)),
            // Over the chime, or before anything is heard, it would be none.
            (Some(_), Some(at)) if at <= now && !(is_playing && open.sounds.is_empty()) => {
                open.next_ring = Some(now + SOUND_END);
            }
            (Some(_), Some(at)) if at <= now => {
                due.push(Wanted::new(Sound::Tone(Tone::RingBack)));
                open.next_ring = Some(now + RING_PERIOD);
            }
            (Some(_), Some(_)) => {}
        }
        for what in due {
            let sound = &what.sound;
            let volume = self.board.sounds.volume;
            let samples = match sound {
                Sound::Tone(Tone::Chime) => self.chime.clone(),
                Sound::Tone(tone @ (Tone::RingBack | Tone::Sorry)) => {
                    super::tones::samples(*tone, volume)
                }
                Sound::File(path) => chime::read(path, volume).unwrap_or_else(|why| {
                    tracing::warn!(path = %path.display(), why, "a recorded message is no use; playing the tone");
                    super::tones::samples(Tone::Sorry, volume)
                }),
            };
            if samples.is_empty() {
                continue;
            }
            let length = super::tones::duration(samples.len());
            match open.line.add_sound(samples) {
                Ok(strand) => {
                    self.shared.speaker.counts.sounds.fetch_add(1, Ordering::Relaxed);
                    let delay = Duration::from_nanos(open.line.delay().nseconds());
                    let until = now + length + delay + SOUND_END;
                    open.sounds.push(Sounding { strand, what, until });
                }
                Err(words) => {
                    tracing::warn!(words, ?sound, "a sound is not played");
                    self.shared.trouble(words);
                }
            }
        }
    }

    /// What is too old says nothing any more, and in a talk it would not let the first words be understood.
    fn forget_unheard(&mut self) {
        let talks = self.shared.speaker.line() == LineSince::Open;
        self.unheard.retain(|wanted| !talks && !wanted.is_too_old());
    }

    fn end_sounds(&mut self) {
        let now = Instant::now();
        let Seat::Open(open) = &mut self.seat else { return };
        let line = &open.line;
        let ended = |sound: &mut Sounding| {
            if sound.until > now {
                return false;
            }
            if !line.has_played(&sound.strand) {
                sound.until = now + SOUND_END;
                return false;
            }
            line.remove(&sound.strand);
            true
        };
        // What is mixed too late was for nobody.
        let for_nobody = line.is_mute();
        let ended = open.sounds.extract_if(.., ended).filter(|_| for_nobody);
        self.unheard.extend(ended.filter_map(Sounding::unheard));
    }

    fn until_next(&self, tracks: &Tracks) -> Duration {
        let now = Instant::now();
        let next = match &self.seat {
            Seat::Closed => now + IDLE,
            Seat::Resting { until, .. } if self.is_needed(tracks) => *until,
            Seat::Resting { .. } => now,
            Seat::Open(open) => {
                let ends = open.sounds.iter().map(|sound| sound.until);
                let waits = self.shared.speaker.has_sound().then(|| now + OPENING);
                ends.chain(open.next_ring).chain(waits).fold(now + LOOK, Instant::min)
            }
        };
        next.saturating_duration_since(now)
    }
}
