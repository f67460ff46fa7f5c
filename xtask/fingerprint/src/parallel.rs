//! Work spread over the processors, without a thread for work that is done before one has started.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many threads are worth starting, this one included.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(16)
}

/// Calls `work` for 0 to `count`, on several threads where `heavy`; the results in any order.
pub(crate) fn each<R: Send>(count: usize, heavy: bool, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    const CHUNK: usize = 16;
    let next = AtomicUsize::new(0);
    let run = || {
        let mut results = Vec::new();
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            if start >= count {
                return results;
            }
            results.extend((start..count.min(start + CHUNK)).map(&work));
        }
    };
    let others = if heavy { threads().min(count.div_ceil(CHUNK)).saturating_sub(1) } else { 0 };
    if others == 0 {
        return run();
    }
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..others).map(|_| scope.spawn(run)).collect();
        let mut results = run();
        for handle in handles {
            match handle.join() {
                Ok(more) => results.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}
