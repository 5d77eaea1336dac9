//! What a room does to sound: test signals, and what a recording of them says of speaker, microphone and the air
//! between.
//!
//! Pure: numbers only. Samples are 1.0 at full scale, [`RATE`](super::tones::RATE) a second, one channel.

use std::f64::consts::TAU;

use super::tones::RATE;
pub use crate::config::verdict::{Grade, Verdict};

/// Silence is this many decibels below full scale, so that no figure is infinite.
pub const SILENCE_DB: f64 = -120.0;
/// How far behind its playing a sound is looked for, and how far ahead of it (a driver may be wrong about itself).
const LATEST_S: f64 = 0.5;
const EARLIEST_S: f64 = 0.05;
/// Every so many samples one is kept for the first search.
const COARSE: usize = 6;
/// From this level on a sample counts as clipped if its neighbour is there too.
const CLIPPED: f64 = 0.985;

/// A tone that rises from 100 Hz to 8 kHz, evenly by octaves. Ends are faded over 10 ms.
pub fn sweep(seconds: f64, level: f64) -> Vec<f64> {
    let (from, to) = (100.0_f64, 8_000.0_f64);
    let growth = (to / from).ln() / seconds;
    shaped(seconds, |time| level * (TAU * from * ((growth * time).exp() - 1.0) / growth).sin())
}

/// What sounds like speech to a voice processor: syllables of a gliding voice with changing formants, hisses and
/// pauses between. Another seed is another speaker.
pub fn speech(seconds: f64, level: f64, seed: u32) -> Vec<f64> {
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9) | 1);
    let base = 95.0 + 110.0 * chance.next().abs();
    let mut syllable = Syllable::default();
    let (mut phase, mut loudness, mut body, mut pitch) = (0.0, 0.0, 0.0, base);
    let mut left = 0_u32;
    let mut samples = shaped(seconds, |_| {
        if left == 0 {
            // 90 to 260 ms each.
            left = RATE * 9 / 100 + (chance.next().abs() * f64::from(RATE) * 0.17) as u32;
            syllable = Syllable::next(&mut chance, base);
        }
        left -= 1;
        loudness += (syllable.loudness - loudness) * 0.001;
        pitch += (syllable.pitch - pitch) * 0.0003;
        phase = (phase + pitch / f64::from(RATE)).fract();
        // 24 harmonics at most, as loud as the two formants let them be.
        let voice: f64 = (1..=24)
            .map(|n| {
                let hertz = pitch * f64::from(n);
                let near =
                    |formant: f64, width: f64| 1.0 / (1.0 + ((hertz - formant) / width).powi(2));
                let gain = near(syllable.first, 90.0) + 0.5 * near(syllable.second, 140.0);
                gain * (TAU * phase * f64::from(n)).sin()
            })
            .sum();
        let white = chance.next();
        body += (white - body) * 0.5;
        loudness * (voice + syllable.hiss * (white - body))
    });
    let gain = level / rms(&samples).max(1e-9);
    for sample in &mut samples {
        *sample = (*sample * gain).clamp(-0.95, 0.95);
    }
    samples
}

#[derive(Default)]
struct Syllable {
    pitch: f64,
    loudness: f64,
    first: f64,
    second: f64,
    hiss: f64,
}

impl Syllable {
    fn next(chance: &mut Chance, base: f64) -> Self {
        Self {
            pitch: base * (1.0 + 0.25 * chance.next()),
            // One in five is a pause.
            loudness: if chance.next() > 0.6 { 0.0 } else { 0.5 + 0.5 * chance.next().abs() },
            first: 300.0 + 500.0 * chance.next().abs(),
            second: 900.0 + 1_400.0 * chance.next().abs(),
            hiss: 0.02 + if chance.next() > 0.7 { 0.5 } else { 0.0 },
        }
    }
}

fn shaped(seconds: f64, mut wave: impl FnMut(f64) -> f64) -> Vec<f64> {
    let count = (seconds * f64::from(RATE)) as usize;
    let fade = f64::from(RATE) * 0.01;
    let ends = |n: usize| (n as f64 / fade).min((count - n) as f64 / fade).min(1.0);
    (0..count).map(|n| ends(n) * wave(n as f64 / f64::from(RATE))).collect()
}

/// Numbers between -1 and 1 that look like chance and are the same every time (xorshift).
struct Chance(u32);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        f64::from(self.0) / f64::from(u32::MAX) * 2.0 - 1.0
    }
}

/// The effective level, 1.0 at full scale.
pub fn rms(samples: &[f64]) -> f64 {
    (power(samples)).sqrt()
}

