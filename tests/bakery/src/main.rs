//! The bakery over HTTP, with JSON responses.

#![forbid(unsafe_code)]

use std::convert::Infallible;

use bakery::OrderError;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::trace::TraceLayer;
use wasmetry::set_route;
use wstd::http::{Body, Client, Error, Request, Response};

#[wstd::http_server]
#[wasmetry::handler(error_type = error_type)]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    wasmetry_log::init();
    wasmetry_tracing::init();
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        ["orders", id] => {
            set_route!("/orders/{id}");
            let order = bakery::load(id.parse()?)?;
            bakery::sell(&order);
            answer(200, &json!({ "order": order, "receipt": bakery::receipt(&order)? }))
        }
        ["oven", celsius] => {
            set_route!("/oven/{celsius}");
            bakery::heat_oven(celsius.parse()?);
            answer(200, &json!({}))
        }
        ["flour"] => {
            set_route!("/flour");
            let request = Request::get(std::env::var("MILL_URL")?).body(Body::empty())?;
            let response = Client::new().send(request).await?;
            answer(200, &json!({ "mill": response.status().as_u16() }))
        }
        ["menu"] => {
            set_route!("/menu");
            let menu = service_fn(|_| async { Ok::<_, Infallible>(Response::new(String::from("[\"rye\"]"))) });
            let menu = TraceLayer::new_for_http().layer(menu);
            Ok(menu.oneshot(request.map(Body::into_boxed_body)).await?.map(Body::from_http_body))
        }
        _ => answer(404, &json!({})),
    }
}

fn answer(status: u16, value: &Value) -> Result<Response<Body>, Error> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Body::from_json(value)?)?)
}

fn error_type(error: &Error) -> &'static str {
    if error.is::<OrderError>() { "order" } else { "_OTHER" }
}
