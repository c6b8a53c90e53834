//! The cost of `wasmetry adapt` for a request to a service, on a host without wasmetry.
//!
//! The service is `tests/guests/src/bin/uninstrumented.rs`, which answers every request with a few
//! bytes. It is measured as it is, adapted, and adapted without lines. The host is the Wasmtime
//! embedding of the tests, which collects lines in its memory.

use criterion::{Criterion, criterion_group, criterion_main};
use wasmetry_tests::adapted::adapt;
use wasmetry_tests::embedding::plain::PlainHost;

fn requests(criterion: &mut Criterion) {
    let quiet = ["--no-lines", "--metrics-path", "/metrics"];
    let adapted =
        [("adapted", adapt("uninstrumented", &[])), ("adapted, without lines", adapt("uninstrumented", &quiet))];
    let as_it_is = wasmetry_tests::guest("uninstrumented");
    let paths = [("as it is", as_it_is.as_path())].into_iter();
    let paths = paths.chain(adapted.iter().map(|(row, adapted)| (*row, adapted.path.as_path())));
    let mut group = criterion.benchmark_group("adapted");
    for (row, path) in paths {
        let host = PlainHost::new(path);
        group.bench_function(format!("an instance for each request, {row}"), |bencher| {
            bencher.iter(|| host.service().get("/").expect("it does not trap"));
        });
        let mut service = host.service();
        group.bench_function(format!("an instance for all, {row}"), |bencher| {
            bencher.iter(|| service.get("/").expect("it does not trap"));
        });
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