fn power(samples: &[f64]) -> f64 {
    samples.iter().map(|sample| sample * sample).sum::<f64>() / (samples.len().max(1) as f64)
}

/// The effective level in decibels below full scale.
pub fn level_db(samples: &[f64]) -> f64 {
    power_db(power(samples))
}

fn power_db(power: f64) -> f64 {
    (10.0 * power.max(1e-12).log10()).max(SILENCE_DB)
}

/// The share of samples that hit the end of the scale, 0 to 1.
pub fn clipped(samples: &[f64]) -> f64 {
    let pairs = samples.windows(2).filter(|pair| pair.iter().all(|sample| sample.abs() >= CLIPPED));
    pairs.count() as f64 / samples.len().max(1) as f64
}

/// Where a sound was found in a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The sample of the recording at which it begins; may lie a little before the recording.
    pub at: i64,
    /// How much what was found looks like the sound, 0 to 1. Below some 0.1 it is not there.
    pub likeness: f64,
    /// How loud it is there against the original, as a factor.
    pub gain: f64,
}

/// Looks for a sound in a recording in which it is expected at sample `expected`, up to half a second late.
pub fn find(sound: &[f64], recording: &[f64], expected: i64) -> Place {
    let rate = f64::from(RATE);
    let range = expected - (EARLIEST_S * rate) as i64..=expected + (LATEST_S * rate) as i64;
    let (thin_sound, thin_recording) = (thin(sound), thin(recording));
    let step = COARSE as i64;
    let coarse = best(&thin_sound, &thin_recording, (range.start() / step)..=(range.end() / step));
    let near = coarse.at * step;
    best(sound, recording, near - 2 * step..=near + 2 * step)
}

/// One sample in six, after smoothing: enough for the first search.
fn thin(samples: &[f64]) -> Vec<f64> {
    let mean = |piece: &[f64]| piece.iter().sum::<f64>() / piece.len() as f64;
    samples.chunks(COARSE).map(mean).collect()
}

fn best(sound: &[f64], recording: &[f64], range: std::ops::RangeInclusive<i64>) -> Place {
    let own: f64 = sound.iter().map(|sample| sample * sample).sum::<f64>().max(1e-12);
    let mut best = Place { at: *range.start(), likeness: 0.0, gain: 0.0 };
    for at in range {
        let (from, skip) = match usize::try_from(at) {
            Ok(from) => (from, 0),
            Err(_) => (0, usize::try_from(-at).unwrap_or(usize::MAX)),
        };
        let there = recording.get(from..).unwrap_or_default();
        let mut product = 0.0;
        let mut heard = 1e-12;
        for (a, b) in sound.iter().skip(skip).zip(there) {
            product += a * b;
            heard += b * b;
        }
        let likeness = product.abs() / (own * heard).sqrt();
        if likeness > best.likeness {
            best = Place { at, likeness, gain: product.abs() / own };
        }
    }
    best
}

/// What was played in the self-test, and when.
#[derive(Debug, Clone)]
pub struct Programme {
    /// All of it.
    pub samples: Vec<f64>,
    /// Where nothing is played before the sweep.
    pub quiet: std::ops::Range<usize>,
    /// The sweep.
    pub sweep: std::ops::Range<usize>,
    /// Speech by which the canceller is judged, after it had time to learn.
    pub judged: std::ops::Range<usize>,
}

/// The self-test's programme, some 8 s: silence, a sweep, silence, speech.
pub fn programme() -> Programme {
    let mut samples = Vec::new();
    let pause = |samples: &mut Vec<f64>, seconds: f64| {
        samples.resize(samples.len() + (seconds * f64::from(RATE)) as usize, 0.0);
    };
    pause(&mut samples, 1.0);
    // Its beginning belongs to the devices, which may click when they open.
    let quiet = samples.len() / 2..samples.len();
    let begin = samples.len();
    samples.extend(sweep(1.0, 0.25));
    let sweep = begin..samples.len();
    pause(&mut samples, 0.6);
    samples.extend(speech(5.0, 0.12, 7));
    let judged = samples.len() - 2 * RATE as usize..samples.len();
    Programme { samples, quiet, sweep, judged }
}

/// What the microphone heard of a [`Programme`].
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// As it came from the microphone.
    pub raw: Vec<f64>,
    /// After the voice processor; empty when there is none.
    pub processed: Vec<f64>,
    /// The sample of both at which the programme should begin if neither air nor drivers took time.
    pub begin: i64,
}

