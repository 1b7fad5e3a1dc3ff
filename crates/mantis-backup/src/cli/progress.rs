//! A progress bar, fed by whoever does the work.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use mantis_stream::ProgressTracker;

use super::context::Context;

const TEMPLATE: &str = "{prefix:.bold} [{wide_bar:.cyan/blue}] {percent:>3}% {bytes}/{total_bytes} {binary_bytes_per_sec} ETA {eta} {msg}";

/// Shows a bar until dropped; nothing where no bars are wanted.
pub(crate) struct Bar {
    bar: ProgressBar,
    task: tokio::task::JoinHandle<()>,
}

impl Bar {
    pub(crate) fn show(
        context: &Context,
        prefix: &str,
        tracker: &Arc<ProgressTracker>,
    ) -> Option<Self> {
        if !context.bars {
            return None;
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(prefix.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        let (shown, mut watch) = (bar.clone(), tracker.subscribe());
        let task = tokio::spawn(async move {
            while watch.changed().await.is_ok() {
                let progress = *watch.borrow_and_update();
                shown.set_length(progress.bytes_total);
                shown.set_position(progress.bytes);
                if progress.bytes_out > 0 {
                    shown.set_message(format!("({} stored)", HumanBytes(progress.bytes_out)));
                }
                if progress.done {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Some(Self { bar, task })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}
