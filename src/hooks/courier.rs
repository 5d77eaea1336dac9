//! What becomes of an event after a try to tell it: told, tried again later, or given up.

use std::time::Duration;

use super::backlog::Item;
use super::error::Failure;
use super::outbox::{Outbox, Parcel};
use super::retry;

/// Settles one try. `patience`: how long after an event it is still worth telling.
pub(super) fn settle(
    outbox: &Outbox,
    patience: Duration,
    item: Item<Parcel>,
    tried: Result<(), Failure>,
) {
    let failure = match tried {
        Ok(()) => return outbox.sent(&item.what.told),
        Err(failure) => failure,
    };
    outbox.trouble(failure.error());
    let at = match &failure {
        Failure::Final(_) => None,
        Failure::Again { hint, .. } => {
            let now = tokio::time::Instant::now().into_std();
            retry::again(now, item.told, item.failures, patience, *hint)
        }
    };
    match at {
        Some(at) => outbox.put_back(item, at),
        None => outbox.gave_up(&item.what.told),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{mpsc, watch};
    use tokio::time::Instant;

    use super::*;
    use crate::config::HookEvent;
    use crate::hooks::error::HookError;
    use crate::hooks::event::{Event, What};
    use crate::hooks::outbox::Closing;

    const MINUTES: Duration = Duration::from_secs(600);

    /// As the outlets do it.
    async fn run(
        outbox: &Outbox,
        mut closing: Closing,
        mut send: impl AsyncFnMut(&Item<Parcel>) -> Result<(), Failure>,
    ) {
        while let Some(item) = outbox.next(&mut closing).await {
            let tried = send(&item).await;
            settle(outbox, MINUTES, item, tried);
        }
    }

    fn outbox(limit: usize) -> Arc<Outbox> {
        Arc::new(Outbox::new("webhook x".to_owned(), HookEvent::ALL.into(), limit))
    }

    fn ring(outbox: &Outbox, at: u64) {
        let event = Event { call: None, at, what: What::Ring { again: false } };
        outbox.put(Arc::new(event.cleaned("d")));
    }

    fn busy(hint: Option<u64>) -> Failure {
        let error = HookError::Busy { status: 503 };
        Failure::Again { error, hint: hint.map(Duration::from_secs) }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_is_tried_for_ten_minutes_under_the_same_number_and_given_up() {
        let outbox = outbox(8);
        let (_close, closing) = watch::channel(false);
        let (tell, mut tries) = mpsc::unbounded_channel();
        ring(&outbox, 0);
        let start = Instant::now();
        let running = run(&outbox, Closing::new(closing), async |item| {
            tell.send((item.what.id, start.elapsed().as_secs())).expect("somebody looks");
            Err(busy(None))
        });
        let all = async {
            let mut seen = Vec::new();
            while outbox.status().failed == 0 {
                // A try, or the end of all tries.
                tokio::select! {
                    row = tries.recv() => seen.extend(row),
                    () = tokio::time::sleep(MINUTES) => {}
                }
            }
            seen
        };
        let seen =
            tokio::select! { () = running => unreachable!("nobody closes"), seen = all => seen };
        let times: Vec<u64> = seen.iter().map(|(_, at)| *at).collect();
        assert_eq!(times[..6], [0, 1, 5, 21, 81, 141]);
        assert!(times.iter().all(|at| *at <= 600) && times.len() == 13, "{times:?}");
        assert!(seen.iter().all(|(id, _)| *id == seen[0].0));
        let status = outbox.status();
        assert_eq!((status.sent, status.failed, status.dropped), (0, 1, 0));
        assert!(status.last_error.expect("it failed").contains("503"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_younger_event_does_not_wait_for_one_that_failed() {
        let outbox = outbox(8);
        let (_close, closing) = watch::channel(false);
        let (tell, mut told) = mpsc::unbounded_channel();
        ring(&outbox, 1);
        let start = Instant::now();
        let mut first = true;
        let running = run(&outbox, Closing::new(closing), async |item| {
            let at = item.what.told.event.at;
            tell.send((at, start.elapsed().as_secs())).expect("somebody looks");
            if std::mem::take(&mut first) {
                return Err(busy(Some(30)));
            }
            Ok(())
        });
        let look = async {
            assert_eq!(told.recv().await, Some((1, 0)));
            ring(&outbox, 2);
            assert_eq!(told.recv().await, Some((2, 0)));
            assert_eq!(told.recv().await, Some((1, 30)));
        };
        tokio::select! { () = running => unreachable!("nobody closes"), () = look => {} }
    }

    #[tokio::test(start_paused = true)]
    async fn closing_sends_what_was_never_tried_and_leaves_the_rest() {
        let outbox = outbox(8);
        let (close, closing) = watch::channel(false);
        ring(&outbox, 1);
        ring(&outbox, 2);
        let mut seen = Vec::new();
        run(&outbox, Closing::new(closing), async |item| {
            seen.push(item.what.told.event.at);
            if seen.len() == 1 {
                close.send(true).expect("it listens");
                return Err(busy(None));
            }
            Ok(())
        })
        .await;
        assert_eq!(seen, [1, 2]);
        assert_eq!(outbox.status().waiting, 1);
    }
}
