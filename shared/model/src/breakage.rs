//! Deliberate breakages of the code. Each undoes one mending, so that the simulation and the suite can prove that they
//! would notice its loss.
//!
//! Only a build with the feature `breakages` can switch one on: for one thread with [`switch_on`], or for a whole process
//! with the variable `STAGEDOOR_BREAKAGE`. In every other build [`is_on`] is `false` at compile time.

#[cfg(feature = "breakages")]
mod switch {
    use std::{cell::Cell, sync::OnceLock};

    thread_local! {
        static HERE: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// The breakage that the process was started with.
    #[allow(clippy::disallowed_methods, reason = "a switch of tests, and no setting of the hub")]
    fn of_process() -> Option<&'static str> {
        static NAME: OnceLock<Option<String>> = OnceLock::new();
        NAME.get_or_init(|| std::env::var("STAGEDOOR_BREAKAGE").ok()).as_deref()
    }

    /// Whether the code has to behave as if the mending `name` had never been made.
    pub fn is_on(name: &str) -> bool {
        HERE.get().or_else(of_process) == Some(name)
    }

    /// Switches a breakage on for this thread until the guard is dropped.
    #[must_use]
    pub fn switch_on(name: &'static str) -> Guard {
        Guard(HERE.replace(Some(name)))
    }

    /// Restores what was switched on before.
    pub struct Guard(Option<&'static str>);

    impl Drop for Guard {
        fn drop(&mut self) {
            HERE.set(self.0);
        }
    }
}

#[cfg(feature = "breakages")]
pub use switch::{Guard, is_on, switch_on};

/// Whether the code has to behave as if the mending `name` had never been made. Never, in this build.
#[cfg(not(feature = "breakages"))]
#[inline(always)]
pub const fn is_on(_name: &str) -> bool {
    false
}
