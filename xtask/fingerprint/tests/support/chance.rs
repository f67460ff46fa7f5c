//! Chance for the randomized campaigns: one seed decides a whole run, so a failure can be repeated.
//!
//! A run is of a bounded size unless `STEVEDORE_FULL=1` asks for all of it, and starts from a fixed
//! seed unless `STEVEDORE_SEED` names another. A test that fails prints the seed it had.

/// Splitmix64: small, quick, and good enough to choose edits.
pub(crate) struct Chance {
    state: u64,
    /// What a failure prints, to run it again.
    again: Option<String>,
}

impl Chance {
    pub(crate) fn new(name: &str) -> Chance {
        let given = std::env::var("STEVEDORE_SEED").ok();
        let seed = given.map_or(1, |text| text.parse().expect("STEVEDORE_SEED"));
        let again = format!("campaign {name} failed; again with STEVEDORE_SEED={seed}");
        let mut chance = Chance::from(name, seed);
        chance.again = Some(again);
        chance
    }

    /// The choices that belong to one number.
    pub(crate) fn from(name: &str, seed: u64) -> Chance {
        // Two campaigns of one seed should not make the same choices.
        let state = name.bytes().fold(seed, |state, byte| state.rotate_left(8) ^ u64::from(byte));
        Chance { state, again: None }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 up to, not including, `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

impl Drop for Chance {
    fn drop(&mut self) {
        if let Some(again) = self.again.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("{again}");
        }
    }
}

/// How many rounds a campaign has.
pub(crate) fn size<T>(bounded: T, full: T) -> T {
    let asked = std::env::var("STEVEDORE_FULL").is_ok_and(|value| value == "1");
    if asked { full } else { bounded }
}
