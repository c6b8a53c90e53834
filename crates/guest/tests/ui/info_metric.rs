use wasmetry::{Label, info_metric};

#[derive(Clone, Copy, Label)]
enum Route {
    Home,
}

fn main() {
    info_metric!("build", "About this build.", const_labels: [version: "1.0"]);
    info_metric!("_info", "About this build.");
    info_metric!("build_info_info", "About this build.");
    info_metric!("build_info", "About this build.", labels: [route: Route]);
    info_metric!("build_info", "About this build.", merge: last, value: f64, buckets: [1], max_buckets: 3);
}
