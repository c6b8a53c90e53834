//! The files in the image, and the build context that has them.
//!
//! A configuration names its components by paths, so the image has the same folders.

use crate::Service;

/// The folder of the files in the image.
const ROOT: &str = "/srv";

/// The name of a folder whose name is not known: that above the working directory.
const UNKNOWN: &str = "config";

/// A file that is copied into the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The path in the build context.
    pub(crate) from: String,
    /// The path in the image.
    pub(crate) to: String,
}

/// The files of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The files, the served one first.
    pub(crate) files: Vec<Copied>,
    /// The build context as an argument of `wasmetry ops`' working directory; `None` if the files
    /// have to be laid out for the build first.
    pub(crate) context: Option<String>,
    /// The path in the image of what is served.
    pub(crate) served: String,
    /// `true` if a configuration is served.
    pub(crate) is_config: bool,
}

/// A path as its parts. `..` is only at the begin.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts<'a> {
    is_absolute: bool,
    parts: Vec<&'a str>,
}

impl<'a> Parts<'a> {
    fn new(path: &'a str) -> Self {
        let is_absolute = path.starts_with('/');
        let mut parts = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
                ".." if is_absolute => {}
                _ => parts.push(part),
            }
        }
        Self { is_absolute, parts }
    }

    /// The number of `..` at the begin.
    fn up(&self) -> usize {
        self.parts.iter().take_while(|part| **part == "..").count()
    }
}

/// Returns a folder as an argument.
fn folder(is_absolute: bool, parts: &[&str]) -> String {
    match (is_absolute, parts) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, []) => ".".to_owned(),
        (false, _) => parts.join("/"),
    }
}

impl Layout {
    pub(crate) fn new(service: &Service) -> Self {
        let config = service.source.strip_prefix("--config ");
        // Without a path, the name is that of the file.
        let paths: Vec<String> = service
            .components
            .iter()
            .map(|component| {
                component.path.clone().unwrap_or_else(|| format!("{}.wasm", component.name.replace('/', "-")))
            })
            .collect();
        match config {
            Some(config) => Self::of_config(config, &paths),
            None => Self::of_component(paths.first().map_or("app.wasm", String::as_str)),
        }
    }

    fn of_component(path: &str) -> Self {
        let path = Parts::new(path);
        let (file, above) = path.parts.split_last().map_or(("app.wasm", &[][..]), |(file, above)| (*file, above));
        // The file's name is the component's name, unless there is another.
        let served = format!("{ROOT}/{file}");
        Self {
            files: vec![Copied { from: file.to_owned(), to: served.clone() }],
            context: Some(folder(path.is_absolute, above)),
            served,
            is_config: false,
        }
    }

    fn of_config(config: &str, paths: &[String]) -> Self {
        let config_path = Parts::new(config);
        let (file, home) =
            config_path.parts.split_last().map_or(("wasmetry.toml", &[][..]), |(file, home)| (*file, home));
        // A component's path begins with the configuration's folder, unless it is absolute.
        let above = config.rfind('/').map_or("", |slash| &config[..=slash]);
        let named = |path| Parts::new(str::strip_prefix(path, above).unwrap_or(path));
        let named: Vec<Parts<'_>> = paths.iter().map(|path| named(path.as_str())).collect();
        let relative = named.iter().filter(|path| !path.is_absolute);
        let up = relative.map(Parts::up).max().unwrap_or(0);
        let known = home.iter().filter(|part| **part != "..").count().min(up);
        let (context, below) = home.split_at(home.len() - known);
        let mut folders = vec![UNKNOWN; up - known];
        folders.extend(below);
        let copied = |path: &Parts<'_>| {
            if path.is_absolute {
                let from = path.parts.join("/");
                return Copied { to: format!("/{from}"), from };
            }
            let kept = &folders[..folders.len() - path.up()];
            let from = [kept, &path.parts[path.up()..]].concat().join("/");
            Copied { to: format!("{ROOT}/{from}"), from }
        };
        let mut files = vec![copied(&Parts { is_absolute: false, parts: vec![file] })];
        for path in &named {
            let file = copied(path);
            if !files.contains(&file) {
                files.push(file);
            }
        }
        let is_laid_out = known == up && named.iter().all(|path| !path.is_absolute);
        Self {
            served: files[0].to.clone(),
            context: is_laid_out.then(|| folder(config_path.is_absolute, context)),
            files,
            is_config: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn config(config: &str, paths: &[&str], context: Option<&str>, files: &[(&str, &str)]) {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let layout = Layout::of_config(config, &paths);
        let found: Vec<_> = layout.files.iter().map(|file| (file.from.as_str(), file.to.as_str())).collect();
        assert_eq!(found, files);
        assert_eq!(layout.context.as_deref(), context);
        assert_eq!(layout.served, files[0].1);
    }

    #[test]
    fn image_has_folders_of_paths() {
        config(
            "wasmetry.toml",
            &["a.wasm", "./b/c.wasm", "a.wasm"],
            Some("."),
            &[("wasmetry.toml", "/srv/wasmetry.toml"), ("a.wasm", "/srv/a.wasm"), ("b/c.wasm", "/srv/b/c.wasm")],
        );
        // The configuration's folder has to have a name, which is known here ...
        config(
            "examples/wasmetry.toml",
            &["examples/../target/a.wasm", "examples/b.wasm"],
            Some("."),
            &[
                ("examples/wasmetry.toml", "/srv/examples/wasmetry.toml"),
                ("target/a.wasm", "/srv/target/a.wasm"),
                ("examples/b.wasm", "/srv/examples/b.wasm"),
            ],
        );
        config(
            "/x/y/w.toml",
            &["/x/y/../a.wasm"],
            Some("/x"),
            &[("y/w.toml", "/srv/y/w.toml"), ("a.wasm", "/srv/a.wasm")],
        );
        config(
            "../y/w.toml",
            &["../y/../a.wasm"],
            Some(".."),
            &[("y/w.toml", "/srv/y/w.toml"), ("a.wasm", "/srv/a.wasm")],
        );
        // ... and not here.
        config(
            "w.toml",
            &["../target/a.wasm"],
            None,
            &[("config/w.toml", "/srv/config/w.toml"), ("target/a.wasm", "/srv/target/a.wasm")],
        );
        config(
            "../w.toml",
            &["../../a.wasm"],
            None,
            &[("config/w.toml", "/srv/config/w.toml"), ("a.wasm", "/srv/a.wasm")],
        );
        // An absolute path stays what it is.
        config("w.toml", &["/opt/a.wasm"], None, &[("w.toml", "/srv/w.toml"), ("opt/a.wasm", "/opt/a.wasm")]);
    }

    #[test]
    fn component_is_beside_program() {
        for (path, from, context) in [
            ("a.wasm", "a.wasm", "."),
            ("x/./a.wasm", "a.wasm", "x"),
            ("/a.wasm", "a.wasm", "/"),
            ("../a.wasm", "a.wasm", ".."),
        ] {
            let layout = Layout::of_component(path);
            assert_eq!((layout.files[0].from.as_str(), layout.context.as_deref()), (from, Some(context)));
            assert_eq!((layout.served.as_str(), layout.is_config), ("/srv/a.wasm", false));
        }
    }
}
