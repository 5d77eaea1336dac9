//! How much somebody may do in a time (protocol.md section 2.7).
//!
//! Pure: a token bucket; the clock, any that only moves forward, is given by the caller.

use std::time::Duration;

/// How much at once after a pause, and how much for long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    /// At once after a pause.
    pub burst: f64,
    /// Each second for long.
    pub rate: f64,
}

/// The frames of one guest of the hub.
pub const FRAMES: Flow = Flow { burst: 200.0, rate: 100.0 };

/// One allowance.
#[derive(Debug)]
pub struct Bucket {
    flow: Flow,
    left: f64,
    filled: Duration,
}

impl Bucket {
    /// One from which nothing was taken yet.
    pub fn full(flow: Flow, now: Duration) -> Self {
        Self { flow, left: flow.burst, filled: now }
    }

    /// How much there is now.
    pub fn left(&mut self, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.left = (self.left + passed * self.flow.rate).min(self.flow.burst);
        self.left
    }

    /// Takes one. `false`: there is none.
    pub fn take(&mut self, now: Duration) -> bool {
        let is_there = self.left(now) >= 1.0;
        if is_there {
            self.left -= 1.0;
        }
        is_there
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
        let mut bucket = Bucket::full(FRAMES, start);
        assert_eq!(taken(&mut bucket, start), 200);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(500)), 50);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3600)), 200);
    }

    #[test]
    fn a_clock_that_does_not_move_gives_nothing() {
        let start = Duration::from_secs(7);
        let mut bucket = Bucket::full(FRAMES, start);
        assert_eq!(taken(&mut bucket, start), 200);
        assert_eq!(taken(&mut bucket, start), 0);
        assert_eq!(taken(&mut bucket, start - Duration::from_secs(5)), 0);
        assert_eq!(taken(&mut bucket, start), 0);
    }
}
