//! What pages in a browser have to know of a change.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::live::Live;
use crate::commands::assets;
use crate::ctx::Ctx;
use crate::exit;
use crate::project::assets::OUTPUT;

/// Between two questions whether it answers.
const PAUSE: Duration = Duration::from_millis(15);
/// Between two looks whether it failed.
const LOOK: Duration = Duration::from_millis(300);
/// Longest wait for what was started again.
const LONGEST: Duration = Duration::from_secs(60);
/// For one page.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum News {
    #[default]
    None,
    /// Style sheets by their file names: the old one, and what is in its place.
    Styles(Vec<(String, String)>),
    Reload,
}

impl News {
    pub(super) fn and(self, other: News) -> News {
        match (self, other) {
            (News::None, news) | (news, News::None) => news,
            (News::Styles(mut all), News::Styles(more)) => {
                all.extend(more);
                News::Styles(all)
            }
            _ => News::Reload,
        }
    }

    pub(super) fn tell(&self, live: &Live) {
        match self {
            News::None => {}
            News::Styles(replaced) => live.styles(replaced),
            News::Reload => live.reload(),
        }
    }
}

/// Makes the assets anew.
pub(super) fn assets(ctx: &Ctx) -> Result<News> {
    news_of(ctx, |ctx| assets::update(ctx).map(drop))
}

/// Like [`assets`]; where they cannot be made, that is said, and the pages stay as they are.
pub(super) fn assets_if_possible(ctx: &Ctx) -> Result<News> {
    news_of(ctx, assets::update_if_possible)
}

fn news_of(ctx: &Ctx, update: impl Fn(&Ctx) -> Result<()>) -> Result<News> {
    let before = manifest(ctx);
    update(ctx)?;
    Ok(difference(&before, &manifest(ctx)))
}

/// Source -> its file.
type Manifest = BTreeMap<String, String>;

fn manifest(ctx: &Ctx) -> Manifest {
    let text = std::fs::read(ctx.root.join(OUTPUT).join("manifest.json")).unwrap_or_default();
    let entries: BTreeMap<String, Value> = serde_json::from_slice(&text).unwrap_or_default();
    let file = |entry: &Value| entry["file"].as_str().map(str::to_owned);
    entries.iter().filter_map(|(source, entry)| Some((source.clone(), file(entry)?))).collect()
}

/// Other style sheets under the same names are swapped; anything else is another page.
fn difference(before: &Manifest, after: &Manifest) -> News {
    if before == after {
        return News::None;
    }
    if !before.keys().eq(after.keys()) {
        return News::Reload;
    }
    let both = before.values().zip(after.values()).filter(|(old, new)| old != new);
    let replaced: Vec<(String, String)> =
        both.map(|(old, new)| (old.clone(), new.clone())).collect();
    match replaced.iter().all(|(_, new)| new.ends_with(".css")) {
        true => News::Styles(replaced),
        false => News::Reload,
    }
}

/// What was started again serves nothing: no good version does any more.
#[derive(Debug)]
pub(super) struct Down(pub(super) String);

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Down {}

/// Waits until what was started again answers; `failed` says why it never will.
///
/// # Errors
///
/// [`Down`], or interrupted.
pub(super) fn wait_until(
    ctx: &Ctx,
    is_done: impl Fn() -> bool,
    failed: impl Fn() -> Option<String>,
) -> Result<()> {
    let (started, mut looked) = (Instant::now(), Instant::now());
    while !is_done() {
        if ctx.interrupted() {
            return Err(exit::interrupted());
        }
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            if let Some(why) = failed() {
                return Err(Down(why).into());
            }
        }
        if started.elapsed() > LONGEST {
            let seconds = LONGEST.as_secs();
            return Err(Down(format!("it does not answer within {seconds} s")).into());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Whether something answers at a port, whatever it says: that the port is open says nothing where
/// the engine holds it open.
pub(super) fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut start = [0; 5];
        stream.read_exact(&mut start)?;
        Ok(&start == b"HTTP/")
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(pairs: &[(&str, &str)]) -> Manifest {
        pairs.iter().map(|(source, file)| ((*source).into(), (*file).into())).collect()
    }

    #[test]
    fn a_style_sheet_is_swapped_and_anything_else_reloads() {
        let before = manifest(&[("app.js", "app-1.js"), ("app.scss", "app-1.css")]);
        let styles = manifest(&[("app.js", "app-1.js"), ("app.scss", "app-2.css")]);
        let both = manifest(&[("app.js", "app-2.js"), ("app.scss", "app-2.css")]);
        let more = manifest(&[("app.js", "app-1.js"), ("new.scss", "new-1.css")]);
        let swapped = News::Styles(vec![("app-1.css".into(), "app-2.css".into())]);
        assert_eq!(difference(&before, &before), News::None);
        assert_eq!(difference(&before, &styles), swapped);
        assert_eq!(difference(&before, &both), News::Reload);
        assert_eq!(difference(&before, &more), News::Reload);
        assert_eq!(News::Reload.and(News::None), News::Reload);
        assert_eq!(News::None.and(difference(&before, &styles)), swapped);
        assert_eq!(swapped.and(News::Reload), News::Reload);
    }
}
