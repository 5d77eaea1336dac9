//! The door's own sounds, worked out sample by sample: the chime, the tone while it rings inside, the sorry.
//!
//! Pure: numbers only. `speaker.rs` plays them.

use std::f64::consts::TAU;
use std::time::Duration;

/// Samples a second of everything the speaker pipeline mixes.
pub const RATE: u32 = 48_000;

/// A sound of the door itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// The button was pressed.
    Chime,
    /// It rings inside.
    RingBack,
    /// Nobody came, or nobody can be reached.
    Sorry,
}

/// One note: when it begins, how high, how loud, how long.
struct Note {
    at: f64,
    hertz: f64,
    level: f64,
    length: f64,
    shape: Shape,
}

#[derive(Clone, Copy)]
enum Shape {
    /// Struck: dies away, with two overtones.
    Bell,
    /// Held: even, with soft ends.
    Held,
}

/// Ends are faded over this time, in seconds; shorter would click.
const FADE: f64 = 0.008;

/// The sound at this loudness (per cent of full scale), mono, 16 bit, [`RATE`] samples a second.
pub fn samples(tone: Tone, percent: u8) -> Vec<i16> {
    let bell = |at, hertz, length| Note { at, hertz, level: 1.0, length, shape: Shape::Bell };
    let held = |at, hertz, level, length| Note { at, hertz, level, length, shape: Shape::Held };
    let notes = match tone {
        Tone::Chime => vec![bell(0.0, 659.26, 1.1), bell(0.55, 523.25, 1.3)],
        // Quiet: it goes on for as long as it rings, and the visitor may begin to speak into it.
        Tone::RingBack => vec![held(0.0, 425.0, 0.12, 1.0)],
        Tone::Sorry => vec![
            held(0.0, 440.0, 0.4, 0.22),
            held(0.26, 392.0, 0.4, 0.22),
            held(0.52, 329.63, 0.4, 0.45),
        ],
    };
    let length = notes.iter().map(|note| note.at + note.length).fold(0.0, f64::max);
    let count = (length * f64::from(RATE)) as usize;
    let loudness = f64::from(percent.min(100)) / 100.0;
    let mut sum = vec![0.0; count];
    for note in &notes {
        let first = (note.at * f64::from(RATE)) as usize;
        for (n, slot) in sum.iter_mut().skip(first).enumerate() {
            let time = n as f64 / f64::from(RATE);
            if time >= note.length {
                break;
            }
            *slot += note.sample(time);
        }
    }
    let peak = sum.iter().fold(1.0_f64, |peak, value| peak.max(value.abs()));
    sum.iter().map(|value| (value / peak * loudness * f64::from(i16::MAX)) as i16).collect()
}

impl Note {
    fn sample(&self, time: f64) -> f64 {
        let wave = |times: f64| (TAU * self.hertz * times * time).sin();
        let ends = (time / FADE).min((self.length - time) / FADE).clamp(0.0, 1.0);
        let body = match self.shape {
            Shape::Bell => {
                let ring = |speed: f64| (-time * speed).exp();
                0.72 * wave(1.0) * ring(3.2)
                    + 0.2 * wave(2.0) * ring(5.5)
                    + 0.08 * wave(3.01) * ring(9.0)
            }
            Shape::Held => wave(1.0),
        };
        self.level * ends * body
    }
}

/// How long so many samples sound.
pub fn duration(samples: usize) -> Duration {
    Duration::from_nanos(samples as u64 * 1_000_000_000 / u64::from(RATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Tone; 3] = [Tone::Chime, Tone::RingBack, Tone::Sorry];

    /// The share of the energy that lies at this pitch (Goertzel).
    fn share(samples: &[i16], hertz: f64) -> f64 {
        let step = TAU * hertz / f64::from(RATE);
        let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            let value = f64::from(*sample);
            re += value * (step * n as f64).cos();
            im += value * (step * n as f64).sin();
            all += value * value;
        }
        2.0 * (re * re + im * im) / (samples.len() as f64 * all)
    }

    #[test]
    fn every_sound_begins_and_ends_without_a_click() {
        for tone in ALL {
            let samples = samples(tone, 100);
            let step =
                samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs());
            assert!(step.max() < Some(6000), "{tone:?}");
            for end in [samples[0], samples[samples.len() - 1]] {
                assert!(end.abs() < 400, "{tone:?} {end}");
            }
        }
    }

    #[test]
    fn loudness_is_kept_and_nothing_clips() {
        let peak = |tone, percent| {
            samples(tone, percent)
                .iter()
                .map(|sample| i32::from(*sample).abs())
                .max()
                .expect("it sounds")
        };
        for tone in ALL {
            assert!(peak(tone, 100) <= i32::from(i16::MAX));
            assert!((peak(tone, 50) * 2 - peak(tone, 100)).abs() < 4, "{tone:?}");
            assert_eq!(peak(tone, 0), 0);
        }
        assert!(peak(Tone::Chime, 100) > 20_000);
        assert!(peak(Tone::RingBack, 100) < 5_000, "it is quiet");
    }

    #[test]
    fn the_chime_is_heard_at_once_and_goes_from_high_to_low() {
        let chime = samples(Tone::Chime, 100);
        let loud = chime.iter().position(|sample| sample.abs() > 8_000).expect("it sounds");
        assert!(duration(loud) < Duration::from_millis(10));
        let ding = &chime[..RATE as usize / 2];
        let dong = &chime[RATE as usize..];
        assert!(share(ding, 659.26) > 0.5 && share(ding, 523.25) < 0.1);
        assert!(share(dong, 523.25) > 0.5);
    }
}
