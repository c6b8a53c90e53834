//! A guest that uses libraries which log or trace; see `wit/library_user.wit`.

mod data;
mod net;

wit_bindgen::generate!({ path: "wit/library_user.wit", world: "library-user" });

struct LibraryUser;

impl Guest for LibraryUser {
    fn use_library(name: String) {
        assert!(wasmetry_log::init() && wasmetry_tracing::init(), "another logger or subscriber is installed");
        match name.as_str() {
            "aho-corasick" => data::find_words(),
            "globset" => data::match_paths(),
            "handlebars" => data::render_template(),
            "html5ever" => data::parse_html(),
            "pubgrub" => data::resolve_versions(),
            "regex-automata" => data::match_pattern(),
            "sqlparser" => data::parse_sql(),
            "tungstenite" => net::open_websocket(),
            "h2" => net::send_request(),
            "tower" => net::buffer_requests(),
            "tower-http" => net::trace_request(),
            _ => panic!("no library is called {name}"),
        }
        wasmetry::publish();
    }
}

export!(LibraryUser);

fn main() {}
