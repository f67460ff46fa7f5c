//! The same work on many things, on all cores; results in the order of the things.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Compilers descend into what is nested. Only what is used of it costs memory.
pub(crate) const STACK_BYTES: usize = 1 << 30;

pub(crate) fn each<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(things.len());
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::default();
    let take = || {
        while let Some((number, thing)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|it| Some((it, things.get(it)?)))
        {
            let result = work(thing);
            results
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push((number, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread can be had, this one does its work.
            let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
            drop(builder.spawn_scoped(scope, take));
        }
        take();
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
