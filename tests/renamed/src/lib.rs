//! A crate that has wasmetry under another name. The derive and the attributes find it in the
//! manifest, without an option.

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use telemetry::{Counter, Label, Method, StatusClass, counter, testing};

    #[derive(Clone, Copy, Label)]
    enum Route {
        Home,
        Cart,
    }

    #[derive(Label)]
    struct Answer<'a> {
        method: Method,
        route: Route,
        status: StatusClass,
        #[label(text = 8)]
        shop: &'a str,
    }

    static REQUESTS: Counter<Route> = counter!("requests_total", "Requests.", labels: [route: Route]);
    static ANSWERS: Counter<Answer<'_>> = counter!("answers_total", "Answers.", labels: Answer<'_>);

    #[telemetry::handler]
    fn handle(route: Route) -> u16 {
        REQUESTS.with(route).inc();
        status(route)
    }

    #[telemetry::instrument(skip(route))]
    fn status(route: Route) -> u16 {
        match route {
            Route::Home => 200,
            Route::Cart => 404,
        }
    }

    /// A handler of the crate `http`'s types, without the feature `http`.
    #[telemetry::handler]
    fn serve(request: http::Request<()>) -> Result<http::Response<String>, std::fmt::Error> {
        if request.uri().path() == "/none" {
            return Err(std::fmt::Error);
        }
        let trace = telemetry::current_context().unwrap().trace_id.to_string();
        Ok(http::Response::builder().status(201).body(trace).unwrap())
    }

    /// A handler of types that only have the names.
    #[telemetry::handler]
    fn other(request: Request) -> Response {
        Response(request.0)
    }

    struct Request(u32);

    struct Response(u32);

    #[test]
    fn handler_recognises_http_by_methods() {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let request = |path: &str| {
            let request = http::Request::builder().method("PATCH").uri(path).header("traceparent", traceparent);
            request.body(()).unwrap()
        };
        let recorded = testing::capture();
        let trace = serve(request("/")).unwrap().into_body();
        assert_eq!(trace, traceparent[3..35]);
        serve(request("/none")).unwrap_err();
        assert_eq!(other(Request(7)).0, 7);
        let spans = recorded.spans();
        assert_eq!(spans[0], "serve http.request.method=\"PATCH\" http.response.status_code=201");
        assert!(spans[1].starts_with("serve http.request.method=\"PATCH\" error.type="), "{spans:?}");
        // The error is an event of that span too.
        assert_eq!(spans.last().unwrap(), "other");
    }

    #[test]
    fn renamed_dependency_is_found() {
        let answer =
            |route, status| Answer { method: Method::Get, route, status: StatusClass::from(status), shop: "north" };
        for route in [Route::Home, Route::Cart, Route::Cart] {
            ANSWERS.with(answer(route, handle(route))).inc();
        }
        assert_eq!([Route::Home, Route::Cart].map(|route| REQUESTS.with(route).get()), [1, 2]);
        assert_eq!(ANSWERS.with(answer(Route::Cart, 404)).get(), 2);
        assert_eq!(ANSWERS.with(answer(Route::Cart, 200)).get(), 0);
    }
}
