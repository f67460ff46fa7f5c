//! `watch`: builds, and again after each change. What is wrong is said, and the last good output
//! stays.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use notify::{RecursiveMode, Watcher};

use crate::cli::Places;
use crate::sass::Kept;
use crate::{build, complain};

/// How long it must be quiet after a change: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(30);

/// Builds until it is ended.
pub(crate) fn watch(places: &Places) -> Result<()> {
    let sass = Kept::default();
    let (sender, changes) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is no change; and what cannot be told counts as one.
        if event.as_ref().map_or(true, |event| !event.kind.is_access()) {
            let _ = sender.send(());
        }
    })?;
    for library in &places.load_paths {
        watcher
            .watch(library, RecursiveMode::Recursive)
            .with_context(|| format!("can't watch {}", library.display()))?;
    }
    // The directory itself may be replaced, which only the one above it tells.
    let source = std::path::absolute(&places.source)?;
    let above = source.parent().unwrap_or(&source);
    watcher
        .watch(above, RecursiveMode::NonRecursive)
        .with_context(|| format!("can't watch {}", above.display()))?;
    loop {
        let _ = watcher.unwatch(&source);
        watcher
            .watch(&source, RecursiveMode::Recursive)
            .with_context(|| format!("can't watch {}", places.source.display()))?;
        if let Err(error) = build::update(places, &sass) {
            complain(&error);
        }
        changes.recv().context("the watch ended")?;
        while changes.recv_timeout(QUIET).is_ok() {}
        wait_for_directory(&source, &changes);
    }
}

/// Where the directory is being replaced, it is there again in a moment.
fn wait_for_directory(source: &Path, changes: &mpsc::Receiver<()>) {
    while !source.is_dir() && changes.recv().is_ok() {}
}
