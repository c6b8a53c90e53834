//! The table of the page's files: paths, media types and bytes.

use super::File;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// A file of the folder `page` of this crate, which is served below `/page/`.
macro_rules! file {
    ($content_type:expr, $path:literal) => {
        File {
            path: concat!("/page/", $path),
            content_type: $content_type,
            bytes: include_bytes!(concat!("../../page/", $path)),
        }
    };
}

/// The files.
pub(super) const FILES: &[File] = &[
    File { path: "/", content_type: "text/html; charset=utf-8", bytes: include_bytes!("../../page/index.html") },
    file!(SCRIPT, "address.js"),
    file!(SCRIPT, "app.js"),
    file!(SCRIPT, "connection.js"),
    file!(SCRIPT, "element/plot.js"),
    file!(SCRIPT, "element/plot/exemplar.js"),
    file!(SCRIPT, "element/plot/heat.js"),
    file!(SCRIPT, "element/plot/legend.js"),
    file!(SCRIPT, "element/plot/option.js"),
    file!(SCRIPT, "format.js"),
    file!(IMAGE, "icon.svg"),
    file!(SCRIPT, "main.js"),
    file!(SCRIPT, "resource.js"),
    file!(SCRIPT, "shell.js"),
    file!(SCRIPT, "slot.js"),
    file!(SCRIPT, "sparkline.js"),
    file!(STYLE, "style.css"),
    file!(SCRIPT, "style.js"),
    file!(SCRIPT, "template/answer.js"),
    file!(SCRIPT, "template/form.js"),
    file!(SCRIPT, "template/list.js"),
    file!(SCRIPT, "template/mark.js"),
    file!(SCRIPT, "template/selection.js"),
    file!(SCRIPT, "template/series.js"),
    file!(SCRIPT, "template/text.js"),
    file!(SCRIPT, "vendor/lit-html/directive-helpers.js"),
    file!(SCRIPT, "vendor/lit-html/directive.js"),
    file!(SCRIPT, "vendor/lit-html/directives/live.js"),
    file!(SCRIPT, "vendor/lit-html/directives/repeat.js"),
    file!(SCRIPT, "vendor/lit-html/lit-html.js"),
    file!(STYLE, "vendor/uplot/uPlot.css"),
    file!(SCRIPT, "vendor/uplot/uPlot.js"),
    file!(SCRIPT, "view/explain.js"),
    file!(SCRIPT, "view/login.js"),
    file!(SCRIPT, "view/logs.js"),
    file!(SCRIPT, "view/metrics.js"),
    file!(SCRIPT, "view/overview.js"),
    file!(SCRIPT, "view/trace.js"),
    file!(SCRIPT, "view/traces.js"),
    file!(SCRIPT, "view/traps.js"),
];
