//! One pause for all calls of a client. "Too many requests" concerns the whole account, not one call.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::HeaderMap;
use stagedoor_model::breakage;
use tokio::time::Instant;

/// The first pause. Each further pause without a good answer in between is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause, even if `Retry-After` asks for more.
const MAX_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct State {
    until: Option<Instant>,
    /// Number of pauses since the last good answer.
    pauses: u32,
}

#[derive(Debug, Default)]
pub(crate) struct SharedPause(Mutex<State>);

impl SharedPause {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no pause is active.
    pub async fn wait(&self) {
        loop {
            let until = self.state().until;
            match until {
                Some(until) if until > Instant::now() && !breakage::is_on("each-lane-retries") => {
                    tokio::time::sleep_until(until).await;
                }
                _ => return,
            }
        }
    }

    /// Starts a pause. Several throttled calls that ran at the same time start it only once.
    pub fn throttled(&self, headers: &HeaderMap) {
        let now = Instant::now();
        let mut state = self.state();
        if state.until.is_some_and(|until| until > now) {
            return;
        }
        let asked = headers.get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let own = FIRST * 2_u32.pow(state.pauses.min(6));
        let pause = own.max(Duration::from_secs(asked.unwrap_or(0))).min(MAX_PAUSE);
        state.until = Some(now + pause);
        state.pauses = state.pauses.saturating_add(1);
    }

    /// Records a good answer: the next pause is short again.
    pub fn answered(&self) {
        self.state().pauses = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::header::RETRY_AFTER, seconds.parse().expect("a header"))])
    }

    #[tokio::test(start_paused = true)]
    async fn several_throttled_calls_make_one_pause_and_a_good_answer_ends_the_row() {
        let (pause, began) = (SharedPause::default(), Instant::now());
        pause.throttled(&HeaderMap::new());
        pause.throttled(&HeaderMap::new());
        pause.wait().await;
        assert_eq!(began.elapsed().as_secs(), 1);
        pause.throttled(&HeaderMap::new());
        pause.wait().await;
        assert_eq!(began.elapsed().as_secs(), 3, "twice as long");
        pause.answered();
        pause.throttled(&HeaderMap::new());
        pause.wait().await;
        assert_eq!(began.elapsed().as_secs(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_as_long_as_the_crm_asks_within_a_minute() {
        let (pause, began) = (SharedPause::default(), Instant::now());
        pause.throttled(&after("30"));
        pause.wait().await;
        assert_eq!(began.elapsed().as_secs(), 30);
        pause.throttled(&after("86400"));
        pause.wait().await;
        assert_eq!(began.elapsed().as_secs(), 90);
    }
}
