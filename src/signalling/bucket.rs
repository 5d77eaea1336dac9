//! How fast a guest of the LAN hub may send (protocol.md section 2.7).
//!
//! Pure: a token bucket; the clock, any that only moves forward, is given by the caller.

use std::time::Duration;

/// Frames a guest may send at once after a pause.
const BURST: f64 = 200.0;
/// Frames per second a guest may send for long.
const RATE: f64 = 100.0;

/// One guest's allowance.
pub struct Bucket {
    tokens: f64,
    filled: Duration,
}

impl Bucket {
    /// A bucket as a member gets it.
    pub fn full(now: Duration) -> Self {
        Self { tokens: BURST, filled: now }
    }

    /// Takes the token for one frame. `false`: there is none.
    pub fn take(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + passed * RATE).min(BURST);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, now: Duration) -> usize {
        (0..1_000).take_while(|_| bucket.take(now)).count()
    }

    #[test]
    fn a_burst_of_200_passes_and_then_100_per_second() {
        let start = Duration::from_secs(7);
        let mut bucket = Bucket::full(start);
        assert_eq!(taken(&mut bucket, start), 200);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(500)), 50);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3600)), 200);
    }

    #[test]
    fn a_clock_that_does_not_move_gives_nothing() {
        let start = Duration::from_secs(7);
        let mut bucket = Bucket::full(start);
        assert_eq!(taken(&mut bucket, start), 200);
        assert_eq!(taken(&mut bucket, start), 0);
        assert_eq!(taken(&mut bucket, start - Duration::from_secs(5)), 0);
        assert_eq!(taken(&mut bucket, start), 0);
    }
}
