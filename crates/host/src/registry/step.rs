//! The steps that the registry takes under its lock, which tests count.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts one step of a loop under the lock, in tests.
#[cfg(test)]
pub(crate) fn step() {
    STEPS.set(STEPS.get() + 1);
}

/// Does nothing: only tests count steps.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn step() {}

/// Returns the number of steps that `run` takes.
#[cfg(test)]
pub(crate) fn steps_of(run: impl FnOnce()) -> u64 {
    let before = STEPS.get();
    run();
    STEPS.get() - before
}