/// What a recording says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Findings {
    /// From the moment a sound should be heard to the moment it is, in ms.
    pub delay_ms: f64,
    /// How much of the recording is the sweep, 0 to 1.
    pub likeness: f64,
    /// How much quieter the speaker comes back than it was played, in dB (echo return loss).
    pub return_loss_db: f64,
    /// Share of samples at the end of the scale, 0 to 1.
    pub clipped: f64,
    /// What is heard while nothing is played, in dB below full scale.
    pub noise_db: f64,
    /// How far the sweep stands out of the noise, in dB.
    pub above_noise_db: f64,
    /// How much quieter the echo is after the canceller, in dB (echo return loss enhancement); `None` without one.
    pub enhancement_db: Option<f64>,
}

/// Works out what a recording of the programme says.
pub fn analyse(programme: &Programme, recording: &Recording) -> Findings {
    let sweep = &programme.samples[programme.sweep.clone()];
    let expected = recording.begin + programme.sweep.start as i64;
    let place = find(sweep, &recording.raw, expected);
    let shift = recording.begin + (place.at - expected);
    let heard = piece(&recording.raw, &programme.sweep, shift);
    // Nothing is played before the sweep, whatever the delay.
    let noise = power(piece(&recording.raw, &programme.quiet, recording.begin));
    let echo = (power(heard) - noise).max(1e-12);
    let judged = |samples: &[f64]| power(piece(samples, &programme.judged, shift));
    Findings {
        delay_ms: (place.at - expected) as f64 * 1000.0 / f64::from(RATE),
        likeness: place.likeness,
        return_loss_db: level_db(sweep) - power_db(echo),
        clipped: clipped(heard),
        noise_db: power_db(noise),
        above_noise_db: power_db(echo) - power_db(noise),
        enhancement_db: (!recording.processed.is_empty())
            .then(|| power_db(judged(&recording.raw)) - power_db(judged(&recording.processed))),
    }
}

/// The part of a recording in which this part of the programme is heard.
fn piece<'a>(samples: &'a [f64], part: &std::ops::Range<usize>, shift: i64) -> &'a [f64] {
    let end = |at: usize| usize::try_from(at as i64 + shift).unwrap_or(0).min(samples.len());
    &samples[end(part.start)..end(part.end)]
}

