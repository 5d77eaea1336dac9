//! Looks what sound cards do by themselves: their own rates, formats and channels (ALSA's hardware parameters).
//!
//! Opens each card for a moment and sets nothing. A card in use cannot be asked, and is left out. What is known is not
//! asked again: the card might be wanted at that very moment, as at a press.

use std::collections::BTreeMap;
use std::sync::Mutex;

use alsa::Direction;
use alsa::ValueOr;
use alsa::pcm::{Format, HwParams, PCM};

use super::bell::lock;
use super::found::{PcmLimits, SoundCard, SoundLimits};

/// The rates that are asked for.
const RATES: [u32; 7] = [48_000, 44_100, 32_000, 16_000, 8_000, 96_000, 22_050];

/// By a card's id and name, and whether it is about playing.
type Known = BTreeMap<(String, String, bool), PcmLimits>;
static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());

/// Asks these cards, one caller at a time.
pub(super) fn limits(cards: &[SoundCard]) -> SoundLimits {
    let mut found = SoundLimits::default();
    let mut known = lock(&KNOWN);
    for card in cards {
        let mut ask = |wanted: bool, direction| {
            let key = (card.id.clone(), card.name.clone(), direction == Direction::Playback);
            if let Some(limits) = known.get(&key).filter(|_| wanted) {
                return Ok(Some(limits.clone()));
            }
            let asked =
                wanted.then(|| pcm_limits(&format!("hw:CARD={}", card.id), direction)).transpose();
            if let Ok(Some(limits)) = &asked {
                known.insert(key, limits.clone());
            }
            asked
        };
        for (direction, wanted, into) in [
            (Direction::Playback, card.plays, &mut found.plays),
            (Direction::Capture, card.records, &mut found.records),
        ] {
            match ask(wanted, direction) {
                Ok(Some(limits)) => drop(into.insert(card.id.clone(), limits)),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(card = card.id, %error, "a card that cannot be asked")
                }
            }
        }
    }
    found
}

fn pcm_limits(device: &str, direction: Direction) -> alsa::Result<PcmLimits> {
    let pcm = PCM::new(device, direction, true)?;
    let params = HwParams::any(&pcm)?;
    let formats = [Format::s16(), Format::s32(), Format::s24(), Format::S243LE, Format::float()];
    let usable = formats.into_iter().any(|format| params.test_format(format).is_ok());
    params.set_rate_resample(false)?;
    let rates = RATES.into_iter().filter(|rate| params.test_rate(*rate).is_ok()).collect();
    // What is between the usual rates.
    let nearest = params.set_rate_near(48_000, ValueOr::Nearest)?;
    Ok(PcmLimits { usable, rates, nearest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_has_no_limits_and_one_that_takes_all_has_every_rate() {
        assert!(pcm_limits("hw:CARD=nowhere", Direction::Playback).is_err());
        // ALSA's own plug into nothing, there on every machine with its library.
        let null = pcm_limits("null", Direction::Playback).expect("the null device opens");
        assert!(null.usable);
        assert_eq!(null.rates, RATES);
        assert_eq!(null.nearest, 48_000);
    }
}
