//! A guest that two versions of the crate `wasmetry` are linked into.
//!
//! `cargo xtask guests` makes the package: the other version is a copy of the crate with another
//! number; see `xtask/src/guests/two_versions.rs`.

/// Metrics of both versions; one name is declared by both.
mod record {
    use wasmetry::Counter;
    use wasmetry_next::{Counter as NextCounter, Text};

    static FIRST: Counter = wasmetry::counter!("first_total", "Counted by this version.");
    static SECOND: NextCounter<Text<2, 8>> =
        wasmetry_next::counter!("second_total", "Counted by the other one.", labels: [value: Text<2, 8>]);
    static BOTH: Counter = wasmetry::counter!("both_total", "Counted by both.");
    static BOTH_NEXT: NextCounter = wasmetry_next::counter!("both_total", "Counted by both.");

    /// Counts `n` with this version.
    pub(crate) fn count_first(n: u64) {
        FIRST.add(n);
    }

    /// Counts `n` with the other version, and one event whose label is too long.
    pub(crate) fn count_second(n: u64) {
        SECOND.with("second").add(n);
        SECOND.with("a text that is too long").inc();
    }

    /// Counts `n` with both versions, and panics.
    pub(crate) fn count_both_and_trap(n: u64) {
        BOTH.add(n);
        BOTH_NEXT.add(n);
        panic!("requested by the test");
    }

    /// Asks the host to collect the regions of both versions.
    pub(crate) fn publish() {
        wasmetry::publish();
        wasmetry_next::publish();
    }
}

#[cfg(target_env = "p2")]
mod component {
    use crate::record;

    wit_bindgen::generate!({
        inline: "
            package wasmetry:test-guests;
            world two-versions {
                export count-first: func(n: u64);
                export count-second: func(n: u64);
                export count-both-and-trap: func(n: u64);
                export publish: func();
            }
        ",
    });

    struct TwoVersions;

    impl Guest for TwoVersions {
        #[wasmetry::handler]
        #[wasmetry_next::handler(crate = wasmetry_next)]
        fn count_first(n: u64) {
            record::count_first(n);
        }

        #[wasmetry::handler]
        #[wasmetry_next::handler(crate = wasmetry_next)]
        fn count_second(n: u64) {
            record::count_second(n);
        }

        #[wasmetry::handler]
        #[wasmetry_next::handler(crate = wasmetry_next)]
        fn count_both_and_trap(n: u64) {
            record::count_both_and_trap(n);
        }

        fn publish() {
            record::publish();
        }
    }

    export!(TwoVersions);
}

#[cfg(not(target_env = "p2"))]
mod module {
    use crate::record;

    #[unsafe(export_name = "count-first")]
    extern "C" fn count_first(n: u64) {
        record::count_first(n);
    }

    #[unsafe(export_name = "count-second")]
    extern "C" fn count_second(n: u64) {
        record::count_second(n);
    }

    #[unsafe(export_name = "count-both-and-trap")]
    extern "C" fn count_both_and_trap(n: u64) {
        record::count_both_and_trap(n);
    }

    #[unsafe(export_name = "publish")]
    extern "C" fn publish() {
        record::publish();
    }
}

fn main() {}