/// Judges what was found.
pub fn judge(found: &Findings) -> Vec<Verdict> {
    if found.likeness < 0.1 || found.above_noise_db < 3.0 {
        return vec![Verdict::new(
            Grade::Bad,
            format!(
                "the microphone does not hear the speaker (noise {:.0} dB, likeness {:.2})",
                found.noise_db, found.likeness
            ),
            "check that [speaker] and [microphone] name the right cards, that the amplifier is on, and raise \
             [speaker] volume and [microphone] gain",
        )];
    }
    let mut verdicts = vec![Verdict::good(format!(
        "the microphone hears the speaker, {:.0} dB above the noise",
        found.above_noise_db
    ))];
    verdicts.push(if found.clipped > 0.001 {
        let words = format!("the microphone is overdriven: {:.1} % clipped", found.clipped * 100.0);
        Verdict::new(Grade::Bad, words, "lower [microphone] gain, or [speaker] volume")
    } else {
        Verdict::good("nothing is clipped")
    });
    let loss = format!("echo return loss {:.0} dB", found.return_loss_db);
    verdicts.push(match found.return_loss_db {
        loss_db if loss_db < 0.0 => Verdict::new(
            Grade::Fair,
            format!("{loss}: the echo comes back louder than it was played"),
            "lower [microphone] gain or [speaker] volume, or part the two better (foam, another place)",
        ),
        loss_db if loss_db > 45.0 => Verdict::new(
            Grade::Fair,
            format!("{loss}: the speaker is hardly heard"),
            "raise [speaker] volume or [microphone] gain, unless the panel has a canceller of its own",
        ),
        _ => Verdict::good(loss),
    });
    let delay = format!("delay {:.0} ms", found.delay_ms);
    verdicts.push(match found.delay_ms {
        ms if (-20.0..=120.0).contains(&ms) => Verdict::good(delay),
        _ => Verdict::new(
            Grade::Fair,
            format!("{delay}: more than the drivers say, and hard on the echo canceller"),
            "use the card itself (hw: or its id) rather than a sound server",
        ),
    });
    let noise = format!("noise {:.0} dB below full scale", -found.noise_db);
    verdicts.push(match found.noise_db {
        db if db > -35.0 => Verdict::new(
            Grade::Fair,
            noise,
            "lower [microphone] gain; look for a bad ground or a cable beside the mains",
        ),
        _ => Verdict::good(noise),
    });
    if let Some(db) = found.enhancement_db {
        let words = format!("the canceller takes {db:.0} dB off the echo");
        verdicts.push(match db {
            db if db >= 20.0 => Verdict::good(words),
            db => Verdict::new(
                if db >= 10.0 { Grade::Fair } else { Grade::Bad },
                format!("{words}: people will hear themselves"),
                "lower [speaker] volume until nothing rattles or clips, and run this again",
            ),
        });
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The programme as a simple room gives it back: after a delay, through two walls, with noise, clipped.
    fn room(
        delay: usize,
        gain: f64,
        noise: f64,
        processed_gain: Option<f64>,
    ) -> (Programme, Recording) {
        let programme = programme();
        let begin = 4_800;
        let mut chance = Chance(99);
        let at = |n: usize, back: usize| {
            n.checked_sub(back).and_then(|n| programme.samples.get(n)).copied().unwrap_or(0.0)
        };
        let raw: Vec<f64> = (0..programme.samples.len() + begin + 48_000)
            .map(|n| {
                let late = begin + delay;
                let echo = at(n, late) + 0.3 * at(n, late + 311) - 0.2 * at(n, late + 977);
                (gain * echo + noise * chance.next()).clamp(-1.0, 1.0)
            })
            .collect();
        let processed =
            processed_gain.map_or_else(Vec::new, |gain| raw.iter().map(|s| s * gain).collect());
        (programme, Recording { raw, processed, begin: begin as i64 })
    }

    fn findings(delay: usize, gain: f64, noise: f64, processed: Option<f64>) -> Findings {
        let (programme, recording) = room(delay, gain, noise, processed);
        analyse(&programme, &recording)
    }

    fn worst(found: &Findings) -> Grade {
        judge(found).iter().map(|verdict| verdict.grade).max().expect("there is a verdict")
    }

    #[test]
    fn delay_and_loss_of_a_room_are_found() {
        for (delay, gain) in [(0, 0.5), (480, 0.1), (4_803, 0.05), (19_200, 0.3)] {
            let found = findings(delay, gain, 0.001, None);
            let delay_ms = delay as f64 / 48.0;
            assert!((found.delay_ms - delay_ms).abs() < 0.1, "{found:?} {delay_ms}");
            let loss = -20.0 * gain.log10();
            assert!((found.return_loss_db - loss).abs() < 1.5, "{found:?} {loss}");
            assert!(found.likeness > 0.8, "{found:?}");
            assert_eq!(found.clipped, 0.0);
        }
    }

    #[test]
    fn the_sweep_is_found_in_noise_as_loud_as_itself() {
        let found = findings(2_400, 0.02, 0.006, None);
        assert!((found.delay_ms - 50.0).abs() < 0.3, "{found:?}");
        assert!(found.above_noise_db < 3.0 || found.likeness > 0.1, "{found:?}");
    }

    #[test]
    fn a_speaker_that_is_not_heard_is_told_with_a_remedy() {
        let found = findings(0, 0.0, 0.01, None);
        assert!(found.likeness < 0.1, "{found:?}");
        let verdicts = judge(&found);
        assert_eq!(verdicts.len(), 1);
        assert_eq!(verdicts[0].grade, Grade::Bad);
        assert!(verdicts[0].remedy.contains("[speaker] volume"));
    }

    #[test]
    fn an_overdriven_microphone_is_told() {
        let found = findings(480, 8.0, 0.001, None);
        assert!(found.clipped > 0.01, "{found:?}");
        assert_eq!(worst(&found), Grade::Bad);
    }

    #[test]
    fn the_cancellers_part_is_measured_and_judged() {
        for (gain, db, grade) in
            [(0.01, 40.0, Grade::Good), (0.2, 14.0, Grade::Fair), (0.9, 0.9, Grade::Bad)]
        {
            let found = findings(480, 0.2, 0.0001, Some(gain));
            let enhancement = found.enhancement_db.expect("there is one");
            assert!((enhancement - db).abs() < 0.5, "{found:?}");
            assert_eq!(worst(&found), grade, "{found:?}");
        }
    }

    #[test]
    fn noise_is_measured_where_nothing_is_played() {
        let found = findings(9_600, 0.9, 0.1, None);
        // Even chance between -0.1 and 0.1 has 0.1 / sqrt(3).
        assert!((found.noise_db + 24.8).abs() < 0.5, "{found:?}");
        assert_eq!(worst(&found), Grade::Fair);
    }

    #[test]
    fn an_empty_recording_is_survived() {
        let found = analyse(&programme(), &Recording::default());
        assert_eq!(worst(&found), Grade::Bad);
    }
}
