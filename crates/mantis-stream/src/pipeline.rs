//! Work on all cores, bounded, with results in the order of the work.

use std::collections::VecDeque;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::StreamError;

/// Runs blocking work on the runtime's blocking threads: at most `width` pieces are in flight, and
/// their results come back in the order in which the pieces were given.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), mantis_stream::StreamError> {
/// use mantis_stream::{CancellationToken, OrderedPipeline};
/// let mut squares = OrderedPipeline::new(4, CancellationToken::new());
/// let mut results = Vec::new();
/// for n in 0..10 {
///     results.extend(squares.push(move || n * n).await?);
/// }
/// while let Some(square) = squares.next().await? {
///     results.push(square);
/// }
/// assert_eq!(results, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct OrderedPipeline<T> {
    width: usize,
    running: VecDeque<JoinHandle<T>>,
    cancel: CancellationToken,
}

impl<T: Send + 'static> OrderedPipeline<T> {
    /// A pipeline for `width` (at least 1) pieces at once, that stops when `cancel` says so.
    #[must_use]
    pub fn new(width: usize, cancel: CancellationToken) -> Self {
        let width = width.max(1);
        Self { width, running: VecDeque::with_capacity(width), cancel }
    }

    /// Starts a piece of work. Where `width` are in flight already, the oldest is waited for first,
    /// and its result returned.
    ///
    /// # Errors
    /// [`StreamError::Cancelled`], or [`StreamError::Worker`] where a piece panicked.
    pub async fn push(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>, StreamError> {
        let oldest = if self.running.len() >= self.width { self.next().await? } else { None };
        if self.cancel.is_cancelled() {
            return Err(StreamError::Cancelled);
        }
        self.running.push_back(tokio::task::spawn_blocking(work));
        Ok(oldest)
    }

    /// The oldest result; `None` once nothing is in flight.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn next(&mut self) -> Result<Option<T>, StreamError> {
        let Some(oldest) = self.running.front_mut() else { return Ok(None) };
        let result = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(StreamError::Cancelled),
            result = oldest => result,
        };
        self.running.pop_front();
        result.map(Some).map_err(|_| StreamError::Worker)
    }

    /// Waits until no piece is running any more, whatever became of them.
    pub async fn settle(&mut self) {
        while let Some(piece) = self.running.pop_front() {
            let _ = piece.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn results_keep_their_order_and_the_width_holds() {
        let running = Arc::new(AtomicUsize::new(0));
        let mut pipeline = OrderedPipeline::new(3, CancellationToken::new());
        let mut results = Vec::new();
        for n in 0..40u64 {
            let running = Arc::clone(&running);
            let work = move || {
                let at_once = running.fetch_add(1, Ordering::SeqCst) + 1;
                std::thread::sleep(Duration::from_micros(1000 - n * 20));
                running.fetch_sub(1, Ordering::SeqCst);
                (n, at_once)
            };
            results.extend(pipeline.push(work).await.unwrap());
        }
        while let Some(result) = pipeline.next().await.unwrap() {
            results.push(result);
        }
        assert!(results.iter().map(|(n, _)| *n).eq(0..40));
        assert!(results.iter().all(|(_, at_once)| *at_once <= 3));
    }

    #[tokio::test]
    async fn cancelling_stops_even_a_full_pipeline() {
        let cancel = CancellationToken::new();
        let mut pipeline = OrderedPipeline::new(1, cancel.clone());
        let (open, gate) = std::sync::mpsc::channel::<()>();
        pipeline.push(move || gate.recv().is_ok()).await.unwrap();
        cancel.cancel();
        assert!(matches!(pipeline.push(|| true).await, Err(StreamError::Cancelled)));
        drop(open);
        pipeline.settle().await;
        assert!(matches!(pipeline.next().await, Ok(None)));
    }

    #[tokio::test]
    async fn a_panic_in_a_piece_is_an_error() {
        let mut pipeline = OrderedPipeline::<()>::new(1, CancellationToken::new());
        pipeline.push(|| panic!("on purpose")).await.unwrap();
        assert!(matches!(pipeline.next().await, Err(StreamError::Worker)));
    }

    #[tokio::test]
    async fn nothing_more_begins_after_a_cancellation() {
        let cancel = CancellationToken::new();
        let mut pipeline = OrderedPipeline::new(2, cancel.clone());
        cancel.cancel();
        assert!(matches!(pipeline.push(|| true).await, Err(StreamError::Cancelled)));
    }
}
